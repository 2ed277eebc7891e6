"""Networks as such: copies that share tensors, BatchNorm folded in, dtypes, outputs, threads."""
