"""Start a container: what `docker run` and `podman run` are given, and how what they ran has ended."""

from __future__ import annotations

import contextlib
import csv
import getpass
import io
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..common import scratch
from ..common.errors import ProjectError
from ..common.gpus import gpus
from ..common.project import PACKAGE, ROOT
from ..source import handed
from ..source.snapshot import Source
from .engine import Engine
from .image import Image, known_as

#: Where the code of an image lies, and what a run in it is handed over.
PROJECT, HANDED = Path("/app"), "/run/repro"
HOME = "/run/home"
#: What starts the command inside; see there.
ENTER = f"{PROJECT}/{PACKAGE}/reproducibility/containers/enter.py"
#: On every container: the folder of its project, and the lock that is held as long as somebody waits for it.
PROJECT_LABEL, LOCK_LABEL = "repro.project", "repro.lock"
#: Of this machine: its places and programs, its languages, its sessions, and what is in the image already.
OF_THIS_MACHINE = re.compile(
    r"(PATH|HOME|PWD|OLDPWD|SHELL|SHLVL|_|TMPDIR|TEMP|TMP|HOSTNAME|DISPLAY|MAIL|LANG|LANGUAGE|INVOCATION_DIRECTORY"
    r"|MPLCONFIGDIR|MLFLOW_ENV_ROOT|CONTAINER_ENGINE|CONTAINER_BASE|CONTAINER_HOST|CUDA_HOME|CUDA_PATH|JUST"
    r"|(XDG|LC|LD|DYLD|DOCKER|BUILDKIT|SSH|GPG|DBUS|GIT|UV|PIP|PYENV|CONDA|JUST|NVIDIA|REPRO|WAYLAND)_\w+)"
)
#: Files of certificates, which the container has to see.
CERTIFICATES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
)
LOOPBACK = re.compile(r"\w+://([^/@]*@)?(localhost|127\.|\[::1\])")
#: Seconds in which what was told to end does, else it is told again; and until what is just being made can be told.
GRACE, PAUSE = 5.0, 0.1
#: Exit codes of the engine's own.
REFUSED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine that a container sees.

    Parameters
    ----------
    source : Path
        Here.
    target : Path, optional
        There; by default under the same path.
    writable : bool, default False
        Whether it may be changed.
    """

    source: Path
    target: Path | None = None
    writable: bool = False

    def __str__(self) -> str:
        """Write it as `--mount` wants it: CSV, as a path may have commas."""
        line = io.StringIO()
        fields = ["type=bind", f"source={self.source}", f"target={self.target or self.source}"]
        csv.writer(line, lineterminator="").writerow(fields + ["readonly"] * (not self.writable))
        return line.getvalue()


def run(
    engine: Engine,
    image: Image,
    command: list[str],
    variables: Mapping[str, str],
    code: Source,
    mounts: Iterable[Mount],
    umask: int = -1,
    output: IO[Any] | None = None,
) -> int:
    """Run a command in an image, as the person who calls, and give its exit code.

    Parameters
    ----------
    engine : Engine
        What runs it.
    image : Image
        In which.
    command : list of str
        What is executed, in the folder of the project.
    variables : Mapping of str to str
        Its environment variables, besides those of the image. They may be secret: nobody sees them from outside.
    code : Source
        What was captured of the code that the image holds.
    mounts : iterable of Mount
        What else it sees.
    umask : int, optional
        Its file mode mask; this process's by default.
    output : file, optional
        Where its results go; by default to the terminal, as its progress always does.

    Raises
    ------
    ProjectError
        If the engine cannot start it, or the system killed it.
    """
    with scratch.temporary_folder("container") as folder:
        handed.write(folder, code, facts(image))
        # MLflow looks for git, and would tell at length that an image has none.
        own = {
            "GIT_PYTHON_REFRESH": "quiet",
            "HOME": HOME,
            "REPRO_UMASK": f"{_umask() if umask < 0 else umask:03o}",
            handed.VARIABLE: HANDED,
        }
        write_environment(folder, {**variables, **own})
        name = f"{PACKAGE}-{uuid.uuid4().hex[:12]}"
        options = [
            *("--name", name, "--label", f"{PROJECT_LABEL}={ROOT}"),
            *("--label", f"{LOCK_LABEL}={folder / scratch.LOCK}.lock"),
            *user(engine),
            *(["--network=host"] if on_loopback(variables) else []),
            *accelerators(engine, variables),
            *(["--tty"] if output is None and sys.stdout.isatty() and sys.stderr.isatty() else []),
            *(
                part
                for mount in (Mount(folder, Path(HANDED)), *certificates(), *mounts)
                for part in ("--mount", str(mount))
            ),
        ]
        line = [engine.program, "run", *ALWAYS, *options, known_as(engine, image.id), "python", ENTER, *command]
        return _exit_code(engine, _attend(engine, name, line, output))


#: Nothing of the image can be changed. What a run keeps for itself is gone with it: a home in memory, as nobody's own
#: is in the image, and a place for large files on the disk. DataLoaders of several processes share memory.
ALWAYS = (
    *("--rm", "--pull=never", "--read-only", "--tmpfs", f"{HOME}:rw,exec,mode=1777"),
    *("--mount", "type=volume,target=/tmp", "--workdir", str(PROJECT)),
    *("--security-opt=no-new-privileges", "--security-opt=label=disable", "--shm-size=8g"),
)


def facts(image: Image) -> dict[str, str]:
    """Say of an image what records do."""
    names = ("base", "engine", "builder", "contents", "pushed")
    return {"image": image.id, **{name: getattr(image, name) for name in names}}


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Give those variables of this machine that mean something in a container too, and who calls."""
    found = {name: value for name, value in variables.items() if not OF_THIS_MACHINE.fullmatch(name)}
    with contextlib.suppress(OSError, KeyError):  # nobody in the image has a name
        found |= dict.fromkeys(("USER", "LOGNAME"), getpass.getuser())
    return found


def write_environment(folder: Path, variables: Mapping[str, str]) -> None:
    """Write the file that `enter` reads, for nobody else's eyes: neither `ps` nor `inspect` shows what is in it."""
    file = folder / "environment"
    file.touch(0o600)
    file.write_bytes(b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in variables.items()))


def certificates() -> list[Mount]:
    """Show a container the certificates that this machine trusts besides the usual ones."""
    files = {Path(os.environ[name]) for name in CERTIFICATES if os.environ.get(name)}
    return [Mount(file) for file in sorted(files) if file.is_file()]


def on_loopback(variables: Mapping[str, str]) -> bool:
    """Tell whether anything that a container is told of is on this machine alone: a tracking server, for example."""
    return any(LOOPBACK.match(value) for value in variables.values())


def user(engine: Engine) -> list[str]:
    """Make a container's files belong to the person who calls."""
    if engine.rootless:
        return ["--userns=keep-id"] if engine.name == "podman" else ["--user=0:0"]
    groups = [f"--group-add={group}" for group in os.getgroups() if group != os.getgid()]
    return [f"--user={os.getuid()}:{os.getgid()}", *groups]


def accelerators(engine: Engine, variables: Mapping[str, str]) -> list[str]:
    """Pass the GPUs on, where there are any that may be used."""
    if not gpus() or variables.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}:
        return []
    return ["--device=nvidia.com/gpu=all"] if engine.name == "podman" else ["--gpus=all"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _attend(engine: Engine, name: str, line: list[str], output: IO[Any] | None) -> int:
    """Wait for a container; one that is interrupted ends itself, and is gone then, however it went."""
    # In a group of its own a terminal's Ctrl-C comes once: from here.
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, process_group=0)
    try:
        return process.wait()
    except BaseException:
        try:
            while process.poll() is None:
                told = [engine.program, "kill", "--signal=TERM", name]
                heard = subprocess.run(told, capture_output=True, process_group=0).returncode == 0
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE if heard else PAUSE)
        finally:
            gone = [engine.program, "rm", "--force", "--volumes", name]
            subprocess.run(gone, capture_output=True, process_group=0)
            process.wait()
        raise


def _exit_code(engine: Engine, code: int) -> int:
    if code == REFUSED:
        fix = f"Mend what {engine.name} names, then run it again."
        if gpus():
            fix += "\nIf it is the GPU: install nvidia-container-toolkit, or leave it out: CUDA_VISIBLE_DEVICES= just …"
        raise ProjectError(f"{engine} could not start the container; its own words stand above.", fix)
    if code in (NOT_EXECUTABLE, NOT_FOUND):
        raise ProjectError(
            f"the image cannot execute the command; {engine.name}'s own words stand above.",
            "just image      builds it anew; or mend the entry point in MLproject",
        )
    if code == KILLED:
        raise ProjectError(
            "the training was killed, in the middle and without a word: for want of memory, or by hand.",
            "Give containers more memory, or take less data: fewer rows, fewer processes, a smaller model.",
        )
    return code
