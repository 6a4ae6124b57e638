"""Features, distances and protocols: how samples are measured, and what each metric is."""
