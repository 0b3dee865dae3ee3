"""Games, preferences, choice and markets, and what people did."""
