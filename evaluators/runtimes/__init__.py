"""Runtimes: who computes a deployed file; each writes, opens and calls its own."""
