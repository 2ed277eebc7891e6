"""What is true of one built network: measured readings, and the data they are measured on."""
