"""Speed of training steps and samplers on one thread; cost of A."""
