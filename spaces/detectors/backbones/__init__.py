"""Published light networks as backbones under a detector's own neck and head."""
