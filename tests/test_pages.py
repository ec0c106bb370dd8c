"""The pages that people look at, in a real Chromium: narrow and wide, light and dark, printed, and by axe-core."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page
from test_report import record

import harness

compare, report = harness.load("proof.compare"), harness.load("proof.report")
chain, lineage, show = (harness.load(f"pipeline.{name}") for name in ("chain", "lineage", "show"))
description, proving = harness.load("sweeps.description"), harness.load("sweeps.proving")
selftest = harness.load("selftest.show")

pytestmark = pytest.mark.e2e

APPROVED = Path(__file__).parent / "approved" / "pages"
STAGES = ("data breast_cancer", "split", "features", "round 100", "weights", "probe", "predictions", "metrics")
METRICS = {"accuracy": 0.9577464788732394, "f1": 0.9662921348314607, "log_loss": 0.10837621519082374, "roc_auc": 0.99}


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def run(name: str, changed: int = 0, **about: Any) -> Any:
    """The record of a run of 10,000 predictions, of which so many are changed by a little."""
    made = record(name, **about)
    made.content["environment"] |= {
        "kernel": "Linux 6.18.44",
        "cpu": "AMD EPYC 9654 96-Core Processor",
        "lock": digest("c"),
    }
    made.content |= {"model": {"kind": "other"}, "result": digest("d" if changed else "e")}
    made.content["code"] |= {"commit": "c0ffee" * 6 + "c0ff", "dirty": "true"}
    made.stages = {name: digest("b" if changed and n > 3 else "a") for n, name in enumerate(STAGES)}
    made.metrics = {name: value + changed * 1e-15 for name, value in METRICS.items()}
    predictions = np.random.default_rng(1).normal(size=10_000)
    predictions[:changed] += 1e-9
    made.predictions = pd.DataFrame({"prediction": predictions})
    return made


def linked() -> Any:
    """The last of a chain of three runs."""

    def link(name: str, **content: Any) -> Any:
        about = SimpleNamespace(info=SimpleNamespace(run_id=name * 16), data=SimpleNamespace(tags={}))
        return lineage.Link(about, {"step": {"a1": "prepare", "b2": "train", "c3": "evaluate"}[name], **content})

    table = {"path": "data/breast_cancer.csv", "digest": digest("a"), "size": 119_913, "source": "unknown"}
    entry = {
        "address": "step:prepare/clean.parquet",
        "uri": "runs:/a",
        "digest": digest("b"),
        "size": 1,
        "run": "a1" * 16,
    }
    first = link("a1", data={"breast_cancer": table})
    second = link("b2", inputs={"clean": entry})
    second.made_by = {"clean": first}
    third = link("c3", inputs={"clean": entry, "model": entry})
    third.made_by = {"clean": first, "model": second}
    return third


def executed(parts: bool = False) -> str:
    """What came of that chain, executed again; its second link may be another, and then the third is not tried."""
    links = lineage.in_order(linked())
    tried = []
    for link in links[: 2 if parts else None]:
        a, b = run("a"), run("b", 500 if parts and len(tried) else 0)
        a.name = link.id
        found = compare.compare(a, b)
        tried.append(chain.Tried.of(link, found, "d4" * 16))
    return str(chain.certificate(links, tried))


def sweep() -> str:
    """The proof of a sweep."""
    space = {"model.max_depth": {"type": "int", "low": 2, "high": 12}}
    said = {"space": space, "metric": "accuracy", "direction": "maximize", "trials": 40}
    about = description.Description(said, {"seed": 1}, "train", {}, "5.0.0", digest("c"))
    tags = {"repro.best": "b2" * 16, "repro.result": digest("e")}
    found = SimpleNamespace(info=SimpleNamespace(run_id="a1" * 16), data=SimpleNamespace(tags=tags))
    proven = [("plan and results", "40 runs of trials", "identical"), ("trial 7", "c3" * 16, "identical")]
    return str(proving.certificate(about, found, "identical", ["The plan and the results of the sweep."], proven))


def machine() -> str:
    """The outcome of a self-test."""
    names = ("kernel", "libc", "python", "cpu")
    content = {
        "repeats": False,
        "trainings": [{"name": "the stress workload", "times": 3, "equal": False, "parts": "weights, step 2"}],
        "resumed": {"name": "resumed", "times": 1, "parts": "no time was left"},
        **{"devices": None, "switches": {"PYTHONHASHSEED": "matters here"}, "operations": {"sum": "repeats"}},
        **{"steps": 30, "date": "2026-11-27", "device": "cpu"},
        "machine": {
            **dict.fromkeys(names, "x86_64"),
            "cores": 2,
            "gpu": [],
            "precision": {},
            "packages": {"numpy": "2"},
        },
    }
    return str(selftest.page(content))


def comparison(verdict: str, changed: int, libc: str = "", **about: Any) -> str:
    a, b = run("a"), run("b", changed, **about)
    b.content["environment"]["libc"] = libc
    found = compare.compare(a, b)
    assert found.verdict == verdict
    return str(report.report(found))


#: Words that go on in the next line.
BROKEN = r"""
[...document.querySelectorAll('th, td, h1, h2')].filter(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const tops = [...range.getClientRects()].map(place => place.top);
  return /^[a-z]+$/i.test(cell.textContent) && !cell.querySelector('code') && Math.max(...tops) - Math.min(...tops) > 8;
}).map(cell => cell.textContent)
"""
#: Parts that lie over each other.
OVER_EACH_OTHER = """
[...document.querySelectorAll('header, section, footer')].map(part => [part, part.getBoundingClientRect()])
  .flatMap(([part, a], n, all) => all.slice(n + 1).filter(([_, b]) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom).map(_ => part.textContent))
"""
PAGES: dict[str, Callable[[], str]] = {
    "identical": lambda: comparison("identical", 0),
    "equivalent": lambda: comparison("equivalent", 500, libc="glibc 2.41"),
    "different": lambda: comparison("different", 500, **{f"a_setting_of_a_long_name_{n}": n for n in range(9)}),
    "lineage": lambda: show.page(linked()),
    "chain": executed,
    "chain that parts": lambda: executed(parts=True),
    "sweep": sweep,
    "self-test": machine,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages, by what they are."""
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in PAGES}
    for name, write in PAGES.items():
        made[name].write_text(write(), "utf-8")
    return made


@pytest.fixture
def opened(chromium: Browser, files: dict[str, Path]) -> Iterator[Callable[..., Page]]:
    """Open a page as nobody with a network would; what its console says, and what it asks for, fails the test."""
    seen: list[str] = []
    contexts = []

    def get(name: str, width: int = 1400, scheme: str = "light") -> Page:
        contexts.append(
            chromium.new_context(offline=True, color_scheme=scheme, viewport={"width": width, "height": 900})
        )
        page = contexts[-1].new_page()
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on(
            "request", lambda request: seen.append(request.url) if request.url[:5] not in ("file:", "data:") else None
        )
        page.goto(files[name].as_uri())
        return page

    yield get
    for context in contexts:
        context.close()
    assert seen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_axe_finds_nothing_serious(
    opened: Callable[..., Page], name: str, width: int, scheme: str
) -> None:
    page = opened(name, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = Axe().run(page).response["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
    assert found == [], "not even something minor"
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(OVER_EACH_OTHER) == []
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    assert (picture[-1, 0] > 200) == (scheme == "light")


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_says_is_what_was_approved(opened: Callable[..., Page], name: str) -> None:
    """`just approve` writes it anew into tests/approved/pages/, for a person to review."""
    said = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "0000-00-00 00:00", opened(name).inner_text("body")) + "\n"
    file = APPROVED / f"{name}.txt"
    if "APPROVE" in os.environ:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said, "utf-8")
    assert said == file.read_text("utf-8"), "just approve, and read git diff"


def test_every_approved_text_is_of_a_page() -> None:
    assert {file.stem for file in APPROVED.iterdir()} == PAGES.keys()


@pytest.mark.parametrize("name", ["identical", "chain", "sweep", "self-test"])
def test_a_page_prints_on_one_sheet(opened: Callable[..., Page], name: str) -> None:
    printed = opened(name).pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    [size] = {*re.findall(rb"/MediaBox \[0 0 (\d+)[\d.]* (\d+)", printed)}
    assert size == (b"594", b"841") or size == (b"595", b"841"), "A4"


def test_pictures_are_light_on_dark(opened: Callable[..., Page]) -> None:
    for scheme, ink in {"light": 29, "dark": 233}.items():
        shot = opened("identical", scheme=scheme).locator("img").screenshot()
        assert ink in np.asarray(Image.open(io.BytesIO(shot)).convert("L"))


def test_a_click_selects_all_of_what_is_shown_short_and_copies_it(opened: Callable[..., Page]) -> None:
    page = opened("identical")
    whole = {"code.sha256 >> nth=2": digest("a"), "data >> nth=0": repr(METRICS["accuracy"])}
    for place, value in whole.items():
        shown = page.locator(place)
        assert value in str(shown.get_attribute("title")) and shown.bounding_box()["width"] < 110  # type: ignore[index]
        shown.click()
        page.keyboard.press("Control+C")
        page.evaluate("document.querySelector('footer').innerHTML = '<textarea></textarea>'")
        page.locator("textarea").click()
        page.keyboard.press("Control+V")
        assert page.locator("textarea").input_value() == value


def test_a_page_is_read_without_its_style(opened: Callable[..., Page]) -> None:
    page = opened("different")
    page.evaluate("document.querySelector('style').remove()")
    text = page.inner_text("main")
    assert digest("a") in text and digest("b") in text and repr(METRICS["accuracy"]) in text and "differs" in text


def test_the_page_of_a_chain_shows_the_link_that_parts_and_what_was_not_tried(opened: Callable[..., Page]) -> None:
    page = opened("chain that parts")
    assert page.inner_text("h1") == "different"
    assert "the first link that parts: train" in page.inner_text("header")
    rows = {
        row.locator("th").inner_text(): row
        for row in page.locator("section", has_text="its replay").locator("tbody tr").all()
    }
    assert [row.locator("td").last.inner_text() for row in rows.values()] == ["identical", "different", "not tried"]
    assert [row.get_attribute("class") for row in rows.values()] == [None, "differs", None]
    assert all(digest in rows["train"].inner_html() for digest in ("b2" * 16, "d4" * 16, digest("d"), digest("e")))
    parted = page.locator("section", has_text="Stages: train")
    assert parted.locator("tr.differs th").first.inner_text() == "weights"
