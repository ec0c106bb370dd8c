"""What a training shows is kept with its run, and shown as ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from conftest import Project

import harness

addresses = harness.load("common.addresses")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is kept there")

START = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
import harness
terminal_log = harness.load("training.terminal_log")
log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
print("before", flush=True)
stop = terminal_log._divert(log)
"""


def command(log: Path, program: str) -> list[str]:
    return [sys.executable, "-c", START + program, str(Path(harness.__file__).parent), str(log)]


def test_all_that_is_printed_goes_on_and_into_the_log(tmp_path: Path) -> None:
    program = (
        "print('own')\n"
        "sys.stdout.flush()\n"
        "print('warned', file=sys.stderr)\n"
        "subprocess.run(['sh', '-c', 'echo child; echo of it >&2'])\n"
        "os.write(1, b'\\xff raw')\n"
        "import ctypes; ctypes.CDLL(None).puts(b'of C')\n"
        "stop()\n"
        "print('after', sys.stdout.isatty())\n"
    )
    done = subprocess.run(command(tmp_path / "log", program), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    kept = b"own\nwarned\nchild\nof it\n\xff rawof C\n"
    assert (tmp_path / "log").read_bytes() == kept
    assert (done.returncode, done.stdout) == (0, b"before\n" + kept + b"after False\n"), "in one order"
    done = subprocess.run(command(tmp_path / "log2", program), capture_output=True)
    assert done.stdout == b"before\nown\nchild\n\xff rawof C\nafter False\n" and done.stderr == b"warned\nof it\n"
    assert sorted((tmp_path / "log2").read_bytes()) == sorted(kept)


def test_what_goes_to_a_file_of_a_job_is_read_from_there(tmp_path: Path) -> None:
    program = (
        "print('own')\n"
        "subprocess.run(['sh', '-c', 'echo child; echo of it >&2'])\n"
        "import ctypes; ctypes.CDLL(None).puts(b'of C')\n"
        "assert os.fstat(1).st_ino == int(sys.argv[3]), 'there is a process between'\n"
        "os.close(1)\n"
        "stop()\n"
        "print('after')\n"
    )
    with (tmp_path / "job").open("w+b") as job:
        line = [*command(tmp_path / "log", program), str(os.fstat(job.fileno()).st_ino)]
        done = subprocess.run(line, stdout=job, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    kept = b"own\nchild\nof it\nof C\n"
    assert (tmp_path / "log").read_bytes() == kept
    assert (done.returncode, (tmp_path / "job").read_bytes()) == (0, b"before\n" + kept + b"after\n")
    with (tmp_path / "job").open("wb") as job:  # a person's, which cannot be read
        done = subprocess.run(command(tmp_path / "log2", "print('own')\nstop()\n"), stdout=job, stderr=job)
    assert (done.returncode, (tmp_path / "log2").read_bytes()) == (0, b"own\n")


def test_a_terminal_stays_one(tmp_path: Path) -> None:
    program = (
        "print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size())\n"
        "print('\\x1b[31mred\\x1b[0m', end='\\r')\n"
        "print('100 %')\n"
        "stop()\n"
        "print('after', sys.stdout.isatty())\n"
    )
    line = command(tmp_path / "log", program)
    child = pexpect.spawn(line[0], line[1:], dimensions=(33, 77), encoding="utf-8")
    child.expect(pexpect.EOF)
    shown = "True True os.terminal_size(columns=77, lines=33)\r\n\x1b[31mred\x1b[0m\r100 %\r\n"
    assert child.before == f"before\r\n{shown}after True\r\n"
    assert (tmp_path / "log").read_bytes() == shown.replace("\r\n", "\n").encode()


def test_last_words_of_a_crash_are_shown(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "log", "print('last', flush=True)\nos.kill(os.getpid(), 9)"), stdout=subprocess.PIPE
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"before\nlast\n")
    assert (tmp_path / "log").read_bytes() == b"last\n"


@pytest.mark.parametrize(
    "start", ["subprocess.Popen(['sleep', '600']).pid", "os.fork() or __import__('time').sleep(600)"]
)
def test_a_process_that_is_left_behind_is_not_waited_for(tmp_path: Path, start: str) -> None:
    program = f"left = {start}\nprint(left, flush=True)\nstop()\nprint('after', flush=True)\nos._exit(0)\n"
    with subprocess.Popen(command(tmp_path / "log", program), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "before\n"
        left = int(process.stdout.readline())
        assert process.stdout.readline() == "after\n"
        assert process.wait() == 0
        assert (tmp_path / "log").read_text() == f"{left}\n"
        os.kill(left, signal.SIGKILL)


def test_a_reader_that_goes_ends_nothing(tmp_path: Path) -> None:
    program = "for _ in range(10**5): print('more')\nstop()\nos._exit(7)\n"
    with subprocess.Popen(command(tmp_path / "log", program), stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 7
    assert (tmp_path / "log").read_text().count("more\n") == 10**5


LOGGED = """
import logging
with terminal_log.logging_shown():
    {own}
    logging.getLogger(terminal_log.PACKAGE + ".train").info("epoch %d", 1)
    logging.getLogger().info("root")
    logging.getLogger().debug("detail")
    logging.getLogger("library").info("of a library")
    logging.getLogger("library").warning("heed")
    logging.info("at last")
logging.info("no more")
stop()
"""


def test_what_a_training_logs_is_shown(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "log", LOGGED.format(own="")), stderr=subprocess.PIPE, text=True)
    lines = done.stderr.splitlines()
    package = harness.load("common.project").PACKAGE
    assert [line[9:] for line in lines[:-1]] == [
        *(f"INFO {package}.train: epoch 1", "INFO root: root", "WARNING library: heed")
    ]
    assert lines[-1] == "INFO:root:at last", "which has set it up as Python does"
    own = "logging.basicConfig(format='%(message)s!', level='DEBUG')"
    done = subprocess.run(command(tmp_path / "log2", LOGGED.format(own=own)), stderr=subprocess.PIPE, text=True)
    assert done.stderr.splitlines() == [
        "epoch 1!",
        "root!",
        "detail!",
        "of a library!",
        "heed!",
        "at last!",
        "no more!",
    ]


def test_secrets_are_known_by_name_and_in_addresses(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").touch()
    found = addresses.of_environment(
        {
            "DB_PASSWORD": "hunter2",
            "MLFLOW_TRACKING_URI": "https://ada:s3cret%21@example.com/",
            "ANYTHING": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "GOOGLE_CREDENTIALS": str(tmp_path / "credentials.json"),
            "API_KEYS": "first-one\nsecond-one",
            "PIN_TOKEN": "12",
            "USER": "somebody",
            "GIT_AUTHOR_NAME": "Ada Lovelace",
            "PATH": "/usr/bin",
            "BROKEN_URL": "http://[",
        }
    )
    assert {*found} == {
        *("hunter2", "ada:s3cret%21", "ada:s3cret!", "s3cret%21", "s3cret!", "first-one", "second-one"),
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    }


TRAIN = """
import logging, os, subprocess, time
def train(settings, run):
    print("shown", os.environ.get("DB_PASSWORD"), "topsecret-of-the-file")
    logging.getLogger(__name__).info("logged")
    print("10 %", end="\\r")
    print("\\x1b[32m100 %\\x1b[0m")
    subprocess.run(["sh", "-c", "echo child"])
    how = os.environ.get("HOW")
    if how == "fail":
        raise ValueError("failed by hunter2")
    if how == "wait":
        print("waiting", flush=True)
        time.sleep(600)
    return _train(settings, run)
"""


@pytest.mark.e2e
def test_every_run_has_its_log(project: Project) -> None:
    train = project.path / "bikes/train.py"
    train.write_text(train.read_text("utf-8").replace("def train(", "def _train(") + TRAIN, "utf-8")
    (project.path / ".env").write_text("DB_PASSWORD=hunter2\n#OTHER=x\nexport SOME_TOKEN='topsecret-of-the-file'\n")
    quick = ("train", "--set", "model.n_estimators=2")

    def log() -> list[str]:
        run = project.runs()[0]
        file = project.path / "mlruns" / run.info.run_id / "artifacts" / "log.txt"
        return file.read_text("utf-8").splitlines()

    told = project.just(*quick).stdout
    assert "hunter2" in told and "\x1b[32m100 %" in told
    logged = [line for line in log() if line.endswith("INFO bikes.train: logged")]
    assert logged and {"shown *** ***", "100 %", "child"} <= {*log()}
    project.just(*quick, check=False, HOW="fail")
    assert "shown *** ***" in log() and log()[-1] == "ValueError: failed by ***"
    assert project.runs()[0].info.status == "FAILED"
    python = str(project.path / ".venv/bin/python")
    line = [python, "-m", "bikes", *quick]
    environment = os.environ | {"HOW": "wait", "DB_PASSWORD": "hunter2"}
    with subprocess.Popen(line, cwd=project.path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while process.stdout.readline() != "waiting\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert project.runs()[0].info.status == "KILLED"
    assert "waiting" in log() and log()[-1] == "KeyboardInterrupt" and "hunter2" not in "".join(log())
