"""The engines that tests start: real, and gone when their owner is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_interrupts import wait_for

import engines
import keeper

pytestmark = pytest.mark.e2e


def test_docker_builds_runs_and_composes(docker: engines.Docker, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f'FROM {engines.BASE}\nRUN python -c \'open("/made", "w").write("here")\'\n')
    (tmp_path / "compose.yaml").write_text("services:\n  one:\n    build: .\n    command: cat /made\n")
    docker.run("docker", "build", "--tag=engines:test", str(tmp_path), DOCKER_BUILDKIT="0")
    assert docker.run("docker", "run", "--rm", "engines:test", "cat", "/made").stdout == "here"
    told = docker.run("docker", "compose", "--project-directory", str(tmp_path), "run", "--rm", "--build", "one").stdout
    assert told.endswith("here")


IMAGE = f"""
FROM {engines.BASE}
ARG SOURCE_DATE_EPOCH
RUN pip --version && mkdir /made && python -c 'open("/made/file", "w")'
"""


def test_podman_builds_runs_and_pushes(
    podman: engines.Podman, docker: engines.Docker, registry: engines.Registry, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(IMAGE)
    reference = f"{registry.address}/made:1"
    build = ["--no-cache", "--timestamp=1700000000", "--tag", reference, str(tmp_path)]
    podman.run("buildah", "bud", *build)
    podman.run("podman", "run", "--rm", reference, "ls", "/made/file")
    podman.run("podman", "push", reference)
    docker.run("docker", "run", "--rm", "--pull=always", reference, "ls", "/made/file")


def test_person_runs_containers_without_being_root(person: engines.Person, docker: engines.Docker) -> None:
    assert person.run("id", "-u").stdout == f"{engines.PERSON}\n"
    python = [sys.executable, "-c", "print('started')"]
    assert person.run(*python).stdout == "started\n"
    assert person.run("podman", "run", "--rm", engines.BASE, "id", "-u").stdout == "0\n"
    mine = ["podman", "run", "--rm", "--userns=keep-id", engines.BASE, "id", "-u"]
    assert person.run(*mine).stdout == f"{engines.PERSON}\n"
    host = docker.environment["DOCKER_HOST"]
    assert person.run("docker", "run", "--rm", engines.BASE, "id", "-u", DOCKER_HOST=host).stdout == "0\n"
    assert person.run("ls", "/root/.ssh", check=False).returncode != 0


#: An owner of an engine, which is killed.
OWNER = """
import os, sys, time
import engines
engines.docker(os.getpid(), "classic")
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("keeper_too", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_engine_of_an_owner_that_was_killed_is_cleared(keeper_too: bool, docker: engines.Docker) -> None:
    scripts = str(Path(engines.__file__).parent)
    variables = os.environ | {"PYTHONPATH": scripts}
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=-1, text=True, env=variables) as owner:
        try:
            assert owner.stdout
            assert owner.stdout.readline() == "started\n"
            folder = engines.session(owner.pid) / "docker-classic"
            kept, first = (keeper.noted(folder / name) for name in ("keeper", "first"))
            number, _ = json.loads((folder / "network").read_text())
            assert kept.alive and first.alive
            if keeper_too:
                os.kill(kept.pid, 9)
        finally:
            owner.kill()
    wait_for(lambda: not kept.alive and not first.alive, "the engine ended")
    engines.session(os.getpid())
    assert not folder.exists()
    links = subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
    assert f"engines{number}" not in links
    rules = subprocess.run([str(docker.kit.bin / "iptables-save")], capture_output=True, text=True).stdout
    ours, _ = json.loads((docker.folder / "network").read_text())
    assert f"10.{ours}.0.0" in rules, "another engine was touched"
    assert f"10.{number}.0.0" not in rules


def test_tests_without_an_engine_are_counted_by_reason() -> None:
    programs = str(Path(sys.executable).parent)
    command = [sys.executable, "-m", "pytest", "-n0", "-q", __file__, "-k", "person or podman"]
    done = subprocess.run(command, env=os.environ | {"PATH": programs}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 tests had no engine and did not run: 2 because engines are made of Debian's packages" in done.stdout
