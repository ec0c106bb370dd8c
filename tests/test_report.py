"""What is told of two runs, in the terminal and as a page, whatever they call their stages and metrics."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import harness

compare, pictures, report, show = (harness.load(f"proof.{name}") for name in ("compare", "pictures", "report", "show"))

HOSTILE = "</td></title><script>alert('{{ 7 * 7 }}')</script><img src=x onerror=\"y\">&amp;[bold] $_$"


def record(name: str, /, stage: str = "split", digest: str = "same", metric: str = "f1", **settings: Any) -> Any:
    """What a comparison wants of a record: all of two is equal but what is given."""
    environment = {"python": "3", "packages": {}, "cpu_features": [], "blas": [], "variables": {}, "lock": "sha256:1"}
    environment |= dict.fromkeys(("libc", "machine"), "") | {"gpu": []}
    code = {"modules": {"train.py": "same"}, "commit": "c0ffee", "dirty": "false"}
    content = {"schema": 3, "data": {}, "code": code, "environment": environment, "launch": {}}
    return SimpleNamespace(
        name=name,
        content={**content, "project": "bikes", "result": digest},
        step="train",
        run=SimpleNamespace(info=SimpleNamespace(start_time=0)) if name == "a" else None,
        conf={"seed": 1, "threads": 1, **settings},
        stages={stage: digest},
        metrics={metric: 0.5},
        predictions=pd.DataFrame({"prediction": [1.0]}),
        parts=lambda: {f"model['{stage}']": digest},
    )


class Page(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_shows_names_as_they_are_and_needs_nothing_from_elsewhere() -> None:
    one = record(HOSTILE, HOSTILE, "1", HOSTILE, name=HOSTILE)
    text = report.report(compare.compare(one, record("b", HOSTILE, "2", HOSTILE, name="x")))
    page = Page(text)
    known = {"html", "head", "meta", "title", "style", "body", "main", "header", "div", "section", "footer", "h1", "h2"}
    known |= {"p", "table", "thead", "tbody", "tr", "th", "td", "code", "data", "span", "ul", "li", "img", "wbr"}
    assert {*page.tags} == known
    assert page.tags.count("img") == text.count('src="data:image/svg+xml;base64,') == 1
    assert page.texts.count(HOSTILE) == 2, "a stage and a metric"
    assert f"Run {HOSTILE[:8]} was executed again: they are not the same result." in page.texts
    assert f"the first stage that differs: {HOSTILE}" in page.texts
    assert f"in the model: model['{HOSTILE}']" in page.texts


def test_a_page_of_equal_runs_says_that_nothing_differs() -> None:
    text = report.report(compare.compare(record("a"), record("b")))
    assert "<h1>identical</h1>" in text and "<p>There are none.</p>" in text and "1 of 1 are equal." in text
    assert 'class="differs"' not in text and text.count('<span class="same">equal</span>') == 2
    assert f'title="0.5 = {(0.5).hex()}">0.5</data>' in text
    assert "Certificate of reproduction" in text and "1970-01-01 00:00 UTC" in text


def test_predictions_of_any_kind_are_counted_and_drawn() -> None:
    kinds: list[tuple[Any, Any, str]] = [
        (["a", None, "c"], ["a", None, "b"], "2 of 3"),
        (pd.Categorical(["a", "b"]), pd.Categorical(["a", "c"]), "1 of 2"),
        ([[1, 2], [3]], [[1, 2], [4]], "1 of 2"),
        ([1, None, 3], [1.0, None, 4.0], "2 of 3"),
        ([1, 2], ["1", "x"], "0 of 2"),
        (pd.to_datetime(["2026-11-27", None]), pd.to_datetime(["2026-11-27", None]), "2 of 2"),
    ]
    for one, other, count in kinds:
        a, b = record("a"), record("b", digest="2")
        a.predictions, b.predictions = (pd.DataFrame({"prediction": side}) for side in (one, other))
        text = report.report(compare.compare(a, b))
        assert f"{count} are equal." in text and "<img " in text


def test_a_page_of_two_runs_of_the_store_is_a_comparison() -> None:
    text = report.report(compare.compare(record("a"), record("a", digest="2")))
    assert "Comparison of two runs" in text and "Runs a and a, side by side: they are not the same result." in text


def test_numbers_that_differ_are_shown_with_every_digit() -> None:
    one, other = record("a"), record("b", digest="2")
    one.metrics, other.metrics = {"f1": 0.9577464788732394}, {"f1": 0.9577464788732395}
    text = report.report(compare.compare(one, other))
    assert ">0.9577464788732394</data>" in text and ">0.9577464788732395</data>" in text
    assert text.count("<img ") == 2, "the predictions, and how far the metrics are apart"


@pytest.mark.parametrize(
    ("one", "other", "shows"),
    [
        (range(3000), range(1, 3001), "How the predictions are spread"),
        ([1.0 + k * 2.3e-16 for k in range(30)], [1.0] * 30, "How the predictions are spread"),
        ([float("inf"), float("nan"), *range(40)], [float("inf"), *range(41)], "How the predictions are spread"),
        (["a", "b"] * 9, ["a", "$c"] * 9, "How often each label"),
        ([f"label {k}" for k in range(99)], [f"label {k % 7}" for k in range(99)], "How often the 10 labels"),
    ],
)
def test_predictions_are_drawn_by_how_they_are_spread(one: Any, other: Any, shows: str) -> None:
    drawn = pictures.predictions(pd.Series(one), pd.Series(other), ("original", "replay"))
    assert drawn.shows.startswith(shows) and len(drawn.svg) < 60_000, "no dot for each"
    assert "currentColor" in drawn.svg and "#010203" not in drawn.svg


def test_the_terminal_lists_runs_by_their_first_digits_and_by_more_where_two_begin_alike(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(run_id: str, **tags: str) -> Any:
        info = SimpleNamespace(run_id=run_id, start_time=0, status="FINISHED")
        known = {f"repro.{name}": value for name, value in tags.items()}
        return SimpleNamespace(info=info, data=SimpleNamespace(tags=known, metrics={"f1": 0.5}))

    made = {"result": f"sha256:{'f' * 64}", "commit": "c0ffee" * 6, "dirty": "true"}
    show.show_runs([run("a" * 32, verdict="identical", **made), run("b" * 32)], "")
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "verdict", "result", "commit", "started", "status", "f1"]
    assert first.split()[:4] == ["aaaaaaaa", "identical", "ffffffff", "c0ffeec0+"] and second.split()[0] == "bbbbbbbb"
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(harness.load("common.terminal"), "_is_terminal", lambda stream: True)
    show.show_runs([run("a" * 32, verdict="identical", **made), run("b" * 32)], "")
    *lines, told = re.sub("\x1b[^m]*m", "", capsys.readouterr().out).splitlines()
    assert lines[0].split() == ["run", "verdict", "result", "commit", "started"] and max(map(len, lines)) <= 60
    assert told == "a wider terminal also shows status, f1"
    monkeypatch.undo()
    show.show_runs([run("a" * 32), run("a" * 9 + "b" * 23)], "")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["a" * 10, "a" * 9 + "b"]


def test_the_terminal_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    show.show(compare.compare(record("a"), record("b", digest="2", metric=HOSTILE)), "c" * 32)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["split", "same", "2", "differs"]
    assert [line.split() for line in lines if line.startswith("f1")] == [["f1", "0.5", "differs"]]
    assert any(line.startswith(HOSTILE) for line in lines)
    assert "the first stage that differs: split" in lines and f"kept as run {'c' * 32}, with report.html" in lines
    assert any(line.startswith("nothing that was recorded differs, so it is the code: ") for line in lines)
