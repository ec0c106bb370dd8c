"""`python -m` this package: hands your settings and your training to the harness."""

from .reproducibility import Train, main


def experiment() -> tuple[type, Train]:
    """Import your code only when a command trains, after the launch environment is set."""
    from .settings import Settings
    from .train import train

    return Settings, train


if __name__ == "__main__":
    main(experiment)
