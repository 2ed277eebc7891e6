"""What a score is worth: proxies against what fine-tuning makes of a candidate."""
