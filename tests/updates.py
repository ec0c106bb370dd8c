"""What the tests of updates share: the template's history with tags, and ways to edit a project."""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jinja2
import pathspec
import pytest
import yaml
from conftest import TEMPLATE

import releases

#: What HEAD is called in the scratch clone, so that it is newer than every release.
HEAD = "99.0.0"
CONFIG = yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8"))
#: The releases from which HEAD is reached; derived from the history, never written down.
RELEASES = list(releases.find(TEMPLATE))


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, message: str = "Work") -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)


def make_history(folder: Path) -> Path:
    """Clone the template, tag its releases, and commit the working tree as a newer one."""
    git(TEMPLATE, "clone", "--quiet", "--local", str(TEMPLATE), str(folder))
    for version, of in releases.find(folder).items():
        git(folder, "tag", "--force", version, of)
    listed = git(TEMPLATE, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    git(folder, "rm", "--quiet", "-r", ".")
    for name in set(listed) - {""}:
        if (TEMPLATE / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TEMPLATE / name, folder / name)
    commit(folder, "HEAD")
    git(folder, "tag", HEAD)
    return folder


def set_git(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    """Give git settings of a user's, by the environment."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (name, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)


def run_copier(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the real command, without --trust."""
    command = [sys.executable, "-W", "ignore", "-m", "copier", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=os.environ | variables, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def is_yours(path: str, package: str = "bikes") -> bool:
    """Tell whether a path is the user's from the first commit, by copier.yml."""
    patterns = [jinja2.Template(pattern).render(package_name=package) for pattern in CONFIG["_skip_if_exists"]]
    return bool(pathspec.GitIgnoreSpec.from_lines(patterns).match_file(path))


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a project, without git's own and what Python leaves."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in files}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in names.items()
        if not {".git", ".venv", "__pycache__"} & set(name.parts)
    }


def lines(content: bytes) -> collections.Counter[bytes]:
    """Count the lines of a file, whatever their ends."""
    return collections.Counter(content.replace(b"\r\n", b"\n").splitlines())


# --- Edits: each gets the project's folder and the text files that are the template's -------------
def nothing(project: Path, owned: list[str]) -> None:
    pass


def _insert(where: float) -> Callable[[Path, list[str]], None]:
    def edit(project: Path, owned: list[str]) -> None:
        for name in owned:
            content = (project / name).read_text("utf-8").splitlines(keepends=True)
            content.insert(round(where * len(content)), f"# mine, at {where:.0%} of {name}\n")
            (project / name).write_text("".join(content), "utf-8")

    return edit


def add(project: Path, owned: list[str]) -> None:
    """Files of the user's beside the template's, and a dependency."""
    for name in ("mine.just", "bikes/embedding.py", ".github/workflows/deploy.yml", "bikes/reproducibility/mine.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(f"# {name} is mine\n", "utf-8")
    path = project / "pyproject.toml"
    text = path.read_text("utf-8")
    assert '    "packaging>=26",\n' in text
    path.write_text(text.replace('    "packaging>=26",\n', '    "packaging>=26",\n    "networkx>=3",\n'), "utf-8")


def delete(project: Path, owned: list[str]) -> None:
    for path in (project / "MLproject", find_module(project, "doctor"), project / ".gitattributes"):
        path.unlink()


def move(project: Path, owned: list[str]) -> None:
    (project / "tools").mkdir()
    (project / "justfile").rename(project / "tools" / "justfile.old")
    find_module(project, "doctor").rename(project / "bikes" / "health.py")


def renewed(render: Callable[..., Path], version: str) -> Path:
    """HEAD freshly rendered, with the answers that an update of a version takes for questions of later ones."""
    known = yaml.safe_load((render(version) / ".copier-answers.yml").read_text("utf-8"))
    return render(HEAD) if "container" in known else render(HEAD, container="none")


def find_module(folder: Path, name: str) -> Path:
    """Find a module of the harness, in whatever room of it; one on the floor stands for that of a room."""
    found = (path for path in folder.rglob(f"{name}.py") if "reproducibility" in path.parts)
    return max(found, key=lambda path: len(path.parts))


def reformat(project: Path, owned: list[str]) -> None:
    """As a formatter with settings of its own would."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", "--line-length", "79"]
    options = ["--config", "format.quote-style='single'", "bikes/reproducibility"]
    subprocess.run([*command, *options], cwd=project, check=True)


def to_windows(project: Path, owned: list[str]) -> None:
    """As an editor on Windows would, in a repository that lets line ends be."""
    (project / ".gitattributes").write_text("* -text\n", "utf-8")
    for name in owned:
        (project / name).write_bytes((project / name).read_bytes().replace(b"\n", b"\r\n"))


def make_executable(project: Path, owned: list[str]) -> None:
    for name in owned:
        (project / name).chmod(0o755)


EDITS = {
    "nothing": nothing,
    "head": _insert(0),
    "middle": _insert(0.5),
    "end": _insert(1),
    "added": add,
    "deleted": delete,
    "moved": move,
    "reformatted": reformat,
    "crlf": to_windows,
    "executable": make_executable,
}


def lost_lines(base: dict[str, bytes], before: dict[str, bytes], after: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Find lines that a user wrote, in or between files, and that an update took away.

    Parameters
    ----------
    base, before, after : dict
        The project as rendered, as edited, and as updated.
    """
    lost = {}
    for name, content in before.items():
        # The project's answers are written anew by every update; nobody edits them by hand.
        if name != ".copier-answers.yml":
            written = lines(content) - lines(base.get(name, b""))
            missing = written - lines(after.get(name, b""))
            if missing:
                lost[name] = list(missing)
    return lost
