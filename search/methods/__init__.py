"""Methods that train between cuts: the arithmetic of each, a function of a round."""
