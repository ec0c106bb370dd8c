"""Do one job on a node of a cluster. Nodes are given the source of this file: standard library only.

What is asked for comes by standard input, and the answer goes to standard output, both as JSON: the `outcome` of the
job; or what it `wants`, the digest of code that this node has not got; or why it `refused`. Nothing is unpickled.
"""

import base64
import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Seconds between two looks at who started this, and until a job that was told to end is killed.
PAUSE, PATIENCE = 0.2, 30


def main() -> None:
    """Answer what is asked."""
    asked = json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.read())))
    # Nothing of the job's goes where the answer does.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(answer(asked)), file=answers, flush=True)


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Do the job, in code and an environment that are what they are said to be."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "copier-mlflow" / "nodes"
    folder = home / asked["bundle"]
    home.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            if not (folder / "ready").exists():
                if "archive" not in asked:
                    return {"wants": asked["bundle"]}
                unpack(base64.b64decode(asked["archive"]), asked["bundle"], folder)
            require_unchanged(folder, asked["bundle"])
        python = environment(home, folder / "project", asked["python"])
        return {"outcome": do(asked, folder, python)}
    except Refused as reason:
        return {"refused": f"{os.uname().nodename}: {reason}"}


class Refused(Exception):
    """A node cannot be trusted with a job, and another may."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time look and build."""
    with Path(f"{path}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unpack(archive: bytes, digest: str, folder: Path) -> None:
    """Put the code into its folder, which is ready when all of it is there."""
    if hashlib.sha256(archive).hexdigest() != digest:
        raise Refused("the code came otherwise than it was sent")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "bundle.tar").write_bytes(archive)
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="tar")
    (folder / "ready").touch()


def require_unchanged(folder: Path, digest: str) -> None:
    """Refuse where a file of the code or a lock is not as it came."""
    archive = (folder / "bundle.tar").read_bytes()
    if hashlib.sha256(archive).hexdigest() != digest:
        raise Refused(f"{folder / 'bundle.tar'} was changed")
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for entry in packed:
            content = packed.extractfile(entry) if entry.isfile() else None
            if content and not same(folder / entry.name, content.read()):
                raise Refused(f"{folder / entry.name} was changed: rm -r {folder}")


def same(file: Path, content: bytes) -> bool:
    """Tell whether a file has these bytes."""
    with contextlib.suppress(OSError):
        return file.read_bytes() == content
    return False


def environment(home: Path, project: Path, version: str) -> Path:
    """Build the environment of a lock, every hash required, where it is not there; every start in it proves it anew."""
    lock = (project / "constraints.txt").read_bytes()
    path = home / f"mlflow-{hashlib.sha256(lock + version.encode()).hexdigest()[:40]}"  # which the harness knows
    with locked(path):
        if not (path / "built").exists():
            shutil.rmtree(path, ignore_errors=True)
            variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
            for command in (
                ["uv", "venv", "--quiet", "--python", version, str(path)],
                ["uv", "pip", "sync", "--quiet", "--python", str(path), "--require-hashes", "constraints.txt"],
            ):
                done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
                if done.returncode:
                    raise Refused(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}")
            (path / "built").touch()
    return path / "bin" / "python"


def do(asked: dict[str, Any], folder: Path, python: Path) -> dict[str, Any]:
    """Have the job done in a process group of its own, which ends with who started this."""
    parent = os.getppid()
    with tempfile.TemporaryDirectory(prefix="job-") as scratch:
        job = Path(scratch) / "job.yaml"
        job.write_text(asked["job"], "utf-8")
        variables = {**os.environ, **asked["variables"], "REPRO_HANDED": str(folder / "handed"), "REPRO_FENCED": "1"}
        with Path(f"{job}.log").open("w+", errors="replace") as log:
            process = subprocess.Popen(
                [str(python), "-m", asked["package"], "job", str(job)],
                cwd=folder / "project",
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            while process.poll() is None:
                if os.getppid() != parent:
                    end(process)
                time.sleep(PAUSE)
            log.seek(0)
            said = log.read().strip().splitlines()
        outcome = Path(f"{job}.outcome")
        if outcome.exists():
            found: dict[str, Any] = json.loads(outcome.read_text("utf-8"))
            return found
        cause = said[-1][:200] if said else f"its process ended with exit code {process.returncode}"
        if process.returncode < 0:
            return {
                "status": "crashed",
                "cause": f"its process was ended by {signal.Signals(-process.returncode).name}",
            }
        return {"status": "lost", "cause": f"{os.uname().nodename}: {cause}"}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a job, which marks its run; one that does not end is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
