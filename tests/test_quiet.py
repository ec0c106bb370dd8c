"""What a library tells while it is imported is nobody's business, and what goes wrong is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import harness

quiet = harness.load("common.quiet")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it needs a file descriptor of a shell")

#: Is imported by what is handed to `-c`: tells, says and, in the way that is asked for, fails.
TALKER = """
import os, subprocess, sys

os.write(2, b"I0000 talk\\n" + b"said\\nI0001 more of ")
os.write(2, b"it\\n")
print("level", os.environ["LEVEL"], flush=True)
sys.stderr.write("unfinished")
exec(os.environ["HOW"])
"""
START = """
import os, sys
sys.path[:0] = sys.argv[1:]
import harness
quiet = harness.load("common.quiet")
sys.meta_path.insert(0, quiet.Importing("talker", "I[0-9]{4} ", "LEVEL"))
import talker
print(type(talker.__spec__.loader).__name__, type(talker.__loader__).__name__, os.environ.get("LEVEL"))
os.write(2, b"\\nI0002 after\\n")
"""
LEFT_BEHIND = "subprocess.Popen(['sh', '-c', 'read x; echo of a child >&2'], stdin=subprocess.PIPE)"


def imported(folder: Path, how: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "talker.py").write_text(TALKER)
    command = [sys.executable, "-c", START, str(folder), str(Path(harness.__file__).parent)]
    return subprocess.run(command, env=os.environ | {"HOW": how} | variables, capture_output=True, text=True)


def test_talk_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    done = imported(tmp_path)
    assert done.stderr == "said\nunfinished\nI0002 after\n"
    assert done.stdout == "level 3\nSourceFileLoader SourceFileLoader None\n"


@pytest.mark.parametrize("level", ["1", "3"])
def test_all_is_told_where_that_is_asked_for_and_the_level_stays(tmp_path: Path, level: str) -> None:
    done = imported(tmp_path, LEVEL=level, **{quiet.VERBOSE: "1"})
    assert done.stderr == "I0000 talk\nsaid\nI0001 more of it\nunfinished\nI0002 after\n"
    assert done.stdout == f"level 0\nSourceFileLoader SourceFileLoader {level}\n"


def test_an_import_that_is_interrupted_tells_nothing(tmp_path: Path) -> None:
    done = imported(tmp_path, "raise KeyboardInterrupt")
    assert "KeyboardInterrupt" in done.stderr and "I0000" not in done.stderr


def test_an_import_that_fails_is_told_whole(tmp_path: Path) -> None:
    done = imported(tmp_path, "import nothing_of_that_name", LEVEL="2")
    assert done.returncode == 1 and "nothing_of_that_name" in done.stderr
    assert done.stderr.startswith("I0000 talk\nsaid\nI0001 more of it\nunfinishedTraceback")


@pytest.mark.parametrize("by", ["SIGABRT", "SIGKILL"])
def test_a_crash_is_told_whole(tmp_path: Path, by: str) -> None:
    done = imported(tmp_path, f"os.write(2, b'\\nF0003 a check failed'); os.kill(os.getpid(), {signal.Signals[by]})")
    assert done.returncode == -signal.Signals[by]
    assert done.stderr == "I0000 talk\nsaid\nI0001 more of it\nunfinished\nF0003 a check failed"


def test_a_child_that_goes_on_is_not_waited_for_and_is_heard(tmp_path: Path) -> None:
    done = imported(tmp_path, f"sys.child = {LEFT_BEHIND}")  # it ends with this process, whose pipe it reads
    assert done.returncode == 0 and done.stderr == "said\nunfinished\nI0002 after\nof a child\n"


def test_a_closed_output_stays_closed(tmp_path: Path) -> None:
    (tmp_path / "talker.py").write_text("")
    command = [sys.executable, "-c", START, str(tmp_path), str(Path(harness.__file__).parent)]
    closed = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], capture_output=True, text=True)
    assert closed.stdout == "SourceFileLoader SourceFileLoader None\n"
