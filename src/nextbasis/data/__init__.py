"""Data: sources, memory-mapped arrays, resumable order."""
