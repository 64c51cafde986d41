"""What to ask people next."""
