"""What may be built: candidates, the space they are drawn from, and the networks they stand for."""
