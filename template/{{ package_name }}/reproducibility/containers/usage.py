"""What an image says of itself where it is started without a command. Standard library only."""

from __future__ import annotations

from ..common.project import PACKAGE

USAGE = f"""\
This image holds an environment, every package as constraints.txt locks it, and the code of one commit. It holds no
data, no runs and no credentials, and nobody in it is root.

In a clone of the project:
    just run --container             a tracked run in the image of what is checked out
    just reproduce RUN_ID            a run again, in the image that it was made in

With a container engine alone, in a clone of the project, whose code it then runs and whose store it writes:
    docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:$PWD" --workdir "$PWD" \\
        --env REPRO_COMMIT="$(git rev-parse HEAD)" IMAGE python -m {PACKAGE} train
As MLflow's own command, the same with: mlflow run . --env-manager local"""

if __name__ == "__main__":
    print(USAGE)
