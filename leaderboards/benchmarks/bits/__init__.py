"""What bits cost and bring: allocation, sensitivity, training on them, files, integers."""
