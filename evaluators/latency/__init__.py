"""How anything is timed: alone, pinned, with error bars; in turns where two are compared."""
