"""`just template-diff`: what this project changed in the files that are the template's."""

from __future__ import annotations

import argparse
import subprocess

from . import template
from .merge import File, read, write
from .project import ROOT, ProjectError, command_line
from .scratch import temporary_folder


def main() -> int:
    """Show the differences, as `git diff` would: from the template's version of this project to yours."""
    parser = argparse.ArgumentParser(
        prog="just template-diff",
        description="Show what this project changed in files that are the template's. Yours are not looked at.",
    )
    parser.add_argument("paths", nargs="*", help="only these files or folders, relative to the project")
    parser.add_argument(
        "--names", action="store_true", help="only the names, with A for added, M for modified, D for deleted"
    )
    arguments = parser.parse_args()
    made = template.origin(ROOT)
    with temporary_folder("template-diff") as folder:
        rendered, yours = folder / "template", folder / "yours"
        is_yours = template.Template(made.source, folder / "clone").render_old(made, rendered)
        yours.mkdir()
        owned: dict[str, File | None] = {}
        for file in [file for file in rendered.rglob("*") if file.is_file()]:
            path = file.relative_to(rendered)
            asked = not arguments.paths or any(path.is_relative_to(wanted) for wanted in arguments.paths)
            if is_yours(path) or not asked or path.as_posix() == template.ANSWERS:
                file.unlink()
            else:
                owned[path.as_posix()] = read(ROOT, path.as_posix())
        if not owned:
            raise ProjectError(
                f"no file of the template's is {' or '.join(arguments.paths)}.",
                "Give paths relative to the project, or none for all.",
                exit_code=64,
            )
        write(yours, {path: file for path, file in owned.items() if file})
        names = ["--name-status"] if arguments.names else []
        command = ["git", "diff", "--no-index", "--src-prefix=", "--dst-prefix=", *names, "template", "yours"]
        code = subprocess.run(command, cwd=folder).returncode
        if code == 0:
            print(f"{len(owned)} files of the template's are as version {made.version} has them.")
        return 0 if code in {0, 1} else 3


if __name__ == "__main__":
    command_line(main)
