"""Tables that people have, learned from in each framework: texts, dates, gaps, three classes, four splits, folds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import FRAMEWORKS, Project, clone, importing
from tables_of_animals import KINDS, penguins
from test_randomness import recorded

Modules = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    """Modules of a new project, by their names."""
    with importing(tmp_path_factory.mktemp("tasks") / "tasked", "tasked"):
        yield lambda name: importlib.import_module(f"tasked.{name}")


def conf(
    split: str = "random",
    column: str | None = None,
    folds: int = 1,
    drop: tuple[str, ...] = (),
    fraction: float = 0.25,
    fold: int | None = None,
) -> Any:
    """Settings, as far as a table is concerned."""
    common = {"dataset": "d", "target": "species", "drop": drop, "test_fraction": fraction}
    return SimpleNamespace(**common, split=split, split_column=column, folds=folds, fold=fold)


# --- Splits -------------------------------------------------------------------
SPLITS = {"random": None, "stratified": None, "group": "nest_id", "time": "seen"}


@pytest.mark.parametrize("folds", [1, 4])
@pytest.mark.parametrize(("kind", "column"), SPLITS.items())
def test_rows_are_held_out_as_the_conf_says(kind: str, column: str | None, folds: int, own: Modules) -> None:
    table = penguins()
    found, again = (own("split").parts(table, conf(kind, column, folds), np.random.default_rng(1)) for _ in range(2))
    assert len(found) == folds
    np.testing.assert_equal(found, again)
    for number, part in enumerate(found, 1):
        alone = own("split").parts(table, conf(kind, column, folds, fold=number), np.random.default_rng(1))
        np.testing.assert_equal(alone, [part])
    for learned, held_out in found:
        assert not {*learned} & {*held_out} and min(len(learned), len(held_out)) > 40
        if kind != "time":
            assert len(learned) + len(held_out) == len(table)
        if kind == "stratified":
            shares = [table["species"].iloc[rows].value_counts(normalize=True) for rows in (learned, held_out)]
            assert (shares[0] - shares[1]).abs().max() < 0.02
        if kind == "group":
            assert not {*table["nest_id"].iloc[learned]} & {*table["nest_id"].iloc[held_out]}
        if kind == "time":
            assert table["seen"].iloc[learned].max() < table["seen"].iloc[held_out].min()
    held_out = np.concatenate([rows for _, rows in found])
    assert len({*held_out}) == len(held_out)
    assert folds == 1 or len(held_out) == (
        len(table) if kind != "time" else (table["seen"] >= first(found, table)).sum()
    )


def test_at_least_the_latest_row_is_held_out(own: Modules) -> None:
    table = penguins(10).assign(seen=range(10))
    [(learned, held_out)] = own("split").parts(table, conf("time", "seen", fraction=0.01), np.random.default_rng(1))
    assert (len(learned), list(held_out)) == (9, [9])


def first(parts: Any, table: pd.DataFrame) -> Any:
    """Give the first time that is held out."""
    return table["seen"].iloc[parts[0][1]].min()


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        (conf("group"), {}, "`split: group` goes by a column, and None is none"),
        (conf("time", "nowhere"), {}, "'nowhere' is none of the dataset's"),
        (conf("time", "island"), {}, "'island' does not say the time of every row"),
        (conf("group", "sex"), {}, "'sex' does not say the group of every row"),
        (conf("time", "seen", 4), {"seen": "2026-11-27"}, "'seen' has too few different times"),
        (conf("stratified"), {"species": ["rare", *["common"] * 399]}, "'rare' .* too few rows to be in every part: 1"),
        (conf(folds=3, fold=4), {}, "no fold 4 of 3"),
        (conf("stratified", folds=5), {"species": ["rare"] * 4 + ["common"] * 396}, "'rare' .* too few .*: 4"),
        (conf("group", "nest_id", 5), {"nest_id": [1, 2] * 200}, "cannot be split"),
    ],
)
def test_what_cannot_be_split_so_is_refused(settings: Any, change: Any, words: str, own: Modules) -> None:
    refusal = own("reproducibility.common.errors").ProjectError
    with pytest.raises(refusal) as caught:
        own("split").parts(penguins().assign(**change), settings, np.random.default_rng(1))
    assert pd.Series([caught.value.cause]).str.contains(words).all(), caught.value.cause


# --- What flatters a score ----------------------------------------------------
def warned(settings: Any, own: Modules, capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """Give the notices of a training on a table."""
    table = penguins().assign(**changes)
    part = own("split").parts(table, settings, np.random.default_rng(1))[0]
    own("checks").warn_of_imbalance(table[settings.target])
    own("checks").warn_of_leaks(table, part, settings)
    return capsys.readouterr().err


def test_what_flatters_a_score_is_told_by_name(own: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    said = warned(conf(), own, capsys)
    assert "time leak: by 'seen'" in said and "split: time, split_column: seen" in said
    assert "group in both parts" in said and "values of 'nest_id'" in said and said.count("notice: ") == 2
    assert "time leak" not in warned(conf("time", "seen"), own, capsys)
    assert "group in both" not in warned(conf("group", "nest_id"), own, capsys)
    texts = [f"customer {number % 90}" for number in range(400)]
    assert "'owner'" not in warned(conf(), own, capsys, owner=texts)
    assert "values of 'owner', such as 'customer 0'" in warned(conf(drop=("owner",)), own, capsys, owner=texts)
    rare = warned(conf(), own, capsys, species=["gone"] * 9 + ["here"] * 391)
    assert "'species' is imbalanced: 2.2% of the rows are 'gone'" in rare and "stratified" in rare


def test_a_class_that_nothing_is_learned_of_is_refused(own: Modules) -> None:
    refusal = own("reproducibility.common.errors").ProjectError
    y = pd.Series(["a", "a", "b", "b", "c"], name="species")
    own("checks").require_every_class(y, [(np.array([0, 2, 4]), np.array([1, 3]))])
    with pytest.raises(refusal, match="'c' of target 'species' is in none"):
        own("checks").require_every_class(y, [(np.array([0, 2]), np.array([1, 3, 4]))])
    with pytest.raises(refusal, match="one class alone"):
        own("checks").require_every_class(y[:2], [(np.array([0]), np.array([1]))])


# --- Each task, split and framework -------------------------------------------
OBJECTIVES = {
    "xgboost": ("model.objective=multi:softprob", "model.eval_metric=mlogloss"),
    "lightgbm": ("model.objective=multiclass", "model.metric=multi_logloss"),
}
SMALL = {"scikit-learn": "model.n_estimators=30", "xgboost": "model.rounds=30", "lightgbm": "model.rounds=30"}


def cases() -> Iterator[Any]:
    """Every task and framework once whole, and its other splits by themselves; one of them at once."""
    for framework in FRAMEWORKS:
        for task in ("classification", "regression"):
            for split in SPLITS:
                if (task, split) != ("regression", "stratified"):
                    at_once = (framework, task, split) == ("scikit-learn", "classification", "group")
                    yield pytest.param(framework, task, split, marks=() if at_once else pytest.mark.slow)


@pytest.mark.e2e
@pytest.mark.parametrize(("framework", "task", "split"), [*cases()])
def test_raw_rows_are_learned_from_verified_and_predicted(
    framework: str, task: str, split: str, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = clone(set_up(task, framework), tmp_path / "bikes")
    table, target = penguins(), {"classification": "species", "regression": "mass"}[task]
    table.to_csv(project.path / "data" / "penguins.csv", index=False)
    project.just("data-add", "data/penguins.csv")
    settings = ["dataset=penguins", f"target={target}", "drop=[nest_id, comment]", f"split={split}"]
    settings += [SMALL.get(framework, "model.epochs=60"), "folds=1" if split == "random" else "folds=3"]
    settings += [f"split_column={SPLITS[split]}"] * (SPLITS[split] is not None)
    settings += OBJECTIVES.get(framework, ()) if task == "classification" else ()
    done = project.just("verify", *(part for setting in settings for part in ("--set", setting)))
    assert "identical: every stage is equal to the last bit" in done.stdout
    run = project.runs()[-1]
    metrics = run.data.metrics
    assert metrics["accuracy"] > 0.85 if task == "classification" else metrics["r2"] > 0.6
    if split != "random":
        name = "accuracy" if task == "classification" else "r2"
        each = [metrics[f"{name}_fold_{number}"] for number in (1, 2, 3)]
        assert metrics[name] == pytest.approx(np.mean(each))
        assert metrics[f"{name}_std"] == pytest.approx(np.std(each, ddof=1))
        assert {"fold 1", "fold 2", "fold 3"} <= recorded(run)["stages"].keys()

    # New rows, as they come: a category that was not there, gaps in other columns, one that looks like a number.
    rows = table.drop(columns=[target, "nest_id", "comment"]).iloc[:50]
    rows = rows.assign(island="7", seen=rows["seen"].where(rows.index > 3), ringed=rows["ringed"].where(rows.index > 5))
    rows.to_csv(tmp_path / "new.csv", index=False)
    project.just("predict", run.info.run_id, str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.csv"))
    predicted = pd.read_csv(tmp_path / "out.csv")
    if task == "regression":
        assert list(predicted.columns) == [*rows.columns, "prediction"]
        assert np.corrcoef(predicted["prediction"], table["mass"][:50])[0, 1] > 0.6
    else:
        classes = sorted(KINDS)
        assert list(predicted.columns) == [*rows.columns, "prediction", *(f"probability {name}" for name in classes)]
        probabilities = predicted.iloc[:, -3:].to_numpy()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert [classes[number] for number in probabilities.argmax(axis=1)] == list(predicted["prediction"])
        assert (predicted["prediction"] == table["species"][:50]).mean() > 0.8
