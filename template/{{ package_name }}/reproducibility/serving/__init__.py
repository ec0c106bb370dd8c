"""How a proven model is used."""
