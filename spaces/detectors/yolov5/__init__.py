"""The original, anchor-based YOLOv5: its networks, its loss, its files, and structures built on it."""
