"""Which locked packages have no wheel: they are built, by requirements that no lock pins. Standard library only."""

from __future__ import annotations

from typing import Any

from . import markers

#: The systems that a lock is for: what markers say of each, and how the platform tags of its wheels begin and end.
SYSTEMS: dict[str, tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "Linux x86-64": (
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
        ("manylinux", "linux"),
        ("x86_64",),
    ),
    "Linux arm64": (
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64", "os_name": "posix"},
        ("manylinux", "linux"),
        ("aarch64",),
    ),
    "macOS arm64": (
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
        ("macosx",),
        ("arm64", "universal2"),
    ),
    "Windows": (
        {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
        ("win",),
        ("amd64",),
    ),
}


def without_wheel(packages: list[dict[str, Any]], minor: int) -> dict[str, list[str]]:
    """Find the packages that must be built from source.

    Parameters
    ----------
    packages : list of dict
        The packages of a pylock.toml (PEP 751): `name`, `version`, `marker`, and `wheels` with their `url`.
    minor : int
        The Python 3 that is meant.

    Returns
    -------
    dict of str to list of str
        `{"name version": systems}`.
    """
    found = {}
    for package in packages:
        wheels = [wheel["url"].partition("#")[0].rpartition("/")[2] for wheel in package.get("wheels", [])]
        wheels += [package["archive"]["url"].rpartition("/")[2]] if "archive" in package else []
        systems = [
            system
            for system, (variables, _, _) in SYSTEMS.items()
            if markers.holds(package.get("marker", ""), _variables(variables, minor))
            and not any(fits(wheel, system, minor) for wheel in wheels)
        ]
        if systems:
            found[f"{package['name']} {package['version']}"] = systems
    return found


def fits(wheel: str, system: str, minor: int) -> bool:
    """Tell whether CPython 3.`minor` takes a wheel on a system, by the wheel's file name."""
    pythons, abis, platforms = (tags.split(".") for tags in wheel.removesuffix(".whl").split("-")[-3:])
    _, begins, ends = SYSTEMS[system]
    if not any(tag == "any" or (tag.startswith(begins) and tag.endswith(ends)) for tag in platforms):
        return False
    own = f"cp3{minor}"
    older = {f"cp3{number}" for number in range(2, minor + 1)}
    pure = {"py3"} | {f"py3{number}" for number in range(minor + 1)}
    return any(
        (python in older and abi == "abi3")
        or (python == own and abi in {own, "none"})
        or (python in pure and abi == "none")
        for python in pythons
        for abi in abis
    )


def _variables(system: dict[str, str], minor: int) -> dict[str, str]:
    cpython = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    version = {
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.0",
        "implementation_version": f"3.{minor}.0",
    }
    return {**system, **cpython, **version, "platform_release": "", "platform_version": ""}
