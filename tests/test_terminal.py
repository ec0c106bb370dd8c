"""How the project speaks to a person: colours where they are wanted, and what goes on while they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pyte
import pytest

import harness

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")

START = f"""
import sys
sys.path.insert(0, {str(Path(harness.__file__).parent)!r})
import harness
terminal = harness.load("common.terminal")
"""
WAITS = """
with terminal.waiting("reading"):
    print("told")
    with terminal.waiting("within"):
        terminal.notice("mind that")
print("done")
"""


def typed(program: str, **variables: str) -> tuple[list[str], str]:
    """What a terminal shows in the end, and all that it was sent."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    child = pexpect.spawn(
        sys.executable, ["-c", START + program], env=environment | {"TERM": "xterm"} | variables, dimensions=(24, 80)
    )
    child.expect(pexpect.EOF)
    sent = child.before.decode()
    display = pyte.Screen(80, 24)
    pyte.Stream(display).feed(sent)
    return [line.rstrip() for line in display.display if line.strip()], sent


def test_what_is_waited_for_is_shown_and_taken_away() -> None:
    shown, sent = typed(WAITS)
    assert shown == ["told", "notice: mind that", "done"]
    assert sent.index("reading") < sent.index("within") < sent.rindex("done")


def test_a_file_or_pipe_gets_nothing_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", START + WAITS], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("told\ndone\n", "notice: mind that\n")


def test_results_go_into_a_file_while_a_person_waits_at_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    shown, sent = typed(f"sys.stdout = open({str(file)!r}, 'w')\n{WAITS}\nsys.stdout.close()")
    assert file.read_text() == "told\ndone\n"
    assert shown == ["notice: mind that"] and "reading" in sent


def test_a_wait_that_ends_with_an_error_leaves_the_terminal_as_it_was() -> None:
    shown, sent = typed("with terminal.waiting('reading'):\n    raise SystemExit('that went wrong')")
    assert shown == ["that went wrong"]
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_words_have_colours_where_a_terminal_wants_them(variables: dict[str, str], coloured: bool) -> None:
    shown, sent = typed("terminal.notice('mind that')", **variables)
    assert shown == ["notice: mind that"]
    assert ("\x1b[33mnotice" in sent) == coloured


def test_a_terminal_that_cannot_move_its_cursor_is_shown_no_wait() -> None:
    assert typed(WAITS, TERM="dumb")[1].splitlines() == ["told", "notice: mind that", "done"]


def test_a_line_is_not_broken_while_a_person_waits() -> None:
    long = "sha256:" + "0123456789abcdef" * 8
    assert long in typed(f"with terminal.waiting('x'):\n    print({long!r})")[1]


@pytest.mark.parametrize("stream", ["Mine()", "open(os.devnull, 'w')", "None", "io.StringIO()"])
def test_what_a_training_puts_in_the_place_of_its_outputs_is_written_to(stream: str) -> None:
    program = f"""
import io, os
class Mine:
    def write(self, text): os.write(1, text.encode())
    def flush(self): pass
sys.stdout = sys.stderr = {stream}
if hasattr(sys.stderr, "buffer"): sys.stderr.close()
with terminal.waiting("reading"):
    try: terminal.notice("mind that")
    except ValueError: pass  # of a closed file, as print's own
os.write(1, b"well")
"""
    assert typed(program)[0] == (["notice: mind that", "well"] if stream == "Mine()" else ["well"])


def test_what_holds_standard_error_back_gets_nothing_of_a_wait(tmp_path: Path) -> None:
    held = tmp_path / "held"
    program = f"""
import os
with terminal.waiting("importing"):
    former = os.dup(2)
    os.dup2(os.open({str(held)!r}, os.O_WRONLY | os.O_CREAT), 2)
    with terminal.waiting("within"):
        os.write(2, b"talk")
    os.dup2(former, 2)
"""
    shown, sent = typed(program)
    assert held.read_bytes() == b"talk"
    assert "within" in sent and shown == []
