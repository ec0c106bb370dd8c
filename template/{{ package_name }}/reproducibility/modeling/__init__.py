"""What a model is made of, and how it is written down without pickle."""
