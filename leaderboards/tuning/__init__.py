"""Training, and the making of one row from candidate to files."""
