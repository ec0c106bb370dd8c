"""The image of a run: what goes into it and what never does, who builds it, and that it is the same each time."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import FRAMEWORKS, TEMPLATE, Project, copy_project
from test_git import commit
from test_interrupts import wait_for

import engines
import harness

engine = harness.load("containers.engine")
builders = harness.load("containers.builders")
contexts = harness.load("containers.context")
index = harness.load("containers.package_index")
image = harness.load("containers.image")
legacy = harness.load("containers.legacy")
verify = harness.load("containers.verify")
capture = harness.load("source.capture").capture
ProjectError = harness.load("common.errors").ProjectError

SECRET = "correct-horse-battery-staple"
#: What a shell says of the package index: one for all projects here, whose environments are then built once.
INDEX = {"UV_INDEX_STRATEGY": "first-index", "UV_INDEX_OWN_PASSWORD": SECRET}


# --- The context --------------------------------------------------------------
def listing(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Mode, time, and content or target of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[path.relative_to(folder).as_posix()] = (stat.S_IMODE(about.st_mode), about.st_mtime, content)
    return found


def plant(folder: Path) -> None:
    """Make a project with all that an image must not have, and some that it must."""
    commit(folder, old__txt=SECRET)  # in the history alone
    (folder / "old.txt").unlink()
    (folder / ".gitignore").write_text("ignored.txt\n/.env\n")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o700)
    (folder / "link").symlink_to("tool.sh")
    (folder / "bikes/data").mkdir(parents=True)
    (folder / "bikes/data/kept.py").write_text("KEPT = 1\n")
    (folder / "data").mkdir()
    (folder / "data/table.csv").write_text(SECRET)
    commit(folder, code__py="C = 1\n")
    for name in (".env", "ignored.txt", "mlflow.db"):
        (folder / name).write_text(SECRET)
    (folder / ".gitignore").open("a").write("mlflow.db\n")
    (folder / "untracked.py").write_text("U = 1\n")
    (folder / "secrets.json").write_text(SECRET)  # looks like what no record takes


@pytest.mark.skipif(os.name != "posix", reason="umask")
def test_context_is_the_run_s_tree_in_equal_bytes_for_everybody(tmp_path: Path) -> None:
    found = []
    for place, umask in (("one", 0o022), ("another/folder", 0o077)):
        former = os.umask(umask)
        try:
            plant(tmp_path / place)
            with contexts.context(capture(tmp_path / place), tmp_path / place) as folder:
                found.append(listing(folder))
        finally:
            os.umask(former)
    assert found[0] == found[1]
    assert {"code.py", "tool.sh", "link", "untracked.py", "bikes/data/kept.py"} <= found[0].keys()
    assert found[0].keys() & {".git", ".env", "data", "ignored.txt", "mlflow.db", "old.txt", "secrets.json"} == set()
    assert SECRET.encode() not in b"".join(part for _, _, part in found[0].values() if isinstance(part, bytes))
    assert {time for _, time, _ in found[0].values()} == {contexts.EPOCH}
    assert found[0]["tool.sh"][0] == 0o755 and found[0]["code.py"][0] == 0o644


def test_context_of_a_project_in_a_folder_of_a_repository_is_that_folder(tmp_path: Path) -> None:
    commit(tmp_path, outside__txt=SECRET)
    (tmp_path / "projects/bikes").mkdir(parents=True)
    (tmp_path / "projects/bikes/code.py").write_text("C = 1\n")
    with contexts.context(capture(tmp_path / "projects/bikes"), tmp_path / "projects/bikes") as folder:
        assert [*listing(folder)] == ["code.py"]


def test_uncommitted_work_has_a_name_of_its_own_and_no_commit_none(tmp_path: Path) -> None:
    commit(tmp_path / "bikes", code__py="C = 1\n")
    code = capture(tmp_path / "bikes")
    assert image.reference_of(code) == f"{image.PACKAGE}:{code.commit[:12]}"
    (tmp_path / "bikes/code.py").write_text("C = 2\n")
    changed = capture(tmp_path / "bikes")
    assert image.reference_of(changed) == f"{image.PACKAGE}:tree-{changed.tree[:12]}"
    (tmp_path / "none").mkdir()
    with pytest.raises(ProjectError) as error:
        image.labels_of(capture(tmp_path / "none"), "python")
    assert error.value.exit_code == 2


# --- The engine and the builder -----------------------------------------------
DOCKER = {"ServerVersion": "27.1.0", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
PODMAN = {"host": {"security": {"rootless": True}, "buildahVersion": "1.28.2"}, "version": {"Version": "4.3.1"}}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put programs on a PATH on which there is nothing else: what they print, by the beginning of their arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CONTAINER_ENGINE", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)

    def put(name: str, answers: dict[str, Any], said: str = "", code: int = 0) -> None:
        lines = [f"#!{sys.executable}", "import sys", "said = ' '.join(sys.argv[1:])"]
        lines += [
            f"if said.startswith({begin!r}): print({text if isinstance(text, str) else json.dumps(text)!r}); sys.exit()"
            for begin, text in answers.items()
        ]
        lines += [f"print({said!r}, file=sys.stderr); sys.exit({code})"]
        (folder / name).write_text("\n".join(lines))
        (folder / name).chmod(0o755)

    return put


DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"


def test_first_engine_that_answers_is_taken(program: Callable[..., None]) -> None:
    program("docker", {}, DOWN, 1)
    program("podman", {"info": PODMAN})
    found = engine.find()
    assert (str(found), found.rootless, builders.choose(found).name) == ("podman 4.3.1", True, "buildah 1.28.2")
    program("docker", {"info": DOCKER})
    assert str(engine.find()) == "docker 27.1.0"
    program("docker", {"info": PODMAN})  # podman's own `docker`
    assert engine.find().name == "podman"


@pytest.mark.parametrize(("variable", "value"), [("CONTAINER_ENGINE", "docker"), ("DOCKER_HOST", "tcp://127.0.0.1:1")])
def test_bound_engine_that_does_not_answer_is_an_error(
    variable: str, value: str, program: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("docker", {}, DOWN, 1)
    program("podman", {"info": PODMAN})
    monkeypatch.setenv(variable, value)
    with pytest.raises(ProjectError) as error:
        engine.find()
    assert f"{variable}={value} binds" in error.value.cause and "Cannot connect" in error.value.cause
    assert f"unset {variable}" in error.value.fix


@pytest.mark.parametrize(
    ("said", "cause", "fix"),
    [
        (None, "no container engine", "https://docs.docker.com"),
        (DOWN, "Cannot connect", "systemctl start docker"),
        (DENIED, "permission denied", "usermod -aG docker"),
    ],
)
def test_what_keeps_an_engine_from_answering_is_told_with_its_fix(
    said: str | None, cause: str, fix: str, program: Callable[..., None]
) -> None:
    if said:
        program("docker", {}, said, 1)
    with pytest.raises(ProjectError) as error:
        engine.find()
    assert cause in error.value.cause and fix in error.value.fix
    assert error.value.exit_code == 3


def buildx(driver: str, version: str) -> str:
    return f"Name: default\nDriver: {driver}\n\nNodes:\nStatus: running\nBuildKit version: {version}\n"


@pytest.mark.parametrize(
    ("info", "inspected", "buildah", "chosen", "stable"),
    [
        (DOCKER, buildx("docker", "v0.13.1"), True, "BuildKit 0.13.1", True),
        (DOCKER, buildx("docker", "v0.0.0+unknown"), True, "BuildKit of Docker 27.1.0", True),
        (DOCKER, buildx("docker", "v0.12.5"), True, "buildah 1.28.2", True),
        (DOCKER | {"DriverStatus": None}, buildx("docker", "v0.13.1"), True, "buildah 1.28.2", True),
        (DOCKER | {"DriverStatus": None}, buildx("docker", "v0.13.1"), False, "BuildKit 0.13.1", False),
        (DOCKER | {"DriverStatus": None}, buildx("docker-container", "v0.14.0"), False, "BuildKit 0.14.0", True),
        (DOCKER, None, True, "buildah 1.28.2", True),
        (DOCKER, None, False, "legacy builder 27.1.0", False),
    ],
)
def test_a_builder_that_gives_one_id_is_preferred(
    info: dict[str, Any], inspected: str | None, buildah: bool, chosen: str, stable: bool, program: Callable[..., None]
) -> None:
    answers = {"info": info} | ({"buildx inspect": inspected} if inspected else {})
    program("docker", answers, "unknown command: docker buildx", 1)
    if buildah:
        program("buildah", {"--version": "buildah version 1.28.2 (image-spec 1.0, runtime-spec 1.0)"})
    builder = builders.choose(engine.find())
    assert (builder.name, builder.stable) == (chosen, stable)


@pytest.mark.parametrize(
    ("said", "cause", "fix"),
    [
        ("  Hash mismatch for `numpy==2.4.0`", "its hash differs", "git diff constraints.txt"),
        ("write /opt: no space left on device", "the disk is full", "docker system prune"),
        ("pull access denied for nobody/none", "cannot be pulled", "just image --base REF"),
        ('failed to resolve reference "docker.io/library/python": dial tcp', "cannot be pulled", "--base REF"),
        ("something else", "says why above", "just doctor"),
    ],
)
def test_what_keeps_an_image_from_being_built_is_told_with_its_fix(said: str, cause: str, fix: str) -> None:
    asked = engine.Engine("docker", "docker", "1", False, {})
    error = builders.explained(said, 1, asked)
    assert cause in error.cause and fix in error.fix


def test_a_builder_ends_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "_stopped", threading.Event())
    asked = engine.Engine("docker", "docker", "1", False, {})
    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(builders._watched, ["sh", "-c", "echo begun; exec sleep 600"], os.environ, asked)
        wait_for(lambda: builders._at_work, "the builder is at work")
        builders.stop()
        with pytest.raises(ProjectError, match="could not be built"):
            build.result(30)
        with pytest.raises(KeyboardInterrupt):
            builders._watched(["true"], os.environ, asked)
    assert not builders._at_work


# --- The way to the package index ---------------------------------------------
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.mark.skipif(shutil.which("sh") is None, reason="a shell")
def test_shell_s_way_to_packages_reaches_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name
        for name in os.environ
        if name.startswith(("UV_", "PIP_")) or name.upper().endswith(("_PROXY", "CERT_FILE", "CA_BUNDLE"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_INDEX_OWN_PASSWORD", "it's $secret")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))  # a folder of this machine
    monkeypatch.setenv("UV_PYTHON", "3.9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    bundle = tmp_path / "company.pem"
    bundle.write_text(CERTIFICATE.format("b3du"))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    found = index.variables()
    assert found["HTTPS_PROXY"] == "http://127.0.0.1:3128" and index.is_on_loopback()
    shown = 'echo "$UV_INDEX_OWN_PASSWORD|$UV_FIND_LINKS|$UV_PYTHON"; tail -3 "$SSL_CERT_FILE"; rm "$SSL_CERT_FILE"'
    told = subprocess.run(
        ["sh", "-ec", f'eval "$PACKAGE_INDEX"; {shown}'],
        env={"PATH": os.environ["PATH"], "PACKAGE_INDEX": found["PACKAGE_INDEX"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told == "it's $secret||\n" + bundle.read_text()


def test_an_untouched_shell_hands_a_build_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name != "PATH":
            monkeypatch.delenv(name)
    assert index.variables() == {}
    monkeypatch.setenv(index.COMMANDS, "exit 9")
    assert index.environment() == {index.COMMANDS: ""}


# --- The files that are rendered ----------------------------------------------
@pytest.mark.parametrize(
    ("version", "framework"),
    [
        *(("3.11", framework) for framework in FRAMEWORKS),
        *((version, FRAMEWORKS[0]) for version in ("3.12", "3.13", "3.14", "3.12.14", "3.12.1")),
    ],
)
def test_dockerfile_of_every_python_and_framework_passes_the_linter(
    version: str, framework: str, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "bikes", framework=framework, python_version=version)
    text = (project / "Dockerfile").read_text("utf-8")
    done = subprocess.run(["hadolint", "Dockerfile"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    [base] = re.findall(r"(?m)^ARG BASE=(.*)$", text)
    pinned = re.fullmatch(rf"python:{re.escape(version)}-slim-bookworm(@sha256:[0-9a-f]{{64}})?", base)
    assert pinned and (pinned[1] is None) == (version == "3.12.1")
    assert re.findall(r"(?m)^FROM (.*)$", text)[1:] == [
        "base AS environment",
        "base AS code",
        "base AS dev",
        "environment AS project",
    ]
    assert ("libgomp" in text) == (framework == "lightgbm")
    plain = legacy.rewritten(text)
    assert not re.search(r"(?m)^RUN --|^# syntax=|<<", plain), "Docker's legacy builder does not know it"
    # What knows the index is a stage of its own there, of which the last takes the packages alone.
    assert re.findall(r"(?m)^FROM (.*)$", plain)[1:] == [
        f"base AS {name}" for name in ("environment", "code", "project")
    ]
    assert "PACKAGE_INDEX" not in plain.partition(" AS code\n")[2] and "/opt/venv /opt/venv" in plain
    devcontainer = json.loads((project / ".devcontainer/devcontainer.json").read_text("utf-8"))
    assert f" AS {devcontainer['build']['target']}\n" in text


def test_a_project_from_before_the_question_gets_no_dockerfile_of_its_own_accord(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "bikes", ci="gitlab", tracking="databricks", updates="renovate")
    assert (project / "Dockerfile").exists()
    file = project / ".copier-answers.yml"
    answers = yaml.safe_load(file.read_text("utf-8"))
    del answers["container"]
    for name in ("Dockerfile", ".dockerignore"):
        (project / name).unlink()
    shutil.rmtree(project / ".devcontainer")
    file.write_text(yaml.safe_dump(answers), "utf-8")
    copier_copy(project)
    assert yaml.safe_load(file.read_text("utf-8"))["container"] == "none"
    assert not (project / "Dockerfile").exists() and not (project / ".devcontainer").exists()


def copier_copy(project: Path) -> None:
    """Render over a project, as an update does: its answers count."""
    import copier

    copier.run_copy(str(TEMPLATE), project, vcs_ref="HEAD", defaults=True, overwrite=True, quiet=True)


def test_image_of_a_project_without_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTAINER_BASE", raising=False)
    with pytest.raises(ProjectError) as error:
        image.default_base(tmp_path)
    assert "--data container=docker" in error.value.fix


# --- With real engines --------------------------------------------------------
def project_in(set_up: Callable[..., Project], folder: Path) -> Project:
    """Give a project with secrets wherever a person may have them, and the environment of another."""
    other = set_up("classification")
    shutil.copytree(other.path, folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db", "mlruns"))
    project = Project(folder)
    (folder / "notes.txt").write_text(SECRET)
    project.commit()
    (folder / "notes.txt").unlink()
    table = next((folder / "data").glob("*.csv"))
    table.write_text(f"{table.read_text()}# {SECRET}\n")
    project.commit()
    (folder / ".env").write_text(f"MLFLOW_TRACKING_PASSWORD={SECRET}\n")
    (folder / "my.key").write_text(SECRET)
    (folder / "mlruns").mkdir()
    (folder / "mlruns/artifact").write_text(SECRET)
    return project


def said_of(found: str, what: str) -> str:
    [value] = re.findall(rf"(?m)^{what} +(\S+)", found)
    return str(value)


def layers(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of every layer of a saved image, and its own descriptions, by name."""
    with tarfile.open(archive) as outer:
        for member in outer:
            if (file := outer.extractfile(member)) is None:
                continue
            try:
                with tarfile.open(fileobj=file) as layer:
                    for entry in layer:
                        content = layer.extractfile(entry) if entry.isreg() else None
                        yield entry.name, content.read() if content else b""
            except tarfile.ReadError:
                file.seek(0)
                yield member.name, file.read()


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_no_secret_is_in_any_layer_and_the_image_runs_as_nobody(
    docker: engines.Docker, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = project_in(set_up, tmp_path / "bikes")
    dead = f"http://me:{SECRET}@127.0.0.1:9/simple"
    done = docker.run("just", "image", cwd=project.path, check=False, UV_EXTRA_INDEX_URL=dead, **INDEX)
    # An index that does not answer is an error: credentials have reached the build. Then without it.
    assert done.returncode == 3 and SECRET not in done.stdout, done.stdout
    told = docker.run("just", "image", cwd=project.path, **INDEX).stdout
    reference = said_of(told, "image")
    archive = tmp_path / "image.tar"
    docker.run("docker", "save", "--output", str(archive), reference)
    found = dict(layers(archive))
    assert "app/bikes/train.py" in found and "opt/venv/as-locked.json" in found
    assert [name for name, content in found.items() if SECRET.encode() in content] == []
    assert [name for name in found if re.match(r"app/(\.git/|data/.|mlruns|\.env$|my\.key|\.venv)", name)] == []
    for about in (("history", "--no-trunc", reference), ("image", "inspect", reference)):
        assert SECRET not in docker.run("docker", *about).stdout
    run = ("docker", "run", "--rm", reference)
    assert "just run --container" in docker.run(*run).stdout
    assert docker.run(*run, "id", "-u").stdout == "1000\n"
    assert docker.run(*run, "sh", "-c", "command -v uv git just gcc || true").stdout == ""
    look = "from bikes.reproducibility.environment import check; check.ensure(); print('as locked')"
    assert docker.run(*run, "python", "-c", look).stdout == "as locked\n"
    # It is there: nothing is built again.
    assert "Building" not in docker.run("just", "image", cwd=project.path).stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("builder", ["BuildKit", "buildah for docker", "podman", "legacy builder"])
def test_image_is_the_same_later_in_another_folder_by_another_user(
    builder: str, request: pytest.FixtureRequest, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    names = {"BuildKit": "docker", "podman": "podman"}
    started: Any = request.getfixturevalue(names.get(builder, "classic_docker"))
    variables = {"CONTAINER_ENGINE": "podman" if builder == "podman" else "docker"}
    if builder in ("buildah for docker", "legacy builder"):
        variables["PATH"] = without(["buildah", "podman"], tmp_path / "bin", started)
    if builder == "legacy builder":
        variables["DOCKER_CONFIG"] = str(tmp_path)  # in which there is no buildx
    if builder == "buildah for docker":
        lent = request.getfixturevalue("podman")
        (tmp_path / "bin/buildah").symlink_to(lent.folder / "bin/buildah")
    first = project_in(set_up, tmp_path / "bikes")
    second = tmp_path / "elsewhere" / "bikes"
    second.parent.mkdir()
    shutil.copytree(first.path, second, symlinks=True)
    just = str(Path(sys.executable).with_name("just"))
    one = started.run(just, "image", "--no-cache", cwd=first.path, **variables).stdout
    # No program can lie to engines about the clock: they ask the kernel. It has gone on by minutes.
    strictly = ["sh", "-c", 'umask 077; exec "$@"', "sh", just, "image", "--no-cache"]
    other = started.run(*strictly, cwd=second, TZ="Asia/Tokyo", USER="somebody", **variables).stdout
    assert said_of(one, "builder") == {"podman": "buildah"}.get(builder, builder.split(" ")[0])
    what = "contents" if builder == "legacy builder" else "ID"
    assert said_of(one, what) == said_of(other, what)


def without(programs: list[str], folder: Path, started: engines.Engine) -> str:
    """A PATH of links to all programs of another, but for some."""
    folder.mkdir()
    for place in reversed(started.environment["PATH"].split(os.pathsep)):
        for path in Path(place).glob("*") if Path(place).is_dir() else []:
            link = folder / path.name
            link.unlink(missing_ok=True)
            if path.name not in programs:
                link.symlink_to(path)
    return str(folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_verify_tells_the_files_that_differ(
    podman: engines.Podman, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = project_in(set_up, tmp_path / "bikes")
    variables = {"CONTAINER_ENGINE": "podman"}
    dockerfile = project.path / "Dockerfile"
    text = dockerfile.read_text("utf-8")
    # An image in which nothing takes long, and something changes.
    begin, end = text.index("WORKDIR /app"), text.index("# The code, compiled")
    quick = "RUN mkdir /opt/venv && cat /proc/sys/kernel/random/uuid > /opt/venv/changes\n\n"
    dockerfile.write_text(text[:begin] + quick + text[end:], "utf-8")
    done = podman.run("just", "image-verify", cwd=project.path, check=False, **variables)
    assert done.returncode == 1 and "/opt/venv/changes: " in done.stdout, done.stdout
    dockerfile.write_text(text[:begin] + quick.replace("cat /proc/sys/kernel/random/uuid", "echo same") + text[end:])
    done = podman.run("just", "image-verify", cwd=project.path, **variables)
    assert re.search(r"identical: buildah \S+ gave sha256:\w{64} both times", done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pushed_image_is_known_by_its_digest(
    docker: engines.Docker, registry: engines.Registry, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = project_in(set_up, tmp_path / "bikes")
    told = docker.run("just", "image", "--push", f"{registry.address}/team/bikes", cwd=project.path).stdout
    pushed = said_of(told, "pushed")
    assert re.fullmatch(rf"{re.escape(registry.address)}/team/bikes@sha256:[0-9a-f]{{64}}", pushed)
    docker.run("docker", "pull", pushed)
