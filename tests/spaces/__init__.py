"""Tests of spaces/."""
