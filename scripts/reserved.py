"""`just reserved`: write reserved_names.txt, the names that a package at the root of a repository must not have.

It would hide a module of the standard library or of a locked package, collide with a folder of the project, or be a
word of a language. copier.yml includes the file.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = "reserved_names.txt"
#: What only some of the supported Pythons have: modules that are gone by 3.12 or 3.13, a word of 3.12, modules of 3.14.
PYTHON = """
aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev
pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
type
annotationlib compression
"""
#: What locked packages are imported as, where that is not their name. A lock does not say it; installed packages do.
IMPORTS = {
    "absl-py": "absl",
    "attrs": "attr attrs",
    "gitpython": "git",
    "google-pasta": "pasta",
    "graphql-core": "graphql",
    "grpcio": "grpc",
    "libclang": "clang",
    "markdown-it-py": "markdown_it",
    "matplotlib": "matplotlib mpl_toolkits pylab",
    "mypy": "mypy mypyc",
    "protobuf": "google",
    "pytest": "py pytest",
    "python-dateutil": "dateutil",
    "python-dotenv": "dotenv",
    # Of Windows: its folders, and what others import of it.
    "pywin32": "adodbapi isapi pythoncom pythonwin pywintypes win32 win32api win32com win32comext win32event win32file "
    "win32pipe",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "sympy": "isympy sympy",
    "toolz": "tlz toolz",
    "torch": "functorch torch torchgen",
}
#: What several packages share: `nvidia-cublas` is imported as `nvidia`.
NAMESPACES = {"cuda", "databricks", "google", "mlflow", "nvidia", "opentelemetry"}
#: Folders of a project and of what works in it.
FOLDERS = "bin build confs data dist docs env lib mine mlartifacts mlruns scripts src test tests"
#: What YAML reads as no text, and names that Windows gives to no file.
WORDS = "no null off on yes aux con nul prn"
DEVICES = [f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)]


def names(root: Path) -> list[str]:
    """Give all of them, the same on every supported Python.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    list of str
        In order, without those that could not be a package's name anyway.
    """
    found = {name.lower() for name in (*sys.stdlib_module_names, *keyword.kwlist, *keyword.softkwlist)}
    found.update(*(text.split() for text in (PYTHON, FOLDERS, WORDS)), DEVICES)
    for lock in root.glob("template/**/constraints*.txt"):
        for distribution in re.findall(r"^([a-z0-9][\w.-]*)==", lock.read_text("utf-8"), re.MULTILINE):
            found |= {importable(distribution), *imports(distribution)}
    return sorted(name for name in found if re.fullmatch(r"[a-z][a-z0-9_]*(?<!_)", name))


def importable(distribution: str) -> str:
    """Write the name of a distribution as a package's could be."""
    return re.sub(r"[-.]", "_", distribution)


def imports(distribution: str) -> set[str]:
    """Say what a locked package is imported as."""
    namespace = distribution.split("-")[0]
    default = namespace if namespace in NAMESPACES else importable(distribution)
    return set(IMPORTS.get(distribution, default).split())


if __name__ == "__main__":
    (ROOT / FILE).write_text("\n".join(names(ROOT)) + "\n", "utf-8")
