"""Training: the trainer's hooks, and checkpoints that are whole."""
