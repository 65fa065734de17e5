"""Answers that are measured in the user's documents and examples instead of asked."""
