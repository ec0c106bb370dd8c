"""Batch predictions: what the harness makes of a file and of a model's answers, without a project."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from harness import load

predict = load("serving.predict")
refusal = load("common.errors").ProjectError


def test_a_classifier_is_asked_for_probabilities_in_the_form_that_it_takes() -> None:
    model = SimpleNamespace(classes_=["no", "yes"], predict_proba=lambda rows: [[0.25, 0.75]] * len(rows.split()))
    wrapper = SimpleNamespace(rows=" ".join, get_raw_model=lambda: model)
    loaded = SimpleNamespace(_model_impl=wrapper)
    found = predict._probabilities(loaded, ["a", "b", "c"])
    assert {name: list(column) for name, column in found.items()} == {
        "probability no": [0.25] * 3,
        "probability yes": [0.75] * 3,
    }
    model.classes_ = [["no", "yes"], ["red", "green"], ["up", "down"]]  # of three targets
    assert predict._probabilities(loaded, ["a", "b", "c"]) == {}
    del model.predict_proba
    assert predict._probabilities(loaded, ["a"]) == {}
    assert predict._probabilities(SimpleNamespace(_model_impl=object()), ["a"]) == {}


def test_predictions_that_are_not_one_a_row_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame({"a": ["red", "blue"], "b": ["car", "hat"]})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(refusal, match=r"takes one value a row, and rows\.csv has 2 columns"):
        predict._single(rows, "rows.csv")
    assert predict._single(rows[["a"]], "rows.csv").tolist() == ["red", "blue"]
    described = SimpleNamespace(metadata=None, get_input_schema=lambda: None)
    model = SimpleNamespace(predict=lambda rows: [0.5], metadata=described)
    given = {"_download": str, "_load": lambda *_: model, "_inputs": lambda rows, *_: rows}
    for name, stand_in in given.items():
        monkeypatch.setattr(predict, name, stand_in)
    with pytest.raises(refusal, match=r"gave 1 predictions for the 2 rows of rows\.csv"):
        predict.predict("last", tmp_path / "rows.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
