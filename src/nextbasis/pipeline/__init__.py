"""The catalog, the list of stages and their schedule; imports neither torch nor Hydra."""
