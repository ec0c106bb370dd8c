"""`just bench` measures and judges rightly. How fast anything is, is not for a test to say."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE

import bench
import harness


def row(
    ours: list[float], other: list[float], must: float | None, aim: float | None, faster: bool = False
) -> bench.Row:
    return bench.Row("ours / other", must, aim, faster, ours, other)


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/bench.py", *arguments], cwd=TEMPLATE, capture_output=True, text=True, timeout=600
    )


def test_help_names_every_comparison() -> None:
    done = run_bench("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in bench.BENCHES)
    assert run_bench("--only", "everything").returncode == 2


def test_the_list_tells_how_long_each_takes() -> None:
    lines = run_bench("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(bench.BENCHES)
    assert all(f" {known.minutes:g} min  " in line for line, known in zip(lines, bench.BENCHES.values(), strict=True))


#: Runs the bench with three small measurements in place of its own, the second of which never ends.
STAND_INS = """
import sys, time
import bench
def row(what, seconds):
    return bench.Row(what, 2, None, ours=[seconds], other=[1.0])
def first(_):
    "One and two."
    yield row("one", 1.0)
    yield row("two", 3.0)
def second(_):
    "Three, and never four."
    yield row("three", 2.0)
    print("waiting", flush=True)
    time.sleep(600)
bench.BENCHES = {"a": bench.Comparison(first, 2), "b": bench.Comparison(second, 1), "c": bench.Comparison(first, 4)}
sys.exit(bench.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_was_measured_is_shown_and_kept_whenever_it_is_stopped(tmp_path: Path, how: signal.Signals) -> None:
    output = tmp_path / "bench.json"
    command = [sys.executable, "-c", STAND_INS, "--output", str(output), "--only", "a", "b", "--only", "c"]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(TEMPLATE / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line.rstrip())
            if line == "waiting\n":
                break
        assert shown[0] == "3 of 3 comparisons, about 7 minutes."
        assert "a (1 of 3), about 2 min: One and two." in shown
        assert [line for line in shown if line.startswith("  ")] == [
            *("  one: 1.00, ok", "  two: 3.00, MISSED", "  three: 2.00, ok")
        ]
        process.send_signal(how)
        rest = process.stdout.read()
    kept = json.loads(output.read_text())
    assert [row["what"] for row in kept["rows"]] == ["one", "two", "three"]
    assert list(kept["seconds"]) == ["a"]
    assert list(tmp_path.iterdir()) == [output]
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert len([line for line in rest.splitlines() if line.startswith(("one ", "two ", "three "))]) == 3
        assert rest.endswith("Interrupted. What is left: just bench --only b c\n")


def test_before_the_first_row_an_earlier_file_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: bench.Bench) -> list[bench.Row]:
        raise KeyboardInterrupt

    output = tmp_path / "bench.json"
    output.write_text("of yesterday")
    monkeypatch.setitem(bench.BENCHES, "cold", bench.Comparison(interrupted, 1))
    assert bench.main(["--only", "cold", "--output", str(output)]) == 130
    assert output.read_text() == "of yesterday"
    assert capsys.readouterr().out.endswith("What is left: just bench --only cold\n")


@pytest.mark.parametrize(
    ("ours", "other", "faster", "ratio"),
    [
        ([3.0, 1.0, 2.0], [1.0, 100.0, 1.0], False, 2.0),
        ([1.0, 2.0, 3.0, 100.0], [1.0], False, 2.5),
        ([10.0], [60.0], True, 6.0),
    ],
)
def test_the_ratio_is_that_of_the_medians(ours: list[float], other: list[float], faster: bool, ratio: float) -> None:
    assert row(ours, other, 1, None, faster).ratio == ratio


@pytest.mark.parametrize(
    ("ours", "faster", "must", "aim", "verdict"),
    [
        (1.0, False, 1.15, 1.05, "ok, aim reached"),
        (1.1, False, 1.15, 1.05, "ok"),
        (1.15, False, 1.15, 1.05, "ok"),
        (1.2, False, 1.15, 1.05, "MISSED"),
        (1.0, False, 1.1, None, "ok"),
        (0.125, True, 4.5, 6, "ok, aim reached"),
        (0.2, True, 4.5, 6, "ok"),
        (0.25, True, 4.5, 6, "MISSED"),
    ],
)
def test_the_verdict_follows_the_limits(
    ours: float, faster: bool, must: float, aim: float | None, verdict: str
) -> None:
    assert row([ours], [1.0], must, aim, faster).verdict == verdict


@pytest.mark.parametrize(
    ("limited", "ours", "must", "aim", "value", "verdict"),
    [
        ("difference", 3.25, 0.5, 0.25, "0.250 s", "ok, aim reached"),
        ("difference", 3.5, 0.5, 0.25, "0.500 s", "ok"),
        ("difference", 4.0, 0.5, 0.25, "1.00 s", "MISSED"),
        ("difference", 2.5, 0.5, 0.25, "-0.500 s", "ok, aim reached"),
        ("time", 0.0625, 0.1, None, "0.062 s", "ok"),
        ("time", 0.125, 0.1, None, "0.125 s", "MISSED"),
        ("rate", 0.5, 1, None, "2.00 GB/s", "ok"),
        ("rate", 2.0, 1, None, "0.500 GB/s", "MISSED"),
    ],
)
def test_seconds_and_rates_have_limits_too(
    limited: str, ours: float, must: float, aim: float | None, value: str, verdict: str
) -> None:
    measured = row([ours], [3.0], must, aim, faster=limited == "rate")
    measured.limited, measured.bytes = limited, 10**9
    [_, line] = bench.table([measured]).splitlines()
    assert value in line
    assert measured.verdict == verdict


def test_the_record_that_keeps_nothing_takes_the_place_of_the_one_that_keeps_all() -> None:
    """It is added to the end of recorder.py, so that what others import from there stays."""
    kept, nothing = (
        ast.parse((harness.FOLDER / "record/recorder.py").read_text("utf-8")),
        ast.parse(bench.NO_RECORD.read_text()),
    )
    [recorder] = [node for node in nothing.body if isinstance(node, ast.ClassDef)]
    assert recorder.name in {node.name for node in kept.body if isinstance(node, ast.ClassDef)}
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in nothing.body)


def test_too_much_memory_is_missed_however_fast() -> None:
    fast = row([1.0], [2.0], 1.1, None)
    fast.kept = False
    assert fast.verdict == "MISSED"


def test_measurements_alternate() -> None:
    order: list[str] = []

    def note(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    measured = row([], [], 1, None)
    bench.alternate(measured, lambda: note("a", 1.0), lambda: note("b", 2.0), 3)
    assert order == ["a", "b"] * 3
    assert (measured.ours, measured.other) == ([1.0] * 3, [2.0] * 3)


def test_the_table_has_medians_minima_limits_and_verdict() -> None:
    missed = row([3.0, 1.0, 2.0], [1.0], 1.5, 1.2)
    missed.notes["files"] = 50
    [_, line] = bench.table([missed]).splitlines()
    assert " ".join(line.split()) == "ours / other 2.00 (1.00) 1.00 (1.00) 2.00 <= 1.5 <= 1.2 MISSED; files: 50"


def test_what_has_no_limit_is_told_as_it_was_measured() -> None:
    measured = row([3.0], [3.0], None, None)
    measured.limited = "time"
    [_, line] = bench.table([measured]).splitlines()
    assert " ".join(line.split()) == "ours / other 3.00 (3.00) 3.00 (3.00) 3.00 s as measured"


def test_a_command_that_fails_ends_the_measurement_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)gave 3.*the reason"):
        bench.clock([sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"], tmp_path)


@pytest.mark.parametrize(
    ("problem", "key", "code"), [(bench.Skipped("no pyenv"), "skipped", 0), (RuntimeError("broke"), "failed", 1)]
)
def test_what_cannot_be_measured_is_told_and_only_a_failure_is_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    problem: Exception,
    key: str,
    code: int,
) -> None:
    def measure(_: bench.Bench) -> list[bench.Row]:
        raise problem

    monkeypatch.setitem(bench.BENCHES, "cold", bench.Comparison(measure, 1))
    assert bench.main(["--only", "cold", "--output", str(tmp_path / "bench.json")]) == code
    assert json.loads((tmp_path / "bench.json").read_text())[key] == {"cold": str(problem)}
    captured = capsys.readouterr()
    assert str(problem) in captured.err
    assert f"{key.upper()}: cold" in captured.out


def test_the_cookiecutter_that_is_compared_makes_the_same_files(tmp_path: Path) -> None:
    rendered = tmp_path / "rendered"
    for name, content in {"bikes/a.py": "x = 1", "README.md": "bikes", "justfile": "{{ python }}"}.items():
        (rendered / name).parent.mkdir(parents=True, exist_ok=True)
        (rendered / name).write_text(content)
    oven = bench.to_cookiecutter(rendered, tmp_path / "oven")
    command = [str(bench.TOOLS / "cookiecutter"), "--no-input", "--output-dir", str(tmp_path), str(oven)]
    bench.run(command, tmp_path)
    assert bench.files(tmp_path / "bikes") == bench.files(rendered)
    for name in bench.files(rendered):
        assert (tmp_path / "bikes" / name).read_bytes() == (rendered / name).read_bytes()


@pytest.mark.slow
def test_a_quick_bench_of_the_digest_measures_something(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    done = run_bench("--quick", "--only", "digest", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(output.read_text())
    [measured] = content["rows"]
    assert measured["notes"]["peak memory, MB"] < 100
    assert all(seconds > 0 for seconds in measured["ours"] + measured["other"])
    assert content["versions"]["mlflow"] and content["cores"] and content["date"]
