"""Ways to propose candidates: ask and tell."""
