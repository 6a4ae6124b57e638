"""Training: the trainer, its optimiser, and what several processes share."""
