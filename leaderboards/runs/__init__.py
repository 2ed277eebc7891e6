"""The engine: from a recipe to a finished run folder."""
