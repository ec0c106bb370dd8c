"""`just tree`: write the site's tree of a render, one line a module of the user's and a room of the harness."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import marked

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "files.md"
BEGIN, END = "<!-- of a render, by `just tree` -->\n", "<!-- to here: the tree -->\n"
#: What no docstring says.
TOLD = {
    ".copier-answers.yml": "The answers, and the version of the template",
    ".devcontainer/": "The project in an editor's container, set up: a stage of the Dockerfile",
    ".dockerignore": "What no image holds",
    ".env.example": "Credentials and switches: copy it to .env, which git ignores",
    ".gitattributes": "One kind of line ends on every system",
    ".githooks/": "`just check` before every commit; `just setup` switches it on",
    ".vscode/": "Tasks, and what to debug; yours from the first commit",
    ".github/": "CI: sets up from the locks, checks, tests, and does one tracked run",
    ".gitignore": "Environments, runs and credentials stay out of git",
    "Dockerfile": "The image of a run: the locked environment, and the code of the commit",
    "LICENSE": "As you chose",
    "MLproject": "How `mlflow run` starts a run, `verify` and `reproduce`",
    "README.md": "The guide: from the first day to an update",
    "bikes/": "Your code, and the harness in `reproducibility/`",
    "confs/": "Every number of a run that you would change",
    "constraints.txt": "The lock of a run: every package, with its hashes",
    "constraints-build.txt": "The lock of the wheel's build backend",
    "constraints-cluster.txt": "The lock of Dask, which hands trials to other machines: an environment of its own",
    "constraints-dev.txt": "The lock of the tools: the same versions, and mypy, pytest, ruff",
    "data/": "Small data, and the digest, source and licence of every file",
    "justfile": "Every command, each a line or two that you could type",
    "pyproject.toml": "What you depend on, and the settings of the tools",
    "python_env.yaml": "The environment that `mlflow run` builds: Python and the lock",
    "tests/": "Tests of your code",
}
#: Its folders are the rooms, each told in one line.
HARNESS = "reproducibility"


def text(project: Path) -> str:
    """Draw a rendered project.

    Parameters
    ----------
    project : Path
        Its folder, with the package of the same name.

    Returns
    -------
    str
        Markdown: a line for each entry at the root, module of the user's, room of the harness, and module beside.
    """
    rows = [(f"{project.name}/", ""), *_rows(project, project, "")]
    width = max(len(entry) for entry, _ in rows)
    lines = (f"{entry:<{width}}  {told}".rstrip() for entry, told in rows)
    return "\n".join(["```", *lines, "```\n"])


def _rows(folder: Path, project: Path, indent: str) -> Iterator[tuple[str, str]]:
    entries = [path for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__", ".git")]
    entries.sort(key=lambda path: (path.is_dir(), path.name))
    for path in entries:
        last = path == entries[-1]
        yield f"{indent}{'└── ' if last else '├── '}{path.name}{'/' * path.is_dir()}", _told(path, project)
        if path.is_dir() and (folder.name == path.name == project.name or path.name == HARNESS):
            yield from _rows(path, project, f"{indent}{'    ' if last else '│   '}")


def _told(path: Path, project: Path) -> str:
    name = path.relative_to(project).as_posix() + "/" * path.is_dir()
    module = path / "__init__.py" if path.is_dir() else path
    if name in TOLD or module.suffix != ".py":
        return TOLD[name]
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return re.split(r"[.;](?:\s|$)", docstring, maxsplit=1)[0]


def main() -> None:
    """Render a project as `copier copy --defaults` does, and write its tree."""
    import copier

    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch, "bikes")
        copier.run_copy(str(ROOT), project, vcs_ref="HEAD", defaults=True, quiet=True)
        page = PAGE.read_text("utf-8")
        PAGE.write_text(marked.fill(page, BEGIN, END, text(project)), "utf-8")


if __name__ == "__main__":
    main()
