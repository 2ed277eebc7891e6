"""Bits of layers: what they cost, what they lose, which each layer gets; simulated, learned, searched."""
