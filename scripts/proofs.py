"""`just proofs`: write the site's table of self-tests from docs/proofs/*.json; with `--check` only compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import marked

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "proven.md"
BEGIN, END = "<!-- of docs/proofs, by `just proofs` -->\n", "<!-- to here -->\n"
HEAD = (
    "| framework | on | versions | date | repeats | resumed | GPU and CPU | of the switches matter | "
    "refused by name | differ unnoticed |",
    f"|{'---|' * 10}",
)
#: The package that each framework is.
PACKAGES = {"PyTorch": "torch", "TensorFlow": "tensorflow", "XGBoost": "xgboost", "LightGBM": "lightgbm"}


def table(root: Path) -> str:
    """Write a row for each machine that was tried.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    str
        Markdown.
    """
    proofs = [json.loads(path.read_text("utf-8")) for path in sorted((root / "docs" / "proofs").glob("*.json"))]
    proofs.sort(
        key=lambda proof: (
            proof["device"] == "cpu",
            list(PACKAGES).index(proof["framework"]) if proof["framework"] in PACKAGES else len(PACKAGES),
        )
    )
    return "\n".join([*HEAD, *map(_row, proofs)]) + "\n"


def _row(proof: dict[str, Any]) -> str:
    machine = proof["machine"]
    name = PACKAGES.get(proof["framework"], "scikit-learn")
    on = "; ".join(machine["gpu"]) if proof["device"] == "cuda" else f"{machine['cpu']}, {machine['cores']} cores"
    devices = proof["devices"]
    matter = [
        name.removeprefix("the ")
        for name, outcome in proof["switches"].items()
        if outcome.startswith(("matters", "refuses")) and "seed" not in name and not name.startswith("all ")
    ]
    outcomes = proof["operations"]
    refused = sum(outcome.startswith("refused") for outcome in outcomes.values())
    cells = (
        proof["framework"].replace("ScikitLearn", "scikit-learn"),
        on,
        f"{machine['packages'][name]}, {machine['python'].replace('CPython', 'Python')}",
        proof["date"],
        _said(*proof["trainings"]),
        _said(proof["resumed"]),
        {True: "equivalent", False: "others"}[devices["equivalent"]] if devices else "",
        ", ".join(matter),
        f"{refused} of {len(outcomes)}" if outcomes else "",
        "; ".join(name for name, outcome in outcomes.items() if outcome == "differs"),
    )
    return f"| {' | '.join(cells)} |"


def _said(*trainings: dict[str, Any]) -> str:
    """Say whether trainings that were tried more than once are equal."""
    tried = [training["equal"] for training in trainings if training["times"] > 1]
    return {True: "equal bits", False: "DIFFERS"}[all(tried)] if tried else "not tried"


def main() -> None:
    """Write the table, or say that it is not what the files say."""
    page = PAGE.read_text("utf-8")
    wanted = marked.fill(page, BEGIN, END, table(ROOT))
    if "--check" in sys.argv and wanted != page:
        sys.exit(f"error: {PAGE.relative_to(ROOT)} is not what docs/proofs says.\nfix: just proofs")
    PAGE.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
