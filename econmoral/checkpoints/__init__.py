"""Models and adapters on disk: found, checked, loaded."""
