"""Whole runs side by side: strategies, parts of the default left out, backbones, kills."""
