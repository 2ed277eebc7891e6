"""Which candidates to try, where they are measured, and the journal of what came out."""
