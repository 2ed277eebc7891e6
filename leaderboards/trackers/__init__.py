"""Experiment trackers: watchers of a run that write to somebody else's store, and never stop it."""
