"""Choices of your own: read, fitted, cloned."""
