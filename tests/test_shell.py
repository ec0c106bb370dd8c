"""What of the shell reaches the programs that a project starts: held to what Python and uv say of themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project, other_pythons
from test_environment import add_look, assert_as_locked, environments, shrink, site_packages

import harness

shell = harness.load("common.shell")


def names(text: str) -> set[str]:
    return set(text.split())


#: Every variable that Python names in its help, of any version, and that reaches a training.
PYTHON_REACHES = names(
    """
    PYTHONASYNCIODEBUG PYTHONBREAKPOINT PYTHONFAULTHANDLER PYTHONHASHSEED PYTHONIOENCODING PYTHONLEGACYWINDOWSSTDIO
    PYTHONUNBUFFERED PYTHONUTF8 PYTHON_BASIC_REPL PYTHON_COLORS PYTHON_HISTORY
    """
)
PYTHON_WITHHELD = names(
    """
    PYTHONCASEOK PYTHONCOERCECLOCALE PYTHONDEBUG PYTHONDEVMODE PYTHONDONTWRITEBYTECODE PYTHONDUMPREFS PYTHONEXECUTABLE
    PYTHONHOME PYTHONINSPECT PYTHONINTMAXSTRDIGITS PYTHONLEGACYWINDOWSFSENCODING PYTHONMALLOC PYTHONMALLOCSTATS
    PYTHONNODEBUGRANGES PYTHONNOUSERSITE PYTHONOPTIMIZE PYTHONPATH PYTHONPERFSUPPORT PYTHONPLATLIBDIR
    PYTHONPROFILEIMPORTTIME PYTHONPYCACHEPREFIX PYTHONSAFEPATH PYTHONSTARTUP PYTHONTRACEMALLOC PYTHONUSERBASE
    PYTHONVERBOSE PYTHONWARNDEFAULTENCODING PYTHONWARNINGS PYTHON_CONTEXT_AWARE_WARNINGS PYTHON_CPU_COUNT
    PYTHON_FROZEN_MODULES PYTHON_GIL PYTHON_JIT PYTHON_LAZY_IMPORTS PYTHON_PERF_JIT_SUPPORT PYTHON_PRESITE
    PYTHON_THREAD_INHERIT_CONTEXT PYTHON_TLBC PYTHON_UOPS_OPTIMIZE
    """
)
#: The same of uv: what its commands name in their help.
UV_REACHES = names(
    """
    UV_CACHE_DIR UV_COMPILE_BYTECODE UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_INDEX UV_INDEX_STRATEGY
    UV_INDEX_URL UV_INSECURE_HOST UV_KEYRING_PROVIDER UV_LINK_MODE UV_MANAGED_PYTHON UV_NO_CACHE UV_NO_MANAGED_PYTHON
    UV_NO_PROGRESS UV_OFFLINE UV_PYTHON_INSTALL_DIR UV_PYTHON_INSTALL_MIRROR UV_PYTHON_DOWNLOADS
    UV_PYTHON_DOWNLOADS_JSON_URL UV_SYSTEM_CERTS
    """
)
UV_WITHHELD = names(
    """
    UV_BREAK_SYSTEM_PACKAGES UV_BUILD_CONSTRAINT UV_CONFIG_FILE UV_CONSTRAINT UV_CUSTOM_COMPILE_COMMAND UV_DEV
    UV_ENV_FILE UV_EXCLUDE UV_EXCLUDE_NEWER UV_FORK_STRATEGY UV_FROZEN UV_ISOLATED UV_LOCKED UV_NO_BINARY UV_NO_BUILD
    UV_NO_BINARY_PACKAGE UV_NO_BUILD_ISOLATION UV_NO_BUILD_PACKAGE
    UV_NO_SOURCES_PACKAGE UV_PYTHON_INSTALL_BIN UV_PYTHON_INSTALL_REGISTRY
    UV_NO_CONFIG UV_NO_DEFAULT_GROUPS UV_NO_DEV UV_NO_EDITABLE UV_NO_ENV_FILE UV_NO_GROUP
    UV_NO_INSTALL_LOCAL UV_NO_INSTALL_PROJECT UV_NO_INSTALL_WORKSPACE UV_NO_PROJECT UV_NO_SOURCES UV_NO_SYNC
    UV_NO_VERIFY_HASHES UV_ONLY_INSTALL_LOCAL UV_ONLY_INSTALL_PROJECT UV_OVERRIDE UV_PRERELEASE UV_PREVIEW
    UV_PREVIEW_FEATURES UV_PROJECT UV_PROJECT_ENVIRONMENT UV_PYPY_INSTALL_MIRROR UV_PYTHON UV_REQUIRE_HASHES
    UV_RESOLUTION UV_SYSTEM_PYTHON UV_TORCH_BACKEND UV_VENV_CLEAR UV_VENV_RELOCATABLE UV_VENV_SEED UV_WORKING_DIR
    UV_WORKING_DIRECTORY
    """
)
#: The commands of uv that are used here.
UV_COMMANDS = ("run", "venv", "build", "pip compile", "pip sync", "pip install", "python find", "python install")


def test_python_itself_names_no_variable_without_a_decision() -> None:
    named: set[str] = set()
    for python in (sys.executable, *other_pythons().values()):
        for option in ("--help-env", "--help-all", "--help-xoptions"):
            text = subprocess.run([python, option], capture_output=True, text=True).stdout
            named |= set(re.findall(r"\bPYTHON[A-Z0-9_]+\b", text))
    assert len(named) > 30
    assert named <= PYTHON_REACHES | PYTHON_WITHHELD


def test_uv_itself_names_no_variable_without_a_decision() -> None:
    named: set[str] = set()
    for command in UV_COMMANDS:
        text = subprocess.run(["uv", "help", *command.split()], capture_output=True, text=True).stdout
        named |= set(re.findall(r"\bUV_[A-Z0-9_]+\b", text))
    assert len(named) > 40
    assert named <= UV_REACHES | UV_WITHHELD


@pytest.mark.parametrize("name", sorted(PYTHON_REACHES | UV_REACHES))
def test_what_people_need_reaches_every_child(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert shell.child()[name] == "1"


@pytest.mark.parametrize("name", sorted(PYTHON_WITHHELD | UV_WITHHELD | {"VIRTUAL_ENV", "CONDA_PREFIX", "PIP_TARGET"}))
def test_what_changes_results_or_what_is_installed_reaches_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert name not in shell.child()
    assert name in shell.withheld()


def test_what_belongs_to_nobody_here_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHON_VERSION", "UV_INDEX_CORP_PASSWORD", "PIP_INDEX_URL", "SSL_CERT_FILE", "HTTPS_PROXY", "PATH"):
        monkeypatch.setenv(name, "x")
        assert shell.child()[name] == "x"
    assert "PIP_INDEX_URL" not in shell.child("PIP_")


def test_a_command_starts_again_once_for_each_reason_and_its_children_know_of_none(tmp_path: Path) -> None:
    shutil.copy(harness.load("common.restart").__file__, tmp_path / "restart.py")
    (tmp_path / "command.py").write_text(
        "import os, restart\n"
        "print(restart.REASONS, sorted(name for name in os.environ if name.startswith('REPRO_')))\n"
        "for reason in ('shell', 'launch'):\n"
        "    if reason not in restart.REASONS:\n"
        "        restart.restart(reason)\n",
        "utf-8",
    )
    done = subprocess.run([sys.executable, "command.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[] []", "['shell'] []", "['shell', 'launch'] []"]


def test_each_name_of_uvs_that_is_let_through_is_one_of_uvs() -> None:
    uv = subprocess.run(["uv", "run", "--no-project", "sh", "-c", 'echo "$UV"'], capture_output=True, text=True)
    program = Path(uv.stdout.strip()).read_bytes()
    [listed] = re.findall(r"UV_ \((.*?)\)\n    \| PIP", shell.REACHES.pattern, re.DOTALL)
    listed_names = re.findall(r"\w+", listed.replace(r"INDEX_\w+_(USERNAME|PASSWORD)", ""))
    assert len(listed_names) > 35
    assert [name for name in listed_names if f"UV_{name}".encode() not in program] == []


#: Each ended in a traceback, in a foreign interpreter, or waited for input, in 0.4.0.
HOSTILE = {
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
    "PYTHONHOME": "/nowhere",
    "PYTHONPLATLIBDIR": "nowhere",
    "PYTHONINSPECT": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONMALLOC": "debug",
    "PYTHONINTMAXSTRDIGITS": "640",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONPYCACHEPREFIX": "/nowhere",
    "UV_SYSTEM_PYTHON": "1",
    "UV_PYTHON": "/nowhere/python",
    "UV_PROJECT": "/nowhere",
    "UV_WORKING_DIR": "/",
    "UV_CONFIG_FILE": "/nowhere/uv.toml",
    "UV_ENV_FILE": "/nowhere/.env",
    "UV_PROJECT_ENVIRONMENT": "/nowhere",
    "UV_FROZEN": "nonsense",
    "UV_NO_VERIFY_HASHES": "1",
    "UV_EXCLUDE_NEWER": "2001-01-01T00:00:00Z",
    "UV_OVERRIDE": "/nowhere",
    "UV_CONSTRAINT": "/nowhere",
    "UV_NO_BINARY": "1",
    "VIRTUAL_ENV": "/nowhere",
    "CONDA_PREFIX": "/nowhere",
}
ASK = "import os, sys; print(sys.flags.optimize, sys.flags.dev_mode, sys.warnoptions, sys.pycache_prefix)"


@pytest.mark.e2e
def test_a_hostile_shell_changes_nothing_that_a_training_sees(project: Project) -> None:
    train = project.path / "bikes" / "train.py"
    train.write_text(
        f"{ASK}\nprint(sorted(set({sorted(HOSTILE)}) & set(os.environ)))\n{train.read_text('utf-8')}", "utf-8"
    )
    for variables in ({}, HOSTILE):
        assert "0 False [] None\n[]\n" in project.just("train", "--set", "model.n_estimators=2", **variables).stdout
    bare = {
        name: value
        for name, value in HOSTILE.items()
        if name not in {"PYTHONSAFEPATH", "PYTHONHOME", "PYTHONPLATLIBDIR"}
    }
    done = project.run(".venv/bin/python", "-m", "bikes", "train", "--set", "model.n_estimators=2", **bare)
    assert "0 False [] None\n[]" in done.stdout, "nor without `just`, where Python can start at all"


@pytest.mark.e2e
def test_a_hostile_shell_leads_no_recipe_elsewhere(project: Project, tmp_path: Path) -> None:
    add_look(project)
    shrink(project.path / "constraints.txt")
    shrink(project.path / "constraints-dev.txt")
    (project.path / ".venv").unlink()
    project.just("setup", **HOSTILE)
    assert_as_locked(project.path / ".venv", project.path / "constraints-dev.txt")
    done = project.just("train", "--help", **HOSTILE)
    assert "Usage:" in done.stdout and "Warning" not in done.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_a_cold_run_under_uv_system_python_installs_into_its_own_environment(project: Project, tmp_path: Path) -> None:
    add_look(project)
    shrink(project.path / "constraints.txt")
    other = tmp_path / "other"
    subprocess.run(["uv", "venv", "--quiet", str(other)], check=True)
    variables = HOSTILE | {
        "VIRTUAL_ENV": str(other),
        "UV_PYTHON": str(other),
        "MLFLOW_ENV_ROOT": str(tmp_path / "envs"),
    }
    shutil.rmtree(project.path / "mlruns", ignore_errors=True)
    assert "Usage:" in project.just("run", "-e", "look", **variables).stdout
    [environment] = environments(tmp_path / "envs")
    assert_as_locked(environment, project.path / "constraints.txt")
    assert not list(site_packages(other).glob("*.dist-info"))


def test_a_notice_names_what_of_the_shell_does_not_decide_a_lock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locks = harness.load("environment.locks")
    for name in list(os.environ):
        if name.startswith("UV_"):
            monkeypatch.delenv(name)
    locks._tell_withheld()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2020-01-01T00:00:00Z")
    monkeypatch.setenv("UV_CACHE_DIR", "/tmp")
    locks._tell_withheld()
    assert capsys.readouterr().err.startswith("notice: UV_EXCLUDE_NEWER of the shell is not used")
