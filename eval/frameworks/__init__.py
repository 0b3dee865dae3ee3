"""Our games inside other evaluation frameworks."""
