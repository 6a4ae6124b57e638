"""Speed of training steps and samplers on one thread beside the official code's; cost of A."""
