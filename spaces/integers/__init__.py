"""A quantized detector in integers alone, and its simulation."""
