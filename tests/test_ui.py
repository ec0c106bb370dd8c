"""What a person sees of a project's runs in MLflow's UI: a real server over a real store, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import Project, clone
from playwright.sync_api import Browser, BrowserContext, Frame, Page
from test_interrupts import started, wait_for
from test_reproduce import record, tags, train
from test_run import free_port, listens

pytestmark = pytest.mark.e2e


@dataclass
class Ui:
    """MLflow's UI over a project with a run that was reproduced and promoted.

    Its console says things of its own: what counts is what our page in a frame of it says.
    """

    project: Project
    address: str
    run_id: str
    context: BrowserContext
    said: list[str] = field(default_factory=list)

    def open(self, path: str, text: str) -> Page:
        """Open a page, and wait for a text that it shows last."""
        page = self.context.new_page()
        page.goto(f"{self.address}/#{path}", wait_until="domcontentloaded")
        page.get_by_text(text).first.wait_for(timeout=120_000)
        return page

    @property
    def experiment(self) -> str:
        return f"/experiments/{self.project.client().get_run(self.run_id).info.experiment_id}"


@pytest.fixture(scope="module")
def ui(set_up: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Ui]:
    project = clone(set_up("classification"), tmp_path_factory.mktemp("ui") / "bikes")
    run_id = train(project)
    project.just("reproduce", run_id)
    project.just("promote", run_id)
    port = free_port()
    with (
        started(project, "just", "ui", "--port", str(port)) as process,
        chromium.new_context(viewport={"width": 1500, "height": 1200}, color_scheme="dark") as context,
    ):
        wait_for(lambda: process.poll() is not None or listens("127.0.0.1", port), "the UI answers")
        made = Ui(project, f"http://127.0.0.1:{port}", run_id, context)
        context.on("console", lambda message: made.said.append(f"{message.location['url']} {message.text}"))
        yield made


def certificate(page: Page) -> Frame:
    """The page of a verdict, in the frame in which the view of artifacts shows it."""
    page.frame_locator("iframe").get_by_role("heading", name="identical").wait_for(timeout=120_000)
    [frame] = [frame for frame in page.frames if frame.url.startswith("blob:")]
    return frame


def test_the_description_of_a_run_leads_to_its_certificate(ui: Ui) -> None:
    page = ui.open(f"{ui.experiment}/runs/{ui.run_id}", "Verdict:")
    shown = page.inner_text("body")
    assert "Verdict: identical" in shown and "every stage is equal to the last bit" in shown
    assert f"Commit: {record(ui.project, ui.run_id)['code']['commit'][:10]}" in shown and "<!--" not in shown
    page.get_by_text("Show more").first.click()
    page.get_by_text(f"just reproduce {ui.run_id}").wait_for()

    with ui.context.expect_page() as opening:
        page.get_by_role("link", name="report.html").click()
    frame = certificate(opening.value)
    assert opening.value.url.endswith(f"/runs/{tags(ui.project, ui.run_id)['repro.verified_by']}/artifacts/report.html")
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert frame.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 24, 27)", "dark, as was asked"
    digest = record(ui.project, ui.run_id)["stages"]["weights"]
    frame.locator(f"code[title='{digest}']").first.click()
    opening.value.keyboard.press("Control+C")
    paper = ui.context.new_page()
    paper.set_content("<textarea></textarea>")
    paper.locator("textarea").click()
    paper.keyboard.press("Control+V")
    assert paper.locator("textarea").input_value() == digest
    assert [line for line in ui.said if line.startswith(("blob:", "about:"))] == []


@pytest.mark.slow
def test_the_list_of_runs_has_a_view_with_verdict_result_and_commit(ui: Ui) -> None:
    page = ui.open(f"{ui.experiment}/runs", f"reproduces {ui.run_id[:8]}")
    page.get_by_role("button", name="Views").click()
    page.get_by_text("Proofs").click()
    page.get_by_text("repro.verdict").wait_for()
    shown: list[Any] = [page.get_by_text(f"repro.{name}").bounding_box() for name in ("verdict", "result", "commit")]
    assert sorted(shown, key=lambda box: box["x"]) == shown
    assert page.get_by_text("identical", exact=True).count() == 2, "the run, and its replay"


@pytest.mark.slow
def test_the_registry_shows_the_champion_and_leads_to_its_run(ui: Ui) -> None:
    ui.open("/models", "bikes").get_by_text("champion").first.wait_for()
    page = ui.open("/models/bikes/versions/1", "Version 1")
    page.get_by_role("link", name=ui.project.client().get_run(ui.run_id).info.run_name).first.click()
    page.get_by_text("Verdict:").first.wait_for()
