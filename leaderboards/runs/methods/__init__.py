"""Methods that train between cuts, round by round."""
