"""How the tool is had: the launcher in every project, and the environment that it makes for itself."""

from __future__ import annotations

import ast
import http.server
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import TEMPLATE, refused
from updates import commit, find_module, git, set_git

from copier_mlflow import bootstrap
from harness import FOLDER

LAUNCHER = find_module(FOLDER, "template_tool")
#: Stands for the tool: says what it is given and which version it is.
FAKE = """\
import os, signal, sys, time
print("version", VERSION, "was given", sys.argv[1:], flush=True)
if "wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print("waiting", flush=True)
    time.sleep(600)
sys.exit(1)
"""


# --- The launcher -------------------------------------------------------------
@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template's repository whose releases are numbered as people do, its tool a small program."""
    folder = tmp_path_factory.mktemp("some where") / "copier-mlflow"
    (folder / "copier_mlflow").mkdir(parents=True)
    git(folder, "init", "--quiet")
    for version in ("v0.9", "0.10.0", "0.11.0rc1", "0.12.0.dev3", "nightly", "2026-01"):
        (folder / "copier_mlflow" / "bootstrap.py").write_text(f"VERSION = {version!r}\n{FAKE}")
        commit(folder)
        git(folder, "tag", *(["--annotate", "--message", "x"] if version == "0.10.0" else []), version)
    git(folder, "bundle", "create", "--quiet", str(folder.parent / "t.bundle"), "--all")
    return folder


def made_from(source: str, project: Path) -> Path:
    """A project that remembers an address, as Copier writes it, and has the launcher."""
    (project / "bikes" / "reproducibility").mkdir(parents=True)
    shutil.copy(LAUNCHER, project / "bikes" / "reproducibility")
    answers = {"_commit": "0.9", "_src_path": source, "project_name": "bikes"}
    (project / ".copier-answers.yml").write_text(f"# What was answered.\n{yaml.dump(answers, allow_unicode=True)}")
    return project


def launch(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-E", "bikes/reproducibility/template_tool.py", *arguments]
    return subprocess.run(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )


ADDRESSES = {
    "path": "{path}",
    "path with quotes": "{quoted}",
    "path with a strange letter": "{strange}",
    "home": "~/copier-mlflow",
    "file": "{uri}",
    "git+file": "git+{uri}",
    "bundle": "{parent}/t.bundle",
    "gh": "gh:ada/t",
    "gl": "gl:ada/t.git",
    "https": "https://example.com/ada/t.git",
    "git+https": "git+https://example.com/ada/t.git",
    "with a password": "https://ada:s3cret@example.com/ada/t.git",
    "ssh": "ssh://git@example.com/ada/t.git",
    "ssh, short": "git@example.com:ada/t.git",
}
SITES = ("https://github.com/", "https://gitlab.com/", "https://example.com/", "https://ada:s3cret@example.com/")


@pytest.mark.parametrize("kind", ADDRESSES)
def test_wherever_the_template_is_its_newest_release_is_run(
    kind: str, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(template.parent))
    # Git reads the addresses of sites from a folder instead.
    sites = [*SITES, "ssh://git@example.com/", "git@example.com:"]
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "t.git").symlink_to(template)
    config = "".join(f'[url "{tmp_path.as_uri()}/"]\n\tinsteadOf = "{site}"\n' for site in sites)
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    quoted, strange = (tmp_path / f"{'a long folder ' * 9}/{name}" for name in ("it's: 'mine'", "a tab\t\U0001f600"))
    for link in (quoted, strange):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(template)
    places = {"path": template, "uri": template.as_uri(), "parent": template.parent}
    source = ADDRESSES[kind].format(**places, quoted=quoted, strange=strange)
    project = made_from(source, tmp_path / "bikes")
    done = launch(project, "update", ".", "--data", "a=b c; touch x", "$(touch x)")
    told, ran = done.stdout.splitlines()
    assert git(template, "rev-parse", "0.10.0^{commit}") in told and "0.10.0" in told
    assert "s3cret" not in told
    assert ran == "version 0.10.0 was given ['update', '.', '--data', 'a=b c; touch x', '$(touch x)']"
    assert done.returncode == 1
    assert not list(tmp_path.rglob("x"))


def test_without_a_release_it_is_the_newest_commit(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    (folder / "copier_mlflow").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "copier_mlflow" / "bootstrap.py").write_text(f"VERSION = 'of HEAD'\n{FAKE}")
    commit(folder)
    git(folder, "tag", "1.0.0rc1")
    assert "version of HEAD was given" in launch(made_from(str(folder), tmp_path / "bikes"), "update", ".").stdout


def test_in_whatever_room_of_the_harness_it_stands(template: Path, tmp_path: Path) -> None:
    project = made_from(str(template), tmp_path / "reproducibility" / "bikes")
    room = project / "bikes" / "reproducibility" / "a" / "b"
    room.mkdir(parents=True)
    shutil.copy(LAUNCHER, room)
    command = [sys.executable, "-E", str(room / LAUNCHER.name), "update", "."]
    assert "version 0.10.0" in subprocess.run(command, cwd=project, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture
def locked_up() -> Iterator[str]:
    """The address of a server that wants a password."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/t.git"
    server.shutdown()
    server.server_close()


HOSTILE = [
    *("--upload-pack=touch x", "-u", "", "; touch x", "$(touch x)", "`touch x`", "a\ntouch x", "ext::sh -c touch% x"),
    *('"', "'", "ssh://-oProxyCommand=touch x/t", "/nowhere", "https://127.0.0.1:9/t.git", "file:///\0"),
]


@pytest.mark.parametrize("source", HOSTILE)
def test_an_address_that_leads_nowhere_is_an_error_and_runs_nothing(source: str, tmp_path: Path) -> None:
    project = made_from(source, tmp_path / "bikes")
    before = set(tmp_path.rglob("*"))
    refused(launch(project, "update", "."))
    assert set(tmp_path.rglob("*")) == before


def test_where_a_password_is_wanted_it_is_an_error(locked_up: str, tmp_path: Path) -> None:
    address = locked_up.replace("//", "//ada:s3cret@")
    assert "s3cret" not in refused(launch(made_from(address, tmp_path / "bikes"), "update", "."))
    said = refused(launch(made_from(locked_up, tmp_path / "cars"), "update", "."))
    assert "could not read Username" in said


def test_a_release_without_a_tool_and_answers_without_an_address_are_errors(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    git(tmp_path / "t", "init", "--quiet")
    commit(tmp_path / "t")
    project = made_from(str(tmp_path / "t"), tmp_path / "bikes")
    assert "copier_mlflow" in refused(launch(project, "update", "."))
    for text in ("_commit: 1\n", "_src_path: \n", "\n"):
        (project / ".copier-answers.yml").write_text(text)
        refused(launch(project, "update", "."))
    (project / ".copier-answers.yml").unlink()
    refused(launch(project, "update", "."))


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_signal_reaches_the_tool_and_its_exit_code_comes_back(template: Path, tmp_path: Path) -> None:
    project = made_from(str(template), tmp_path / "bikes")
    command = [sys.executable, "-E", "bikes/reproducibility/template_tool.py", "wait"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line == "waiting\n" for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 7


def test_no_setting_of_a_users_git_and_no_hook_gets_in_between(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction"):
        (tmp_path / "hooks" / hook).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    set_git(monkeypatch, {"core.hooksPath": str(tmp_path / "hooks"), "core.autocrlf": "true", "color.ui": "always"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    done = launch(made_from(str(template), tmp_path / "bikes"), "update", ".")
    assert "version 0.10.0 was given" in done.stdout


@pytest.mark.parametrize(
    ("less", "more"),
    [("0.9", "0.10"), ("v1.2", "1.2.1"), ("1.2", "1.2.post1"), ("2.0.0rc1", "0.1"), ("nightly", "0.1"), ("9", "10.0")],
)
def test_releases_are_ordered_as_versions(less: str, more: str) -> None:
    order = runpy.run_path(str(LAUNCHER))["order"]
    assert order(less) < order(more)
    assert order("1.0") == order("v1.0.0")


def test_the_launcher_is_short_and_needs_no_package() -> None:
    text = LAUNCHER.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    imported = {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names


# --- The environment of its own -----------------------------------------------
@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A tool that needs one package and says where it runs."""
    folder = tmp_path / "copier_mlflow"
    folder.mkdir()
    shutil.copy(bootstrap.__file__, folder)
    entries = re.split(r"^(?=\S)", bootstrap.LOCK.read_text("utf-8"), flags=re.MULTILINE)
    # A comment of this test's own: an environment is kept for each lock.
    [entry] = [entry for entry in entries if entry.startswith("packaging==")]
    (folder / "constraints.txt").write_text(f"# {tmp_path}\n{entry}")
    program = "import os, sys, packaging\nprint(sys.prefix, sys.argv[1:])\nassert os.getcwd() not in sys.path\n"
    (folder / "__main__.py").write_text(program)
    return folder


def begin(tool: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(tool / "bootstrap.py"), *arguments],
        cwd=tool.parent,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_several_that_start_at_once_share_one_environment(tool: Path) -> None:
    processes = [begin(tool, "status", str(number)) for number in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    [prefix] = {output.split(" ['status'")[0] for output in outputs}
    assert list(Path(prefix).parent.glob(f"{Path(prefix).name}-*")) == []
    assert begin(tool, UV_OFFLINE="1", UV_INDEX_URL="http://127.0.0.1:9").communicate()[0].startswith(prefix)
    shutil.rmtree(Path(prefix) / "bin")  # its Python is gone
    assert begin(tool).communicate()[0].startswith(prefix)
    shutil.rmtree(prefix)


def test_what_is_not_as_locked_is_refused(tool: Path) -> None:
    lock = tool / "constraints.txt"
    right = lock.read_text("utf-8")
    lock.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", right))
    process = begin(tool)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3 and "\nerror: " in output and "\nfix: " in output and "Traceback" not in output
    lock.write_text(re.sub(r" \\\n    --hash=\S+", "", right))
    process = begin(tool, UV_NO_VERIFY_HASHES="1", UV_REQUIRE_HASHES="0")
    assert "hash" in process.communicate(timeout=120)[0]
    assert process.returncode == 3


def test_nothing_of_the_shell_or_the_folder_gets_in_between(tool: Path) -> None:
    (tool.parent / "packaging.py").write_text("raise SystemExit('not this one')\n")
    (tool.parent / "uv.toml").write_text('index-url = "http://127.0.0.1:9"\n')
    hostile = {"PYTHONPATH": str(tool.parent), "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "2.7", "PYTHONSAFEPATH": ""}
    process = begin(tool, "status", VIRTUAL_ENV=str(tool.parent), **hostile)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    shutil.rmtree(output.split(" [")[0])


def test_without_uv_it_says_so(tool: Path) -> None:
    process = begin(tool, PATH=str(tool), UV="")
    assert process.communicate()[0] == "error: uv is not on the PATH.\nfix: pip install uv\n"
    assert process.returncode == 3


def test_the_lock_has_what_is_imported_with_a_hash_and_no_host() -> None:
    text = bootstrap.LOCK.read_text("utf-8")
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    locked = {re.split("[=;]", entry)[0].strip() for entry in entries}
    assert {"click", "copier", "jinja2", "packaging", "pathspec", "pyyaml", "rich", "rust-just"} <= locked
    root = (TEMPLATE / "constraints.txt").read_text("utf-8")
    assert [entry for entry in entries if entry.splitlines()[0] not in root] == []
    standard = ("__init__.py", "bootstrap.py")
    for name in standard:
        for node in ast.walk(ast.parse((TEMPLATE / "copier_mlflow" / name).read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {part.name for part in node.names} <= sys.stdlib_module_names
            if isinstance(node, ast.ImportFrom):
                assert node.module in sys.stdlib_module_names
