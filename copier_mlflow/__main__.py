"""The commands, with the packages of the environment that runs them: `python -m copier_mlflow`, or by its path."""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:  # by its path, as `bootstrap` starts it
        sys.path.append(str(Path(__file__).resolve().parents[1]))
    from copier_mlflow.cli import main

    main()
