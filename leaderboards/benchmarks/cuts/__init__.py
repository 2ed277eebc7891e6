"""What can be cut, on which budgets, and what is left without training."""
