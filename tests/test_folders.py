"""Datasets that are folders, or files of any kind: listed, verified, kept, brought back and executed again."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from http.server import ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import Project, refused
from hypothesis import given
from hypothesis import strategies as st
from test_data import Quiet

import harness

folders = harness.load("datasets.folders")
tables = harness.load("datasets.tables")
loading = harness.load("datasets.loading")
ProjectError = harness.load("common.errors").ProjectError


# --- What a folder holds --------------------------------------------------------
@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with all that may be in one."""
    folder = tmp_path / "pictures"
    for path, content in {
        "cats/1.png": b"one",
        "cats/zwölf 猫.png": b"two",
        "dogs/a\nline": b"three",
        "dogs/Z": b"",
        ".hidden": b"four",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "empty/none").mkdir(parents=True)
    (folder / "linked.png").symlink_to("cats/1.png")
    (folder / "birds").symlink_to(folder / "dogs")
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("nobody's data")
    (folder / "cats/.DS_Store").write_text("nobody's data")
    return folder


def test_listing_has_every_file_with_the_digest_that_others_give_it(pictures: Path) -> None:
    assert {".git/HEAD", "cats/.DS_Store"} <= folders.scan(pictures).keys(), "a training would see them"
    shutil.rmtree(pictures / ".git")
    (pictures / "cats/.DS_Store").unlink()
    found = folders.scan(pictures)
    assert [*found] == [
        ".hidden",
        *("birds/Z", "birds/a\nline"),
        *("cats/1.png", "cats/zwölf 猫.png"),
        *("dogs/Z", "dogs/a\nline"),
        *("empty/none/", "linked.png"),
    ]
    for path, file in found.items():
        if file.digest:
            with (pictures / path).open("rb") as stream:
                told = subprocess.run(["sha256sum"], stdin=stream, capture_output=True, text=True, check=True).stdout
            assert file.digest == f"sha256:{told.split()[0]}"
            assert file.size == (pictures / path).stat().st_size
    assert folders.parse(folders.text(found)) == found


def test_listing_is_one_wherever_a_folder_lies_and_whoever_wrote_it_when(pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(pictures, other)  # links become what they lead to
    for path in other.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    assert folders.text(folders.scan(other)) == folders.text(folders.scan(pictures))


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
            lambda name: name not in (".", "..")
        ),
        st.binary(),
    )
)
def test_any_listing_is_read_as_it_was_written(contents: dict[str, bytes]) -> None:
    listing = {
        path: folders.File(harness.load("common.digest").of_bytes(content), len(content))
        for path, content in contents.items()
    }
    assert folders.parse(folders.text(listing)) == listing


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "in/../../out"])
def test_listing_that_leads_out_of_its_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="out of the folder"):
        folders.parse(folders.text({path: folders.File("sha256:00", 1)}))


def test_what_has_no_content_is_refused_by_name(pictures: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(ProjectError) as error:
            folders.scan(pictures)
        path.unlink()
        assert error.value.fix
        return str(error.value.cause)

    (pictures / "cats/circle").symlink_to(pictures)
    assert "circle leads in a circle" in said(pictures / "cats/circle")
    (pictures / "nowhere").symlink_to("gone")
    assert "nowhere cannot be read" in said(pictures / "nowhere")
    os.mkfifo(pictures / "pipe")
    assert "pipe is neither file nor folder" in said(pictures / "pipe")
    bad = Path(os.fsdecode(os.fsencode(pictures) + b"/\xff"))
    bad.touch()
    assert "no UTF-8" in said(bad)
    assert folders.scan(pictures)


def test_difference_names_files_of_each_kind() -> None:
    def listing(**digests: str) -> dict[str, object]:
        return {path: folders.File(digest, 1) for path, digest in digests.items()}

    many = {f"f{i}": "x" for i in range(9)}
    told = folders.differences(listing(a="1", b="2", c="3", **many), listing(a="1", b="3", d="4"))
    assert told.splitlines() == ["  added    d", "  changed  b", "  gone     c, f0, f1, f2, f3 and 5 more"]
    assert folders.differences(listing(a="1"), listing(a="1")) == ""


# --- Archives -------------------------------------------------------------------
archives = harness.load("datasets.archives")


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder by the programs of others."""
    if archive.suffix == ".zip":
        shutil.make_archive(str(archive.with_suffix("")), "zip", folder)
    else:
        subprocess.run(["tar", "--auto-compress", "--dereference", "-cf", archive, "-C", folder, "."], check=True)


@pytest.mark.parametrize("ending", [*archives.ENDINGS])
def test_archive_of_every_kind_holds_what_was_packed(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    (folder / "a/ü").mkdir(parents=True)
    (folder / "a/ü/1").write_bytes(b"one")
    (folder / "2").write_bytes(b"")
    assert archives.ending(f"x.y{ending.upper()}") == ending
    pack(folder, tmp_path / f"archive{ending}")
    archives.unpack(tmp_path / f"archive{ending}", tmp_path / "unpacked", "it")
    assert folders.scan(tmp_path / "unpacked") == folders.scan(folder)


def planted(archive: Path, name: str, link: str = "") -> None:
    """Make an archive with one entry of a name, perhaps a link."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o120777 if link else 0o100644) << 16
            packed.writestr(entry, link or "planted")
    else:
        with tarfile.open(archive, "w") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
            tar.addfile(member)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(("name", "link"), [("../out", ""), ("a/../../out", ""), ("link", "/etc/passwd")])
def test_archive_that_leads_elsewhere_is_refused(kind: str, name: str, link: str, tmp_path: Path) -> None:
    planted(tmp_path / f"bad.{kind}", name, link)
    with pytest.raises(ProjectError) as error:
        archives.unpack(tmp_path / f"bad.{kind}", tmp_path / "in/unpacked", "bad")
    assert "bad cannot be unpacked" in error.value.cause and "--packed" in error.value.fix
    assert not (tmp_path / "out").exists() and not (tmp_path / "in/out").exists()


def test_archive_that_is_broken_locked_or_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(archive: Path) -> str:
        with pytest.raises(ProjectError) as error:
            archives.unpack(archive, tmp_path / archive.stem, archive.name)
        return str(error.value.cause)

    (tmp_path / "no.tar").write_bytes(b"no archive")
    assert "no.tar cannot be unpacked" in said(tmp_path / "no.tar")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/file").write_bytes(os.urandom(10_000))
    pack(tmp_path / "packed", tmp_path / "cut.tar.gz")
    whole = (tmp_path / "cut.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:-2000])
    assert "cut.tar.gz cannot be unpacked" in said(tmp_path / "cut.tar.gz")
    pack(tmp_path / "packed", tmp_path / "large.zip")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 100))
    assert "it holds 10,000 bytes, and the disk has room for 100" in said(tmp_path / "large.zip")


# --- Tables of other kinds ------------------------------------------------------
TABLE = pd.DataFrame({"id": [2**53 + 1, 2, 3], "text": ["007", "2024-01-01", "ä"], "value": [0.1, 1e-300, None]})


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson.gz", "t.parquet", "t.feather", "t.csv", "t.tsv.xz"])
def test_table_of_every_format_has_the_same_values(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if name.startswith(("t.jsonl", "t.ndjson")):
        TABLE.to_json(file, orient="records", lines=True, double_precision=15)
    elif name.endswith(".parquet"):
        TABLE.to_parquet(file)
    elif name.endswith(".feather"):
        TABLE.to_feather(file)
    else:
        TABLE.to_csv(file, index=False, sep="\t" if ".tsv" in name else ",")
    found = loading.read(file)
    if tables.suffix(name) in tables.TEXTS:  # which says nothing of types
        assert found["id"].tolist() == TABLE["id"].tolist()
    else:
        pd.testing.assert_frame_equal(found, TABLE, check_exact=True)
    assert [*loading.read(file, columns=["value", "id"])] == ["value", "id"]
    with pytest.raises((ProjectError, KeyError)):
        loading.read(file, columns=["nothing"])


@pytest.mark.parametrize("content", ["[1, 2]\n", "", "{'a': 1}\n", '{"a": 1}\nnot json\n'])
def test_what_is_no_json_with_an_object_a_line_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(content)
    with pytest.raises(ProjectError) as error:
        loading.read(file)
    assert "cannot be read as a table" in error.value.cause


# --- In a project ---------------------------------------------------------------
def entry(project: Project, name: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((project.path / "data/datasets.yaml").read_text("utf-8"))[name]
    return found


def data_of(folder: Path) -> dict[str, object]:
    """What of a folder with all that may be in one is data."""
    return {path: file for path, file in folders.scan(folder).items() if ".git/" not in path and ".DS_" not in path}


READING = """
def train(settings, run):
    folder = run.path("pictures")
    rows = [[len(path.read_bytes()), i] for i, path in enumerate(sorted(folder.rglob("*"))) if path.is_file()]
    run.stage("rows", rows)
    return _train(settings, run)
"""


@pytest.fixture
def training(project: Project) -> Project:
    """A project whose training reads a folder, too."""
    train = project.path / "bikes/train.py"
    train.write_text(train.read_text("utf-8").replace("def train(", "def _train(") + READING, "utf-8")
    return project


QUICK = ("--set", "model.n_estimators=2")


@pytest.mark.e2e
def test_folder_is_registered_verified_restored_and_executed_again(training: Project, pictures: Path) -> None:
    project = training
    told = project.just("data-add", str(pictures), "--licence", "CC0").stdout
    assert "pictures: data/pictures, 8 files" in told and "run.path('pictures')" in told
    copy = project.path / "data/pictures"
    assert entry(project, "pictures")["files"] == 8 and not [path for path in copy.rglob("*") if path.is_symlink()]
    assert not (copy / ".git").exists() and not (copy / "cats/.DS_Store").exists()
    project.commit()
    project.just("train", *QUICK)
    [run] = project.runs()
    assert run.data.tags["repro.dirty"] == "false"
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["pictures", "breast_cancer"]

    (copy / "cats/1.png").write_bytes(b"another")
    (copy / "dogs/new").write_bytes(b"new")
    (copy / "dogs/Z").unlink()
    told = refused(project.just("train", *QUICK, check=False))
    assert "added    dogs/new" in told and "changed  cats/1.png" in told and "gone     dogs/Z" in told
    assert "gone     dogs/Z" in refused(project.just("data-check", check=False))
    assert "identical" in project.just("reproduce", run.info.run_id).stdout, "from the commit"
    assert (copy / "dogs/new").exists(), "nothing here was touched"
    project.just("data-check", "--restore")
    assert "2 datasets, all as registered" in project.just("data-check").stdout
    assert (project.path / "data/pictures.changed/dogs/new").read_bytes() == b"new"
    assert (project.path / "data/pictures.changed/cats/1.png").read_bytes() == b"another"
    shutil.rmtree(project.path / "data/pictures.changed")

    # git has no folders with nothing in them; a clone is as good.
    clone = Project(project.path.with_name("clone"))
    project.git("clone", "--quiet", str(project.path), str(clone.path))
    assert not (clone.path / "data/pictures/empty").exists()
    (clone.path / ".venv").symlink_to(project.path / ".venv")
    clone.just("train", *QUICK)
    assert clone.runs()[0].data.tags["repro.result"] == run.data.tags["repro.result"]


@pytest.mark.e2e
@pytest.mark.slow
def test_every_version_of_a_large_folder_is_kept_each_file_once(training: Project, pictures: Path) -> None:
    project = training
    copy = project.path / "data/pictures"
    project.just("data-add", str(pictures), "--limit", "1")
    project.commit()
    assert project.git("ls-files", "data/pictures") == "" and project.git("ls-files", "data/pictures.files")
    project.just("train", *QUICK)
    first = project.runs()[0]
    assert first.data.tags["repro.reproducible"] == "here"  # there is no remote
    (pictures / "cats/2.png").write_bytes(b"five")
    (pictures / "cats/1.png").unlink()
    (pictures / "linked.png").unlink()
    project.just("data-add", str(pictures), "--limit", "1")
    assert not (copy / "cats/1.png").exists() and (copy / "cats/2.png").exists()
    project.commit()
    kept = [run for run in project.runs() if "repro.stored_data" in run.data.tags]
    client = project.client()
    names = [[file.path for file in client.list_artifacts(run.info.run_id, "data")] for run in kept]
    assert [len(one) for one in names] == [3, 7], "the later one has its own file, its list, and who has the others"

    done = project.just("reproduce", first.info.run_id).stdout
    assert "identical" in done, "what is gone here comes from the store"
    shutil.rmtree(copy)
    (project.path / "data/pictures.files").unlink()
    project.just("data-check", "--restore")
    assert folders.scan(copy) == data_of(pictures)
    assert "all as registered" in project.just("data-check").stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_file_of_any_kind_and_parts_of_a_table_are_datasets(project: Project, tmp_path: Path) -> None:
    sound = tmp_path / "Sound 1.wav"
    sound.write_bytes(b"RIFF")
    told = project.just("data-add", str(sound)).stdout
    assert entry(project, "sound_1")["path"] == "data/sound_1.wav" and "run.path('sound_1')" in told
    whole = pd.read_csv(project.path / "data/breast_cancer.csv")
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, len(whole), 200)):
        whole[start : start + 200].to_parquet(tmp_path / f"parts/part-{number}.parquet")
    (tmp_path / "parts/_SUCCESS").touch()
    project.just("data-add", str(tmp_path / "parts"), "--name", "cancer")
    project.just("train", *QUICK)
    project.just("train", *QUICK, "--set", "dataset=cancer")
    parts, usual = project.runs()
    assert parts.data.tags["repro.result"] == usual.data.tags["repro.result"]
    told = refused(project.just("train", *QUICK, "--set", "dataset=sound_1", check=False))
    assert "run.path(" in told


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, retrieval = harness.load("datasets.manifest"), harness.load("datasets.retrieval")
    digest, copies = harness.load("common.digest"), harness.load("datasets.copies")
    monkeypatch.setattr(manifest, "ROOT", tmp_path / "p")
    monkeypatch.setattr(copies, "of_folder", lambda _: {})
    folder, elsewhere = tmp_path / "p/data/pictures", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir(parents=True)
        (path / "1").write_text("one")
    (folder / "more").symlink_to(elsewhere)
    listing = folders.text(folders.scan(folder))
    folder.with_name("pictures.files").write_bytes(listing)
    (elsewhere / "1").write_text("another")
    entry = manifest.Dataset("pictures", "data/pictures", digest.of_bytes(listing), 6, files=2)
    with pytest.raises(ProjectError, match="out of the folder"):
        retrieval.restore(entry)
    assert (elsewhere / "1").read_text() == "another" and [path.name for path in elsewhere.iterdir()] == ["1"]
    (folder / "more").unlink()
    with pytest.raises(ProjectError, match=r"pictures/more/1 were not found"):
        retrieval.obtain(entry, folder, [tmp_path / "nowhere"])
    assert (folder / "1").read_text() == "one" and not [*tmp_path.rglob("*.part")]


def test_a_folder_that_was_not_there_is_there_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, retrieval = harness.load("datasets.manifest"), harness.load("datasets.retrieval")
    monkeypatch.setattr(manifest, "ROOT", tmp_path / "p")
    monkeypatch.setattr(manifest, "data_root", lambda: None)
    source, target = tmp_path / "other/data/pictures", tmp_path / "p/data/pictures"
    (source / "none").mkdir(parents=True)
    (source / "1").write_text("one")
    listing = folders.text(folders.scan(source))
    folders.listing_of(source).write_bytes(listing)
    entry = manifest.Dataset("pictures", "data/pictures", harness.load("common.digest").of_bytes(listing), 3, files=1)
    drafts = []

    def fetch(origin: str, part: Path, _: bool) -> None:
        shutil.copyfile(origin, part)
        drafts.append(part.parent.stat().st_ino)

    monkeypatch.setattr(retrieval, "fetch", fetch)
    retrieval.obtain(entry, target, [tmp_path / "other"])
    assert folders.scan(target) == folders.scan(source)
    assert target.stat().st_ino == drafts[-1], "as one folder, which no other process has seen half full"


@pytest.mark.e2e
@pytest.mark.slow
def test_archive_is_kept_packed_and_trained_on_unpacked(training: Project, pictures: Path, tmp_path: Path) -> None:
    project = training
    pack(pictures, tmp_path / "pictures.tar.gz")
    told = project.just("data-add", str(tmp_path / "pictures.tar.gz"), "--source", "https://example.com").stdout
    assert "pictures: data/pictures, " in told
    project.commit()
    kept = project.git("ls-files", "data").split()
    assert "data/pictures.tar.gz" in kept and not [path for path in kept if path.startswith("data/pictures/")]
    project.just("train", *QUICK)
    [run] = project.runs()
    shutil.rmtree(project.path / "data/pictures")
    assert "identical" in project.just("reproduce", run.info.run_id).stdout
    project.just("train", *QUICK)
    assert folders.scan(project.path / "data/pictures") == data_of(pictures), "unpacked again"
    (project.path / "data/pictures.tar.gz").write_bytes(b"changed")
    (project.path / "data/pictures/.hidden").write_bytes(b"changed")
    assert "2 of 3 datasets" in refused(project.just("data-check", check=False))
    project.just("data-check", "--restore")
    assert "2 datasets, all as registered" in project.just("data-check").stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_folder_of_elsewhere_is_fetched_and_fetched_again(training: Project, pictures: Path) -> None:
    project = training
    for path in (".git", "empty", "dogs"):
        shutil.rmtree(pictures / path)
    for path in (".hidden", "birds", "cats/.DS_Store"):
        (pictures / path).unlink()
    handler = functools.partial(Quiet, directory=str(pictures.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/pictures/"
        told = project.just("data-add", address).stdout
        assert "pictures: data/pictures, 3 files" in told
        copy = project.path / "data/pictures"
        project.just("train", *QUICK)
        run = project.runs()[0]
        client = project.client()
        client.log_artifacts(run.info.run_id, str(copy), "made")
        project.just("data-add", f"runs:/{run.info.run_id}/made", "--name", "again")
        assert entry(project, "again")["digest"] == entry(project, "pictures")["digest"]
        (copy / "cats/zwölf 猫.png").unlink()
        shutil.rmtree(project.path / "data/again")
        project.just("data-check", "--restore")
        assert folders.scan(copy) == folders.scan(project.path / "data/again") == folders.scan(pictures)
        server.shutdown()
