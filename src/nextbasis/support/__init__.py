"""Files, progress, processes, weights and provenance: what every room may use."""
