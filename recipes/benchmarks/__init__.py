"""Speed, Monte Carlo and what only a GPU can show."""
