"""What the command line can be asked: checked and explained without torch, then done by a file for each verb."""
