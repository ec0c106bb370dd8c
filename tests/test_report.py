"""What is told of two runs, in the terminal and as a page, whatever they call their stages and metrics."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import harness

compare, report, terminal = (harness.load(f"proof.{name}") for name in ("compare", "report", "terminal"))

HOSTILE = "</td></title><script>alert('{{ 7 * 7 }}')</script><img src=x onerror=\"y\">&amp;[bold] $_$"


def record(name: str, /, stage: str = "split", digest: str = "same", metric: str = "f1", **settings: Any) -> Any:
    """What a comparison wants of a record: all of two is equal but what is given."""
    environment = {"python": "3", "packages": {}, "cpu_features": [], "blas": [], "variables": {}}
    environment |= dict.fromkeys(("gpu", "libc", "machine"), "")
    code = {"modules": {"train.py": "same"}, "commit": "same"}
    return SimpleNamespace(
        name=name,
        content={"schema": 3, "data": {}, "code": code, "environment": environment, "launch": {}},
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
    assert {*page.tags} == {"meta", "title", "style", "h1", "h2", "p", "table", "tr", "th", "td", "img"}
    assert page.tags.count("img") == text.count('src="data:image/png;base64,') == 2
    assert page.texts.count(HOSTILE) == 2, "a stage and a metric"
    assert f"Run {HOSTILE} was executed again: they are not the same result." in page.texts
    assert f"the first stage that differs: {HOSTILE}" in page.texts
    assert f"in the model: model['{HOSTILE}']" in page.texts


def test_a_page_of_equal_runs_says_that_nothing_differs() -> None:
    text = report.report(compare.compare(record("a"), record("b")))
    assert '<h1 class="identical">identical</h1>' in text and "<p>There are none.</p>" in text
    assert "<td>f1</td><td>0.5</td><td>0.5</td><td>yes</td>" in text and 'class="no"' not in text


def test_the_terminal_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(compare.compare(record("a"), record("b", digest="2", metric=HOSTILE)), "c" * 32)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["split", "same", "2", "differs"]
    assert [line.split() for line in lines if line.startswith("f1")] == [["f1", "0.5", "differs"]]
    assert any(line.startswith(HOSTILE) for line in lines)
    assert "the first stage that differs: split" in lines and f"kept as run {'c' * 32}, with report.html" in lines
    assert any(line.startswith("nothing that was recorded differs, so it is the code: ") for line in lines)
