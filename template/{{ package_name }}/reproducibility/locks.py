"""Compile the locks, for the updaters of releases before 0.6, which call this module."""

from .common.command_line import command_line
from .environment.locks import main

if __name__ == "__main__":
    command_line(main)
