"""The commands."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from . import diff as differences
from . import interrupts, pull_request, scratch, status, updating
from .errors import ProjectError

FOLDER = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def commands() -> None:
    """Keep projects current that were made from the template copier-mlflow, whatever their release.

    Exit codes: 0 nothing is left to do, 1 something is (or `--check` found something), 3 an error, 64 wrong usage.
    """


@commands.command()
@click.argument("paths", nargs=-1, required=True, type=FOLDER)
@click.option("--to", "version", metavar="VERSION", help="A version of the template; its newest release by default.")
@click.option("--check", is_flag=True, help="Only say what would be brought; exit code 1 if anything.")
@click.option("--data", "-d", multiple=True, metavar="NAME=VALUE", help="Change an answer.")
@click.option("--pull-request", "proposing", is_flag=True, help="On a branch of its own, pushed and proposed.")
def update(paths: tuple[Path, ...], version: str | None, check: bool, data: tuple[str, ...], proposing: bool) -> int:
    """Bring the template's later changes into projects.

    No line of their users' is lost: files that are theirs are not touched, the template's are merged, and where both
    sides changed the same lines, both stand between markers.
    """
    answers = dict(_pair(text) for text in data)

    def one(project: Path) -> int:
        if proposing:
            return pull_request.propose(project, version, answers)
        return updating.run(project, version, answers, check)

    return _each(paths, one)


@commands.command()
@click.argument("project", type=FOLDER)
@click.argument("files", nargs=-1)
@click.option("--names", is_flag=True, help="Only the names, with A for added, M for modified, D for deleted.")
@click.option(
    "--from", "version", metavar="VERSION", help="Against another version than the project's, as before an update."
)
def diff(project: Path, files: tuple[str, ...], names: bool, version: str | None) -> int:
    """Show what a project changed in files that are the template's; FILES are relative to it."""
    return differences.show(_found(project), files, names, version)


@commands.command("status")
@click.argument("paths", nargs=-1, required=True, type=FOLDER)
def show_status(paths: tuple[Path, ...]) -> None:
    """Show a table of projects: version, files of the template's that they changed, and the last verified run."""
    status.show(paths)


def main() -> None:
    """Run a command, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line, and give the exit code."""
    try:
        with interrupts.as_one():
            scratch.remove_leftovers()
            return commands.main(arguments, "copier-mlflow", standalone_mode=False) or 0
    except ProjectError as error:
        return error.show()
    except click.UsageError as error:
        error.show()
        return 64
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
    except OSError as error:
        return ProjectError(f"{error}.", "Mend that path or its permissions, or free disk space.").show()


def _each(paths: tuple[Path, ...], command: Callable[[Path], int]) -> int:
    """Do the same for one project after another, and give the worst exit code."""
    projects = [_found(path) for path in paths]
    if len(projects) == 1:
        return command(projects[0])
    worst = 0
    for project in projects:
        print(f"\n=== {project}", flush=True)
        try:
            code = command(project)
        except ProjectError as error:
            code = error.show()
        except Exception:  # one project's trouble is not the next one's
            traceback.print_exc()
            code = 3
        worst = max(worst, code)
    return worst


def _found(project: Path) -> Path:
    if not project.is_dir():
        raise ProjectError(f"{project} is no folder.", "The folder of a project; a version is: --to VERSION", 64)
    return project.resolve()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ProjectError(f"--data {text} gives no value.", "--data NAME=VALUE", exit_code=64)
    return name, value
