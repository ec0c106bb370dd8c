"""The self-test: it finds out whether training repeats on *this* machine, and which switches matter here."""
