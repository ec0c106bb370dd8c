"""`just pictures`: take the README's pictures, of a run of ./demo in MLflow's UI, and of its certificate."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
from demo import DEMO, ROOT

PORT = 5077
ASK = """
import mlflow
[run, *_] = mlflow.search_runs(search_all_experiments=True, filter_string="tags.`repro.verified_by` LIKE '%'",
                               output_format="list")
by = run.data.tags["repro.verified_by"]
print(run.info.experiment_id, run.info.run_id, mlflow.artifacts.download_artifacts(f"runs:/{by}/report.html"))
"""
#: What a system's builder calls its kernel is no part of a picture.
PLAIN = r"""
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replace(/(Linux [\d.]+)-\S+/, "$1");
"""


def main(folder: Path) -> None:
    """Save what a person sees of the run that was reproduced last."""
    python, uri = str(DEMO / ".venv/bin/python"), f"sqlite:///{DEMO / 'mlflow.db'}"
    program = f"import os; os.environ['MLFLOW_TRACKING_URI'] = {uri!r}\n{ASK}"
    asked = subprocess.run([python, "-c", program], cwd=DEMO, capture_output=True, text=True, check=True)
    experiment, run, report = asked.stdout.split()
    with browser.chromium() as chromium, served(python) as address:
        page = chromium.new_page(viewport={"width": 1800, "height": 900})
        page.goto(f"{address}/#/experiments/{experiment}/runs/{run}", wait_until="domcontentloaded")
        page.get_by_text("Metrics (").wait_for(timeout=120_000)
        page.get_by_text("Show more").first.click()
        # Without the menu on the left and the assistant's panel on the right.
        page.screenshot(path=folder / "run.png", clip={"x": 195, "y": 0, "width": 1145, "height": 640})
        page = chromium.new_page(viewport={"width": 1200, "height": 600})
        page.goto(Path(report).as_uri())
        page.evaluate(PLAIN)
        page.locator("main").screenshot(path=folder / "certificate.png")


@contextmanager
def served(python: str) -> Iterator[str]:
    """Start the UI of the demo, and give its address once it answers."""
    [package] = [path.parent.name for path in DEMO.glob("*/__main__.py")]
    command = [python, "-m", package, "ui", "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=DEMO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{PORT}/health")
        yield f"http://127.0.0.1:{PORT}"
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    """Ask until the server answers."""
    while True:
        try:
            urllib.request.urlopen(address, timeout=60).close()
            return
        except urllib.error.URLError:
            continue


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs")
