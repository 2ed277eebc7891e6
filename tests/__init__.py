"""The test suite; it mirrors the four packages."""
