"""What may be read, and whether it is what was registered."""
