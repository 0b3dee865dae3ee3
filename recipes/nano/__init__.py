"""The built-in model: its curriculum and its pre-training."""
