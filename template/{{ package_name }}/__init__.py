"""Reproducible machine learning: your code here, the harness in `reproducibility/`."""
