"""What the user takes home: fine-tuned entries, ranked, rendered, selected and exported."""
