"""The tool that keeps projects current: it updates, compares and lists projects that were made from this template."""
