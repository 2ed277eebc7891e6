"""What a run is asked to do: every key, its default, what it may be, and what keys ask of each other."""
