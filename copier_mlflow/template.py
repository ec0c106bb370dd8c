"""The template that this project was made from: where it is, which versions it has, and what they render."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from .errors import ProjectError
from .files import write_whole
from .git import FOREIGN, QUIET, run_git

ANSWERS = ".copier-answers.yml"
SHORTCUTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
#: Settings of a person's git that would change what a template renders, or run code of theirs on the way.
PLAIN_GIT = {
    "core.autocrlf": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "commit.gpgSign": "false",
    "init.templateDir": "",
    "apply.whitespace": "nowarn",
    "status.showUntrackedFiles": "all",
}


@dataclass(frozen=True)
class Origin:
    """What `.copier-answers.yml` remembers.

    Parameters
    ----------
    source : str
        The template, as Copier was told.
    version : str
        The release, or what `git describe` called the commit.
    answers : dict
        Every answer, by its question's name.
    """

    source: str
    version: str
    answers: dict[str, Any]


def origin(root: Path) -> Origin:
    """Read which template, version and answers a project was made from.

    Raises
    ------
    ProjectError
        If the file is missing or does not say.
    """
    try:
        found = yaml.safe_load((root / ANSWERS).read_text("utf-8"))
        answers = {name: value for name, value in found.items() if not name.startswith("_")}
        return Origin(str(found["_src_path"]), str(found["_commit"]), answers)
    except (OSError, ValueError, yaml.YAMLError, KeyError, AttributeError) as error:
        raise ProjectError(
            f"{ANSWERS} does not say which template and version this project was made from: {error!r}.",
            f"Get it back: git log -- {ANSWERS}; git checkout COMMIT -- {ANSWERS}",
        ) from error


def address(source: str) -> str:
    """Turn what Copier was told into an address that git can use."""
    for shortcut, site in SHORTCUTS.items():
        if source.startswith(shortcut):
            return f"{site}{source.removeprefix(shortcut).removesuffix('.git')}.git"
    return str(Path(source).expanduser()) if source.startswith("~") else source.removeprefix("git+")


def public(source: str) -> str:
    """Leave user name, password and query out of a web address."""
    return re.sub(r"^([\w+]+://)(?:.*@)?([^?#]*).*", r"\1\2", source)


def is_newer(release: str, version: str) -> bool:
    """Tell whether a release is newer than what a project was made from."""
    # A commit's hash may be all digits, and is no version.
    ours = parse_version(re.sub(r"-\d+-g[0-9a-f]+$", "", version)) if "." in version else None
    theirs = parse_version(release)
    return theirs is not None and (ours is None or theirs > ours)


class Template:
    """A clone of a template, which renders any of its versions. Runs none of the template's code.

    Parameters
    ----------
    source : str
        The template, as Copier was told.
    folder : Path
        Where the clone goes; it must not exist.

    Raises
    ------
    ProjectError
        If it cannot be cloned.
    """

    def __init__(self, source: str, folder: Path) -> None:
        self.source = source
        self.folder = folder
        try:
            clone = ("clone", "--quiet", "--no-checkout", "--", address(source), str(folder))
            run_git(*clone, folder=folder.parent, variables=QUIET | plain_git())
        except ProjectError as error:
            cause = error.cause.replace(address(source), public(source))
            raise ProjectError(
                f"the template cannot be fetched from {public(source)}: {cause}",
                f"If it moved: put its address into {ANSWERS}, as _src_path, and commit that.",
            ) from error

    def commit(self, version: str) -> str:
        """Give the commit of a version: a tag, a branch, a hash, or what `git describe` said.

        Raises
        ------
        ProjectError
            If the template has no such version.
        """
        try:
            return (
                run_git("rev-parse", "--verify", "--quiet", f"{version}^{{commit}}", folder=self.folder)
                .decode()
                .strip()
            )
        except ProjectError as error:
            known = run_git("tag", "--sort=-version:refname", folder=self.folder).decode().split()
            raise ProjectError(
                f"the template has no version {version}.", f"It has: {', '.join(known[:8]) or 'no releases'}."
            ) from error

    def newest(self) -> str:
        """Name the newest release; HEAD where there is none."""
        return ["HEAD", *self.releases()][-1]

    def releases(self) -> list[str]:
        """Name the releases, the newest last: the tags that are versions and no pre-releases."""
        tags = run_git("tag", folder=self.folder).decode().split()
        releases = {version: tag for tag in tags if (version := parse_version(tag)) and not version.is_prerelease}
        return [releases[version] for version in sorted(releases)]

    def news(self, old: str, new: str) -> str:
        """Give the entries of the changelog that one commit has and an earlier one has not."""
        before, after = (self._changelog(commit) for commit in (old, new))
        return "\n".join(entry for heading, entry in after.items() if heading not in before)

    def _changelog(self, commit: str) -> dict[str, str]:
        try:
            text = run_git("cat-file", "blob", f"{commit}:CHANGELOG.md", folder=self.folder).decode()
        except ProjectError:
            return {}
        # The links at the end belong to no entry.
        entries = re.split(
            r"^(?=## )", re.sub(r"^\[[^\]]+\]: \S+\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE
        )[1:]
        return {entry.splitlines()[0]: f"{entry.strip()}\n" for entry in entries if len(entry.strip().splitlines()) > 1}

    def render_old(self, made: Origin, folder: Path) -> Callable[[Path], bool]:
        """Render what a project was once made from.

        Parameters
        ----------
        made : Origin
            Version and answers.
        folder : Path
            Where to.

        Returns
        -------
        callable
            Tells of a path whether it is the user's from the first commit.
        """
        return self._copy(folder, data=made.answers, vcs_ref=self.commit(made.version))

    def render_new(
        self, made: Origin, version: str, changes: Mapping[str, Any], folder: Path
    ) -> Callable[[Path], bool]:
        """Render another version with a project's answers, new questions by their defaults.

        Parameters
        ----------
        made : Origin
            The answers so far; where they are answers no more, the default counts.
        version : str
            What to render.
        changes : Mapping
            Answers that are given anew.
        folder : Path
            Where to.

        Returns
        -------
        callable
            Tells of a path whether it is the user's from the first commit.
        """
        folder.mkdir(parents=True)
        answers = folder / ANSWERS
        answers.write_text(yaml.safe_dump(made.answers, allow_unicode=True), "utf-8")
        is_yours = self._copy(folder, data=dict(changes), vcs_ref=version, overwrite=True)
        # The project goes on to remember the template's own address, not that of this clone.
        source = yaml.safe_dump({"_src_path": self.source}, allow_unicode=True, width=float("inf")).strip()
        write_whole(
            answers, re.sub(r"^_src_path: .*$", lambda _: source, answers.read_text("utf-8"), flags=re.MULTILINE)
        )
        return is_yours

    def _copy(self, folder: Path, **options: Any) -> Callable[[Path], bool]:
        """Let Copier render, without trust, and give what it says about who owns a path."""
        import copier

        # A person's own defaults are for the questions of new projects.
        settings = self.folder.with_name("copier-settings.yml")
        settings.write_text("{}\n", "utf-8")
        former = dict(os.environ)
        os.environ.update(plain_git(), COPIER_SETTINGS_PATH=str(settings))
        for name in FOREIGN:
            os.environ.pop(name, None)
        try:
            worker = copier.run_copy(str(self.folder), folder, **options, defaults=True, quiet=True, unsafe=False)
        except Exception as error:  # of Copier, git, Jinja or YAML: all of them about the template or an answer
            raise ProjectError(
                f"Copier cannot render the template: {error}",
                f"An answer that is refused: --data NAME=VALUE, or correct it in {ANSWERS}.",
            ) from error
        finally:
            os.environ.clear()
            os.environ.update(former)
        is_yours: Callable[[Path], bool] = worker.match_skip
        return is_yours


def plain_git() -> dict[str, str]:
    """Give the environment in which git ignores the settings of `PLAIN_GIT` that a person has.

    Source
    ------
    git-config(1), GIT_CONFIG_COUNT.
    """
    count = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    variables = {"GIT_CONFIG_COUNT": str(count + len(PLAIN_GIT))}
    for number, (name, value) in enumerate(PLAIN_GIT.items(), count):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def parse_version(tag: str) -> Version | None:
    """Read a tag as a version (PEP 440); None where it is none."""
    try:
        return Version(tag)
    except InvalidVersion:
        return None
