"""The task `images`: real trainings on the digits that are shipped, and by the README on a folder of one's own."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TEMPLATE, Project, clone, importing, refused
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from test_docs import blocks, bodies, run
from test_frameworks import STOP
from test_randomness import train
from test_run import local_path

import harness

digest = harness.load("common.digest")
archives = harness.load("datasets.archives")
folders = harness.load("datasets.folders")

DATA = TEMPLATE / "template/{{ '.' if task == 'images' }}/data"
SCRIPT = TEMPLATE / "scripts/digits.py"


# --- The data -----------------------------------------------------------------
def test_the_archive_is_what_its_script_makes_and_holds_every_digit(tmp_path: Path) -> None:
    archive = tmp_path / "digits.zip"
    subprocess.run([sys.executable, SCRIPT, archive], check=True)
    assert archive.read_bytes() == (DATA / "digits.zip").read_bytes()
    assert archive.stat().st_size < 1_000_000
    digits = load_digits()
    with zipfile.ZipFile(archive) as packed:
        assert len(packed.namelist()) == len(digits.target)
        for row, digit in enumerate(digits.target):
            with Image.open(io.BytesIO(packed.read(f"{digit}/{row:04}.png"))) as image:
                np.testing.assert_array_equal(np.asarray(image), digits.images[row] * 255 // 16)


def test_the_entry_is_that_of_the_archive_and_of_what_is_in_it(tmp_path: Path) -> None:
    entry = yaml.safe_load((DATA / "datasets.yaml").read_text("utf-8"))["digits"]
    assert entry["archive"]["digest"] == digest.of_file(DATA / "digits.zip")
    assert entry["digest"] == digest.of_file(DATA / "digits.files")
    archives.unpack(DATA / "digits.zip", tmp_path / "digits", "digits.zip")
    assert folders.parse((DATA / "digits.files").read_bytes()) == folders.scan(tmp_path / "digits")


# --- Pictures of every kind ---------------------------------------------------
GREY = np.linspace(0, 255, 240).reshape(12, 20).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY // 2], axis=2)


def pictures(folder: Path) -> Iterator[Path]:
    """Draw one picture in the modes and formats in which people have them."""
    coloured, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    images = {
        "colour": coloured,
        "grey": grey,
        "transparent": Image.fromarray(np.dstack([RGB, GREY])),
        "grey transparent": Image.fromarray(np.dstack([GREY, GREY])),
        "palette": coloured.quantize(256),
        "16 bit": Image.fromarray(GREY.astype(np.uint16) * 257),
    }
    for name, image in images.items():
        image.save(folder / f"{name}.png")
        yield folder / f"{name}.png"
    others = [Image.fromarray(np.roll(RGB, shift, axis=0)) for shift in (1, 2)]
    for name in ("animated.png", "animated.gif"):
        coloured.save(folder / name, save_all=True, append_images=others)
        yield folder / name
    for name in ("colour.gif", "colour.bmp", "colour.jpg", "large.png"):
        (coloured.resize((400, 240)) if name == "large.png" else coloured).save(folder / name)
        yield folder / name
    for name, image in {"grey.bmp": grey, "printed.jpg": coloured.convert("CMYK"), "grey.jpg": grey}.items():
        image.save(folder / name)
        yield folder / name


def broken(folder: Path) -> Iterator[Path]:
    """Break pictures in the ways in which people find them."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8))
    for end in ("png", "jpg", "bmp", "gif"):
        path = folder / f"truncated.{end}"
        noise.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        yield path
    damaged = folder / "damaged.png"
    noise.save(damaged)
    content = bytearray(damaged.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 255
    damaged.write_bytes(content)
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image")
    noise.save(folder / "other.png", "TIFF")
    noise.quantize(16).save(folder / "palette.bmp")
    yield from (damaged, *(folder / name for name in ("empty.png", "text.png", "other.png", "palette.bmp")))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """Modules of a new project, by their names."""
    with importing(tmp_path_factory.mktemp("own") / "imaged", "imaged", framework="pytorch", task="images"):
        yield lambda name: importlib.import_module(f"imaged.{name}")


def test_pictures_of_every_kind_are_accepted_and_broken_ones_are_named(own: Any, tmp_path: Path) -> None:
    images, refusal = own("images"), own("reproducibility").ProjectError
    images.require(map(str, pictures(tmp_path)))
    for path in broken(tmp_path):
        with pytest.raises(refusal, match=f"{path} is no image that can be read: ") as caught:
            images.require([str(path)])
        assert caught.value.fix.startswith("Take it out, or convert it (BMP, GIF, JPEG, PNG)")
    with pytest.raises(refusal, match=r"empty\.png is no .* Nor are 1 more\."):
        images.require([str(tmp_path / name) for name in ("empty.png", "grey.png", "text.png")])


def folder_of(folder: Path, **counts: int) -> Path:
    """Make a folder of so many images of each class."""
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(GREY).save(folder / label / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "fraction", "words"),
    [
        ({"cat": 8}, 0.25, "has no folders of images, one for each class"),
        ({"cat": 8, "dog": 0}, 0.25, "has no folders of images, one for each class"),
        ({"cat": 8, "dog": 8, "emu": 0}, 0.25, "emu has no image"),
        ({"cat": 1, "dog": 1}, 0.25, "No class has enough images to hold out 0.25 of them"),
        ({"cat": 8, "dog": 1}, 0.75, "All images of class 'dog' are held out"),
    ],
)
def test_a_class_with_too_few_images_is_refused(
    counts: dict[str, int], fraction: float, words: str, own: Any, tmp_path: Path
) -> None:
    images = own("images")
    folder = folder_of(tmp_path / "animals", **counts)
    with pytest.raises(own("reproducibility").ProjectError, match=words):
        images.split(images.find(folder), fraction, np.random.default_rng(1))


def test_of_a_class_with_a_single_image_that_is_learned_from(own: Any, tmp_path: Path) -> None:
    images = own("images")
    table = images.find(folder_of(tmp_path / "animals", cat=8, dog=1))
    learned, held_out = images.split(table, 0.25, np.random.default_rng(1))
    assert [*learned["label"]].count("dog") == 1 and [*held_out["label"]] == ["cat", "cat"]


def test_of_every_class_the_same_share_is_held_out(own: Any, tmp_path: Path) -> None:
    images = own("images")
    table = images.find(folder_of(tmp_path / "animals", cat=40, dog=8))
    learned, held_out = images.split(table, 0.25, np.random.default_rng(1))
    assert held_out["label"].value_counts().to_dict() == {"cat": 10, "dog": 2}
    assert sorted([*learned.index, *held_out.index]) == [*table.index]
    assert [*images.split(table, 0.25, np.random.default_rng(1))[1].index] == [*held_out.index]
    assert [*images.split(table, 0.25, np.random.default_rng(2))[1].index] != [*held_out.index]


# --- Trainings ----------------------------------------------------------------
NETWORKS = ["pytorch", pytest.param("tensorflow", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=NETWORKS)
def base(request: pytest.FixtureRequest, set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A project of images that can be stopped in the middle of a training, and a run of it that was not."""
    project = clone(set_up("images", request.param), tmp_path_factory.mktemp("images") / "bikes")
    module = project.path / "bikes" / "progress.py"
    module.write_text(module.read_text("utf-8").replace("    return bool(losses)", STOP), "utf-8")
    yield project, train(project)
    shutil.rmtree(project.path / "mlruns")


def predicted(project: Project, *command: str) -> pd.DataFrame:
    """Predict, and read what was written."""
    project.just("predict", "last", *command, "-o", "out.predictions.csv")
    return pd.read_csv(project.path / "out.predictions.csv", dtype={"file": str, "prediction": str})


@pytest.mark.e2e
def test_images_are_learned_shown_and_predicted(base: Any) -> None:
    project, first = base
    assert float.fromhex(first["metrics"]["accuracy"]) > 0.95
    plots = (local_path(first["run"].info.artifact_uri) / "plots").iterdir()
    assert {path.name for path in plots} == {"confusion_matrix.png", "mistakes.png", "curves.png"}
    table = predicted(project, "data/digits/3")
    assert [*table] == ["file", "prediction", *(f"probability {digit}" for digit in range(10))]
    assert len(table) == 183 and (table["prediction"] == "3").mean() > 0.9
    assert np.allclose(table.drop(columns=["file", "prediction"]).sum(axis=1), 1)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_listing_and_one_image_are_predicted_and_no_image_is_refused(base: Any, tmp_path: Path) -> None:
    project, _ = base
    listing = tmp_path / "listing.csv"
    shutil.copytree(project.path / "data/digits/4", tmp_path / "four")
    listing.write_text(f"who,file\nAda,four/0004.png\nBo,{project.path / 'data/digits/7/0007.png'}\n")
    table = predicted(project, str(listing))
    assert table[["who", "prediction"]].to_numpy().tolist() == [["Ada", "4"], ["Bo", "7"]]
    assert predicted(project, "data/digits/7/0007.png")["prediction"].tolist() == ["7"]
    (tmp_path / "no.png").write_text("no image")
    (tmp_path / "table.csv").write_text("who\nAda\n")
    for name, said in {"no.png": "no.png is no image", "table.csv": "lacks columns"}.items():
        assert said in refused(project.just("predict", "last", str(tmp_path / name), check=False))
    (tmp_path / "no.png").unlink()
    source = project.path / "bikes" / "images.py"
    source.write_text(source.read_text("utf-8") + "# changed\n", "utf-8")
    try:
        assert "needs bikes/images.py as in commit" in refused(
            project.just("predict", "last", "data/digits/7", check=False)
        )
    finally:
        project.git("checkout", "bikes/images.py")


@pytest.mark.e2e
@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bits(base: Any) -> None:
    project, first = base
    for workers in (0, 1, 4):
        again = train(project, f"model.workers={workers}")
        assert again["stages"] == first["stages"]
        assert again["result"] == first["result"]
    other = train(project, "images.rotation=0")
    assert other["stages"]["init"] == first["stages"]["init"]
    assert other["stages"]["step 1"] != first["stages"]["step 1"], "images are not changed at random"


@pytest.mark.e2e
@pytest.mark.slow
def test_a_training_on_images_verifies_and_reproduces(base: Any) -> None:
    project, first = base
    assert "identical: every stage is equal" in project.just("verify").stdout
    shutil.rmtree(project.path / "data/digits")
    done = project.just("reproduce", first["run"].info.run_id)
    assert "identical: every stage is equal" in done.stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_how_rows_of_tables_are_held_out_is_refused_by_name(base: Any) -> None:
    project, _ = base
    before = len(project.runs())
    for setting in ("split=group", "split=time", "split_column=seen", "folds=5"):
        message = refused(project.just("train", "--set", setting, check=False))
        key, value = setting.split("=")
        assert re.search(rf"does not fit settings\.py:\n  {key}: .* not permitted, found '?{value}'?\n", message)
        assert "\nfix: Correct the value or the spelling in the conf or in --set; settings.py says" in message
    assert len(project.runs()) == before


#: How whoever has several pictures of one thing keeps them together: here the neighbours of every ten.
BY_GROUP = """

def split(table: pd.DataFrame, fraction: float, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    groups = np.array([int(Path(name).stem) // 10 for name in table.index])
    drawn = rng.permutation(np.unique(groups))
    is_held_out = np.isin(groups, drawn[: round(len(drawn) * fraction)])
    return table[~is_held_out], table[is_held_out]
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_a_split_of_one_s_own_verifies_and_reproduces(base: Any, tmp_path: Path) -> None:
    project, first = base
    copy = clone(project, tmp_path / "bikes")
    with (copy.path / "bikes" / "images.py").open("a", encoding="utf-8") as module:
        module.write(BY_GROUP)
    grouped = train(copy)
    assert grouped["stages"]["split"] != first["stages"]["split"]
    assert float.fromhex(grouped["metrics"]["accuracy"]) > 0.9
    assert "identical: every stage is equal" in copy.just("verify").stdout
    assert "identical: every stage is equal" in copy.just("reproduce", grouped["run"].info.run_id).stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_a_resumed_training_on_images_gives_the_bits_of_one_that_was_not_interrupted(base: Any) -> None:
    project, first = base
    project.just("train", check=False, STOP_AT="5", STOP_BY="SIGKILL")
    stopped = project.runs()[0]
    assert stopped.info.status == "RUNNING"
    project.just("train", "--resume", stopped.info.run_id)
    resumed = project.runs()[0]
    assert resumed.data.tags["repro.resumes"] == stopped.info.run_id
    assert resumed.data.tags["repro.result"] == first["result"]


@pytest.mark.e2e
@pytest.mark.slow
def test_a_project_of_images_is_clean(base: Any) -> None:
    project, _ = base
    project.just("check")
    project.just("test")
    project.just("data-add", "data/digits.zip")
    assert project.git("status", "--porcelain", "data") == "", "the entry is that of data-add"


PIXELS = """
import json, sys

import numpy as np

from bikes import batches
from bikes.settings import ImageSettings

settings = ImageSettings(size=12, channels=3, rotation=0, shift=0, mirror=False)
files = json.loads(sys.argv[1])
FIRST = {"pytorch": "batches.Images(files, settings)[0, n][0].permute(1, 2, 0).numpy()",
         "tensorflow": "next(batches.Images(files, settings, 0).batches(np.array([n]), 1))[0][0]"}
print(json.dumps([eval(FIRST[sys.argv[2]]).tolist() for n in range(len(files))]))
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_pictures_of_every_kind_come_to_the_network_as_what_they_show(base: Any, tmp_path: Path) -> None:
    project, _ = base
    files = [*pictures(tmp_path)]
    framework = yaml.safe_load((project.path / ".copier-answers.yml").read_text("utf-8"))["framework"]
    arguments = ("-c", PIXELS, json.dumps([*map(str, files)]), framework)
    done = project.run(".venv/bin/python", *arguments, TF_CPP_MIN_LOG_LEVEL="3")
    for file, pixels in zip(files, json.loads(done.stdout.splitlines()[-1]), strict=True):
        is_grey = file.name.startswith(("grey", "16"))
        wanted = Image.fromarray(np.dstack([GREY] * 3) if is_grey else RGB).resize((12, 12))
        assert np.abs(np.array(pixels) - np.asarray(wanted)).mean() < 12, file.name


@pytest.mark.e2e
@pytest.mark.slow
def test_a_broken_image_is_refused_by_name_in_training_and_prediction(base: Any, tmp_path: Path) -> None:
    project, _ = base
    copy = clone(project, tmp_path / "bikes")
    [cut, *_] = broken(tmp_path)
    assert "truncated.png is no image that can be read: " in refused(
        project.just("predict", "last", str(cut), "-o", "no.csv", check=False)
    )
    shutil.copytree(project.path / "data/digits", tmp_path / "digits")
    shutil.copy(cut, tmp_path / "digits/3")
    copy.just("data-add", str(tmp_path / "digits"), "--name", "broken")
    message = refused(copy.just("train", "--set", "dataset=broken", check=False))
    assert "3/truncated.png is no image that can be read: " in message and "just data-add" in message
    [run] = copy.runs()
    assert run.info.status == "FAILED"


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("base", ["pytorch"], indirect=True)
def test_processes_that_train_together_share_the_look_for_broken_images(base: Any, tmp_path: Path) -> None:
    project, _ = base
    copy = clone(project, tmp_path / "bikes")
    shutil.copytree(project.path / "data/digits", tmp_path / "digits")
    [cut, *_] = broken(tmp_path)
    for whole, said in ({}, r"rank \d ended first"), ({"0/0.png": "0/0000.png"}, "rank 1 ended first"):
        for name in ("0/0.png", "0/00.png"):  # the first and the second of all
            shutil.copy(tmp_path / "digits" / whole[name] if name in whole else cut, tmp_path / "digits" / name)
        copy.just("data-add", str(tmp_path / "digits"), "--name", "broken")
        message = refused(copy.just("train", "--set", "dataset=broken", "--set", "processes=2", check=False))
        assert re.search(rf"{said}:\nerror: \S+\.png is no image that can be read: ", message), message
        assert "Nor are" not in message, "each has looked at its part alone"


@pytest.mark.e2e
@pytest.mark.slow
def test_what_only_tensorflow_cannot_read_is_named_too(base: Any, tmp_path: Path) -> None:
    project, _ = base
    path = tmp_path / "without_an_end.png"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[:-12])
    done = project.just("predict", "last", str(path), "-o", "no.csv", check=False)
    if (project.path / "bikes" / "parallel.py").exists():  # PyTorch's
        assert done.returncode == 0
    else:
        assert "without_an_end.png is no image that TensorFlow can read" in refused(done)


# --- A folder of one's own ----------------------------------------------------
def draw(folder: Path) -> None:
    """Make photographs of three sorts of flowers, of other sizes and places each."""
    rng = np.random.default_rng(0)
    for sort, colour in {"daisy": (240, 240, 230), "poppy": (220, 40, 30), "Veilchen ü": (110, 60, 200)}.items():
        (folder / sort).mkdir(parents=True)
        for number in range(40):
            size = rng.integers(40, 90, 2)
            image = Image.fromarray(rng.integers(0, 120, (*size, 3), np.uint8))
            at = rng.integers(5, 20, 2)
            ImageDraw.Draw(image).ellipse([*map(int, at), *map(int, at + 20)], fill=colour)
            image.save(folder / sort / f"{number}.jpg")
    (folder / "README.txt").write_text("Found in the garden.\n")


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("framework", NETWORKS)
def test_readme_guide_to_own_images(framework: str, set_up: Any, tmp_path: Path) -> None:
    """Follow the guide to the letter: its command, its conf lines, and nothing else."""
    project = clone(set_up("images", framework), tmp_path / "bikes")
    draw(tmp_path / "flowers")
    text = (project.path / "README.md").read_text("utf-8")
    [command] = [body for body, reason in blocks(text)[1].items() if reason == "needs a folder of yours"]
    [lines] = [body for body in bodies(text, "yaml") if body.startswith("dataset")]
    run(command, project.path)
    conf = project.path / "confs" / "train.yaml"
    edited = conf.read_text("utf-8").splitlines()
    for line in lines.splitlines():
        [at] = [number for number, old in enumerate(edited) if old.startswith(line.partition(":")[0] + ":")]
        edited[at] = line
    conf.write_text("\n".join(edited) + "\n", "utf-8")
    project.git("add", "--all")
    changes = project.git("diff", "--cached", "--numstat", "--", "bikes", "confs").splitlines()
    assert [change.split("\t") for change in changes] == [["5", "5", "confs/train.yaml"]]
    first = train(project)
    assert float.fromhex(first["metrics"]["accuracy"]) > 0.9
    assert {*predicted(project, os.path.relpath(tmp_path / "flowers/poppy", project.path))["prediction"]} >= {"poppy"}
    assert "identical" in project.just("reproduce", "last").stdout
    project.just("test")
