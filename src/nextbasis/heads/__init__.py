"""Heads: the distribution of one token given its condition z."""
