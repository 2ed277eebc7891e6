"""Data sets, checked and decoded once: yaml, labels, images, and the embedded digits."""
