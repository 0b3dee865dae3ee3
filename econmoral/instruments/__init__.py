"""The pages that models and people answer, and the derivations that belong to them."""
