"""What pyproject.toml asks for, and from where. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..common.addresses import without_user
from ..common.errors import ProjectError
from ..common.project import ROOT

#: The group of what the tracking server is made of, in projects that have one.
SERVER = "tracking-server"
#: By what a sweep speaks to a cluster: Dask, its workers by Slurm, and TLS.
CLUSTER = ("cryptography>=40", "dask-jobqueue>=0.9", "distributed>=2025.4")
#: A requirement with an address: `name @ address`.
DIRECT = re.compile(r"\s*([\w.-]+)\s*(?:\[[^]]*\])?\s*@\s*([^\s;]+)")


def read() -> dict[str, Any]:
    """Read pyproject.toml.

    Raises
    ------
    ProjectError
        If it is no TOML, or has not what the locks are compiled from.
    """
    import tomllib

    try:
        pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        wanted(pyproject)
        pyproject["project"]["requires-python"]
    except KeyError as error:
        raise ProjectError(f"pyproject.toml cannot be used: {error} is missing.", "git diff pyproject.toml") from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"pyproject.toml cannot be used: {error}.", "git diff pyproject.toml") from error
    return pyproject


def wanted(pyproject: dict[str, Any]) -> dict[str, list[str]]:
    """Give the requirements behind each lock."""
    runtime = list(pyproject["project"]["dependencies"])
    found = {
        "runtime": runtime,
        "build": list(pyproject["build-system"]["requires"]),
        "development": runtime + list(_group(pyproject, "dev")),
    }
    server = list(_group(pyproject, SERVER))
    return found | ({"server": server} if server else {}) | {"cluster": [*CLUSTER]}


def draft(pyproject: dict[str, Any], lock: str) -> str:
    """Write the project that uv is to compile: what a lock needs of pyproject.toml.

    uv reads no sources from pyproject.toml itself, as it is not to manage the project.
    """
    project = {"name": "draft", "version": "0", "requires-python": pyproject["project"]["requires-python"]}
    if lock == "build":
        return f"project = {_toml(project | {'dependencies': wanted(pyproject)['build']})}\n"
    kept = {
        name: pyproject["project"][name]
        for name in ("dependencies", "optional-dependencies")
        if name in pyproject["project"]
    }
    if lock in ("server", "cluster"):
        kept = {"dependencies": wanted(pyproject)[lock]}
    uv = pyproject.get("tool", {}).get("uv", {})
    indexes = [index for index in uv.get("index", []) if index.get("name") in set(_indexes(pyproject))]
    tables = {
        "project": project | kept,
        "dependency-groups": pyproject.get("dependency-groups", {}),
        "tool": {"uv": {"sources": uv.get("sources", {}), "index": indexes}},
    }
    return "".join(f"{name} = {_toml(table)}\n" for name, table in tables.items())


def require_hashes(pyproject: dict[str, Any]) -> None:
    """Refuse what no lock can pin by a hash.

    Raises
    ------
    ProjectError
        Naming each requirement, with what to do.
    """
    reasons = {}
    for requirements in wanted(pyproject).values():
        for requirement in requirements:
            direct = DIRECT.match(requirement)
            if direct and (reason := _of_address(direct[2])):
                reasons[direct[1]] = reason
    for name, source in _sources(pyproject):
        if reason := _of_source(source, pyproject):
            reasons[name] = reason
    refuse(reasons)


def refuse(reasons: dict[str, str]) -> None:
    """Stop if there is a requirement that cannot be locked: `{name: why}`."""
    if reasons:
        raise ProjectError(
            "the locks are as they were, for no hash can hold this:\n"
            + "\n".join(f"  {name}: {reason}" for name, reason in sorted(reasons.items())),
            "Build a wheel of it (uv build --wheel) and put that on a package index or at an https address:\n"
            '  NAME = { index = "…" } in [tool.uv.sources], or "NAME @ https://…/NAME-1.0-py3-none-any.whl".\n'
            "Or copy its code into this project.",
        )


def unpinned(lock: str) -> dict[str, str]:
    """Name what a compiled lock holds without pinning it: `{name: why}`."""
    entries = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    found = {}
    for entry in entries:
        direct = DIRECT.match(entry)
        if direct and (reason := _of_address(direct[2])):
            found[direct[1]] = reason
        elif not direct and not re.match(r"[\w.-]+==", entry):
            found[without_user(entry.split()[-1])] = "it is a folder or file of this machine"
    return found


def pages(pyproject: dict[str, Any], names: set[str]) -> list[str]:
    """Give the page of each locked package that is to come from an index of its own.

    The lock can then be installed by whoever has it alone: uv and pip find the package there, and nothing else. The
    addresses are without user name and password.
    """
    indexes = {index.get("name"): index for index in pyproject.get("tool", {}).get("uv", {}).get("index", [])}
    found = set()
    for name, source in _sources(pyproject):
        if name in names and "index" in source:
            index = indexes[source["index"]]
            address = without_user(index["url"])
            found.add(address if index.get("format") == "flat" else f"{address.rstrip('/')}/{name}/")
    return sorted(found)


def normalized(name: str) -> str:
    """Normalize the name of a package, of which one may write several spellings."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _group(pyproject: dict[str, Any], name: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    groups = {normalized(group): entries for group, entries in pyproject.get("dependency-groups", {}).items()}
    if normalized(name) in above:
        raise ProjectError(f"the dependency group {name} includes itself.", "git diff pyproject.toml")
    for entry in groups.get(normalized(name), []):
        if isinstance(entry, str):
            yield entry
        else:
            yield from _group(pyproject, entry["include-group"], (*above, normalized(name)))


def _sources(pyproject: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every source of a requirement: uv takes several, each for some systems."""
    requirements = wanted(pyproject)["development"]
    names = {normalized(match[0]) for entry in requirements if (match := re.match(r"[\w.-]+", entry.strip()))}
    for name, sources in pyproject.get("tool", {}).get("uv", {}).get("sources", {}).items():
        if normalized(name) in names:
            for source in sources if isinstance(sources, list) else [sources]:
                yield normalized(name), source


def _indexes(pyproject: dict[str, Any]) -> Iterator[str]:
    return (source["index"] for _, source in _sources(pyproject) if "index" in source)


def _of_source(source: dict[str, Any], pyproject: dict[str, Any]) -> str:
    if "git" in source:
        return f"it is a git repository, {without_user(source['git'])}"
    if "url" in source:
        return _of_address(source["url"])
    if "index" in source:
        named = [index for index in pyproject["tool"]["uv"].get("index", []) if index.get("name") == source["index"]]
        if not named:
            return f"no [[tool.uv.index]] is named {source['index']}"
        return "" if _is_web(named[0]["url"]) else f"the index {source['index']} is a folder of this machine"
    return f"it is a folder or file of this machine, {source.get('path', 'of the workspace')}"


def _of_address(address: str) -> str:
    """Say why what lies at an address cannot be pinned; "" where it can."""
    shown = without_user(address)
    if address.startswith(("git+", "hg+", "svn+", "bzr+")):
        return f"it is a repository, {shown}"
    if not _is_web(address):
        return f"it is a folder or file of this machine, {shown}"
    if not urlsplit(address).path.endswith(".whl"):
        return f"what lies at {shown} is no wheel, and would be built by requirements that no lock pins"
    if shown != address:
        return f"its address holds a user name or password ({shown}), which would stand in the lock; use ~/.netrc"
    return ""


def _is_web(address: str) -> bool:
    return urlsplit(address).scheme in {"http", "https"}


def _toml(value: Any) -> str:
    """Write a value as TOML, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
