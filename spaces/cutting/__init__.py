"""Cutting: tensors sliced or masked, and the probe that nothing else changed."""
