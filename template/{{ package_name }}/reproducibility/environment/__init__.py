"""Whether what is installed is what is locked: locks, .venv and the environments of MLflow."""
