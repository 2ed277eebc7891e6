"""Every score that a search can rank by, one table from name to metric, evaluator and cost."""
