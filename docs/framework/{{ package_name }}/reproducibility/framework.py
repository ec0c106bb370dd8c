"""What is particular to NumPy: nothing. Models are compared and stored by their structure, as `Framework` does it."""

from __future__ import annotations

from .modeling.base import Framework


class NumPy(Framework):
    """Models of the project's own classes, made of arrays."""


FRAMEWORK = NumPy()
