"""The papers' claims: effect, interval and verdict of each, computed from measured numbers."""
