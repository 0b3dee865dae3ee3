"""One seam, several ways to get probabilities and texts out of a model."""
