"""Whether it is the same, and if not, why."""
