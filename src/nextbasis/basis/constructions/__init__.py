"""The named bases: every file holds some that belong together, and is needed by these alone."""
