"""Conversations: chat templates, turns, training lines, and how replies are read."""
