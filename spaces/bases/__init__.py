"""Bases: the networks that candidates are cut from, and repeats that may be left out of them."""
