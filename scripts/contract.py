"""What a version of the template must keep, so that an update of a project loses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pathspec
import yaml

from releases import git

#: What Copier reads, less what would need --trust: tasks, extensions, migrations, external data.
SETTINGS = {
    *("_answers_file", "_envops", "_exclude", "_min_copier_version", "_preserve_symlinks", "_secret_questions"),
    *("_message_after_copy", "_message_after_update", "_message_before_copy", "_message_before_update"),
    *("_skip_if_exists", "_subdirectory", "_templates_suffix"),
}
QUESTION_KEYS = {
    *("ask", "choices", "default", "help", "multiline", "multiselect", "placeholder", "qmark", "secret", "type"),
    *("validator", "when"),
}
#: Answers that cannot change, so that no update switches a path of theirs off.
FIXED = {"framework", "task", "package_name"}
#: What stands for the package in the paths of this module.
PACKAGE = "PACKAGE"
NAMES = {"{{ package_name }}": PACKAGE, "{{ _copier_conf.answers_file }}": ".copier-answers.yml"}
ON_UPDATE = re.compile(r"\{% if _copier_operation == 'update' %\}(.*)\{% endif %\}")


def unknown_keys(config: dict[str, Any]) -> set[str]:
    """Find what Copier would ignore without a word, or not run without --trust.

    Parameters
    ----------
    config : dict
        The content of copier.yml.
    """
    settings = {key for key in config if key.startswith("_")} - SETTINGS
    return settings | {
        f"{name}.{key}" for name, value in questions(config).items() for key in value.keys() - QUESTION_KEYS
    }


def questions(config: dict[str, Any]) -> dict[str, Any]:
    """Give the questions of a copier.yml, hidden ones and tombstones too."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def find_problems(root: Path, releases: dict[str, str]) -> list[str]:
    """Say which edits or answers a plain `copier update` from an earlier release to HEAD would lose.

    Parameters
    ----------
    root : Path
        The repository.
    releases : dict
        The commit of each release.

    Returns
    -------
    list of str
        One line a problem, with its fix.
    """
    config = _config(root, "HEAD")
    problems = [
        f"copier.yml: Copier does not know {key}, or wants --trust for it" for key in sorted(unknown_keys(config))
    ]
    left_alone = _spec(match[1] for pattern in config.get("_exclude", []) if (match := ON_UPDATE.fullmatch(pattern)))
    yours = _spec(config.get("_skip_if_exists", []))
    now = paths(root, "HEAD")
    for path, condition in now.items():
        if condition - FIXED and not left_alone.match_file(path):
            problems.append(f"copier.yml: {path} depends on {', '.join(condition - FIXED)}, so _exclude must name it")
        if not condition - FIXED and left_alone.match_file(path) and not yours.match_file(path):
            problems.append(
                f"copier.yml: {path} is the template's, and _exclude keeps `copier update` from bringing it"
            )
    for version, commit in releases.items():
        for path in paths(root, commit).keys() - now.keys():
            if not left_alone.match_file(path):
                problems.append(f"copier.yml: {path} was in {version} and is no more, so _exclude must name it")
        gone = questions(_config(root, commit)).keys() - questions(config).keys()
        problems += [f"copier.yml: {name} was asked in {version}: keep it, with `when: false`" for name in sorted(gone)]
    return list(dict.fromkeys(problems))


def paths(root: Path, commit: str) -> dict[str, set[str]]:
    """List what a version renders, over all answers.

    Parameters
    ----------
    root : Path
        The repository.
    commit : str
        The version.

    Returns
    -------
    dict
        The questions that each path depends on.
    """
    found: dict[str, set[str]] = {}
    for line in git(
        root, "-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", commit, "template/"
    ).splitlines():
        parts = [_part(part) for part in line.removeprefix("template/").removesuffix(".jinja").split("/")]
        path = "/".join(name for name, _ in parts if name != ".")
        conditions = {question for _, question in parts if question}
        # The same path for several answers: it depends on none of them if any part of the template always renders it.
        found[path] = found.get(path, set()) | conditions
    return found


def _spec(patterns: Iterable[str]) -> pathspec.GitIgnoreSpec:
    return pathspec.GitIgnoreSpec.from_lines(jinja2.Template(each).render(package_name=PACKAGE) for each in patterns)


def _part(part: str) -> tuple[str, str]:
    """Give the name that a part of a template's path renders to, and the question that it depends on."""
    if match := re.fullmatch(r"\{\{ '([^']+)' if (\w+) .*\}\}", part):
        return match[1], match[2]
    return NAMES.get(part, part), ""


def _config(root: Path, commit: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(git(root, "show", f"{commit}:copier.yml"))
    return config
