"""How settings become a tracked run."""
