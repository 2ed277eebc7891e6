"""Latency: profiles of a device and how well they predict."""
