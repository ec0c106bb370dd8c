"""`just demo`: render a project, run it twice through MLflow, and reproduce the first run from its ID."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
#: Holds the commit that the demo was left at. In .git, so that the demo looks as any rendered project does.
MARKER = DEMO / ".git" / "made-by-just-demo"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: Would send the demo's runs or commits somewhere else.
FOREIGN = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_",
    "MLFLOW_RUN_ID",
    "GIT_DIR",
    "GIT_INDEX",
    "GIT_WORK",
    "VIRTUAL_ENV",
)
TAGS = {"result": "repro.result", "data": "repro.data", "environment": "repro.environment"}
READ = """
import json, mlflow
runs = mlflow.search_runs(search_all_experiments=True, output_format="list", order_by=["attributes.start_time"])
keys = ("status", "metrics", "tags", "id")
print(json.dumps([dict(zip(keys, (r.info.status, r.data.metrics, r.data.tags, r.info.run_id))) for r in runs[-2:]]))
"""


class DemoError(Exception):
    """A step that failed, with what to tell."""


def main() -> int:
    """Do the demo.

    Returns
    -------
    int
        0 if the two runs are identical, 1 if they are not, 3 if a step failed.
    """
    began = time.monotonic()
    just = find_just()
    print("copier-mlflow: a project is rendered, run twice, and reproduced. Nothing is asked.\n", flush=True)
    try:
        make_room()
        python = find_python()
        with step(f"render   ./demo, Python {python}"):
            render(python)
            commit()
        with step("setup    .venv, from a lock that holds every hash"):
            call(just, "setup")
        with step("run 1    mlflow run, in an environment of its own"):
            call(just, "run")
        with step("run 2    the same again"):
            call(just, "run")
        runs = read_runs()
    except DemoError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 3
    differences = compare(*runs)
    print(f"\n{table(*runs)}\n")
    if differences:
        print(f"different: {', '.join(differences)}")
        return 1
    print("identical, to the last bit of every number.\n")
    try:
        with step("reproduce run 1, from nothing but its ID"):
            said = call(just, "reproduce", runs[0]["id"])
    except DemoError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 3
    print(f"\n{verdict_of(said)}\n")
    print(f"Look at the runs:  cd demo && {typed()} ui")
    print(f"Start afresh:      {typed()} demo   (./demo is yours to change or delete)")
    print(f"All of it took {time.monotonic() - began:.0f} s.")
    return 0


def make_room() -> None:
    """Remove the demo of before; refuse to touch anything else."""
    if not DEMO.exists() or (DEMO.is_dir() and not any(DEMO.iterdir())):
        return
    if not MARKER.exists():
        raise DemoError(f"{DEMO} is there and was not made by `just demo`.\nfix: move it away, then `just demo`.")
    left_at = MARKER.read_text("utf-8").strip()
    if left_at and (git("rev-parse", "HEAD") != left_at or git("status", "--porcelain")):
        raise DemoError(f"somebody has worked in {DEMO}.\nfix: move it away, or delete it, then `just demo`.")
    shutil.rmtree(DEMO)


def find_python() -> str:
    """Choose a supported Python that is here, the running one first; else one that uv must download."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in sorted(PYTHONS, key=lambda version: version != running):
        command = ["uv", "python", "find", "--no-python-downloads", "--no-project", "--system", version]
        if subprocess.run(command, cwd=ROOT.anchor, capture_output=True).returncode == 0:
            return version
    print(f"No Python {PYTHONS[0]} to {PYTHONS[-1]} is here: uv downloads {PYTHONS[0]}.")
    return PYTHONS[0]


def render(python: str) -> None:
    """Render the template as it stands here, uncommitted work included."""
    import copier

    git_init = ["git", "init", "--quiet", str(DEMO)]
    if subprocess.run(git_init, env=environment()).returncode:
        raise DemoError("git does not start.\nfix: install git.")
    MARKER.touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", copier.errors.DirtyLocalWarning)
        copier.run_copy(
            str(ROOT),
            DEMO,
            data={"project_name": "demo", "package_name": "demo", "python_version": python, "tracking": "local"},
            vcs_ref="HEAD",
            defaults=True,
            overwrite=True,
            unsafe=False,
            quiet=True,
        )


def commit() -> None:
    """Commit what was rendered: a run records its commit."""
    call("git", "add", "--all")
    identity = ["-c", "user.name=copier-mlflow", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"]
    call("git", *identity, "commit", "--quiet", "--no-verify", "--message", "Start from copier-mlflow")
    MARKER.write_text(git("rev-parse", "HEAD"), "utf-8")


def read_runs() -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the last two runs back from the demo's store, with the demo's own MLflow."""
    scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    answer = call(str(DEMO / ".venv" / scripts), "-c", READ, MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    runs = json.loads(answer.splitlines()[-1])
    if len(runs) != 2:
        raise DemoError(f"the store holds {len(runs)} runs instead of 2.")
    return runs[0], runs[1]


def values(run: dict[str, Any]) -> dict[str, Any]:
    """Give what two runs are compared by: status, exact metrics, digests."""
    digests = {name: run["tags"].get(tag) for name, tag in TAGS.items()}
    return {"status": run["status"], **dict(sorted(run["metrics"].items())), **digests}


def compare(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Name all that differs between two runs, or is missing from both."""
    a, b = values(one), values(other)
    missing = ["metrics (there are none)"] * (not one["metrics"]) + [
        f"{name} (missing)" for name in TAGS if not a[name]
    ]
    failed = ["status"] * (a["status"] != "FINISHED")
    differing = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return list(dict.fromkeys(failed + differing + missing))


def table(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Put two runs side by side: floats in full, digests by their first digits."""
    a, b = values(one), values(other)
    rows = [("", "run 1", "run 2")]
    for name in {**a, **b}:
        rows.append((name, shown(a.get(name)), shown(b.get(name))))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"  {row[0]:<{widths[0]}}   {row[1]:<{widths[1]}}   {row[2]}".rstrip() for row in rows)


def verdict_of(said: str) -> str:
    """Take from what `just reproduce` said the table of stages and the verdict, without uv's and MLflow's lines."""
    lines = said.splitlines()
    begin = next(number for number, line in enumerate(lines) if re.fullmatch(r" +[0-9a-f]{12} +[0-9a-f]{12} *", line))
    return "\n".join(f"  {line}".rstrip() for line in lines[begin:] if not line.startswith("tagged "))


def shown(value: Any) -> str:
    """Write a value for the table."""
    if value is None:
        return "-"
    if isinstance(value, str) and value.startswith("{"):
        return ", ".join(shown(digest) for digest in json.loads(value).values())
    return value[:23] if isinstance(value, str) else repr(value)


def find_just() -> str:
    """Find `just`: beside this interpreter, where constraints.txt puts it, or on the PATH."""
    here = str(Path(sys.executable).parent)
    return shutil.which("just", path=here) or shutil.which("just") or "just"


def typed() -> str:
    """Say how a person starts `just` on this machine. `uvx` puts its own on the PATH, for this process only."""
    for folder in map(Path, os.get_exec_path()):
        if shutil.which("just", path=str(folder)) and not (folder.parent / "pyvenv.cfg").exists():
            return "just"
    return "uvx --from rust-just just"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a step's title, and its duration when it is done."""
    print(f"  {title:<54}", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - began:6.1f} s", flush=True)


def call(*command: str, **variables: str) -> str:
    """Run a command in the demo and give its output, which is shown only if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=DEMO,
            env=environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        raise DemoError(f"{command[0]} is not on the PATH.\nfix: install it, then `just demo`.") from error
    if done.returncode:
        name = " ".join([Path(command[0]).name, *command[1:]])
        raise DemoError(f"`{name}` gave {done.returncode} in {DEMO}. What it said:\n\n{done.stdout}")
    return done.stdout


def git(*arguments: str) -> str:
    """Ask git in the demo; an empty answer where it has none."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=DEMO, env=environment(), capture_output=True, text=True).stdout.strip()


def environment() -> dict[str, str]:
    """Give this process's environment without what would lead the demo elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
