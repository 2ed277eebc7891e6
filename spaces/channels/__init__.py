"""The channel graph: which channels are cut together, read from the network itself."""
