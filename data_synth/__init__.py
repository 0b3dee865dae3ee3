"""Synthetic decisions of an explicit preference, as chat-format JSON Lines."""
