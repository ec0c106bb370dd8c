"""What a project changed in the files that are the template's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import template
from .errors import ProjectError
from .git import environment
from .merge import File, read, write
from .scratch import temporary_folder


def show(project: Path, paths: Sequence[str] = (), names: bool = False, version: str | None = None) -> int:
    """Show the differences, as `git diff` would: from a version of the template to the project.

    Parameters
    ----------
    project : Path
        Its folder.
    paths : sequence of str
        Only these files or folders, relative to the project; all by default.
    names : bool
        Only the names, with A for added, M for modified, D for deleted.
    version : str, optional
        The version; the project's by default.

    Returns
    -------
    int
        0, or 3 if git could not compare.

    Raises
    ------
    ProjectError
        If there is no such file of the template's, or template or version cannot be had.
    """
    made = template.origin(project)
    made = replace(made, version=version or made.version)
    with temporary_folder("diff") as folder:
        rendered, yours = folder / "template", folder / "yours"
        is_yours = template.Template(made.source, folder / "clone").render_old(made, rendered)
        yours.mkdir()
        owned: dict[str, File | None] = {}
        for file in [file for file in rendered.rglob("*") if file.is_file()]:
            path = file.relative_to(rendered)
            asked = not paths or any(path.is_relative_to(wanted) for wanted in paths)
            if is_yours(path) or not asked or path.as_posix() == template.ANSWERS:
                file.unlink()
            else:
                owned[path.as_posix()] = read(project, path.as_posix())
        if not owned:
            raise ProjectError(
                f"no file of the template's is {' or '.join(paths)}.",
                "Give paths relative to the project, or none for all.",
                exit_code=64,
            )
        write(yours, {path: file for path, file in owned.items() if file})
        options = ["--name-status"] if names else []
        command = ["git", "diff", "--no-index", "--src-prefix=", "--dst-prefix=", *options, "template", "yours"]
        code = subprocess.run(command, cwd=folder, env=environment()).returncode
        if code == 0:
            what = "1 file of the template's is" if len(owned) == 1 else f"{len(owned)} files of the template's are"
            print(f"{what} as version {made.version} has {'it' if len(owned) == 1 else 'them'}.")
        return 0 if code in {0, 1} else 3
