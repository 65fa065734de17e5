"""Training examples: read, checked, encoded with the mask, kept apart from the questions."""
