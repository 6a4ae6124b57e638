"""Scores: features, distances, intervals and their protocol."""
