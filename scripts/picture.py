"""Take the README's picture: the newest run of a rendered project in MLflow's UI.

    uv run --no-project --with playwright python scripts/picture.py demo docs/run.png

Needs Debian's chromium, and a project with a finished run.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

PORT = 5077
LATEST = "import mlflow; r = mlflow.search_runs(search_all_experiments=True, max_results=1).iloc[0]; "


def main(project: Path, picture: Path) -> None:
    """Start the project's UI, open its newest run, and save what a person sees."""
    ask = LATEST + "print(r.experiment_id, r.run_id)"
    uri = f"sqlite:///{project.resolve() / 'mlflow.db'}"
    answer = subprocess.run(
        [".venv/bin/python", "-c", f"import mlflow; mlflow.set_tracking_uri({uri!r}); {ask}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    experiment_id, run_id = answer.stdout.split()
    package = next(path.parent.name for path in project.glob("*/__main__.py"))
    command = [".venv/bin/python", "-m", package, "ui", "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1300, "height": 1340})
            wait_for(f"http://127.0.0.1:{PORT}/health")
            address = f"http://127.0.0.1:{PORT}/#/experiments/{experiment_id}/runs/{run_id}"
            page.goto(address, wait_until="domcontentloaded")
            page.wait_for_function("document.body.innerText.includes('Metrics (')", timeout=60_000)
            # Without the assistant's panel on the right.
            page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": 965, "height": 1060})
            browser.close()
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    """Ask until the server answers."""
    while True:
        try:
            urllib.request.urlopen(address, timeout=60).close()
            return
        except OSError:
            continue


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
