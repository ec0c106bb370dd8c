"""`just release`: a tag only where version, changelog, branch and tree agree."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import TEMPLATE

import release

CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- More.

[0.2.0]: ../../releases/tag/0.2.0
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that is ready to be released as 0.2.0, after 0.1.0."""
    root = tmp_path / "template"
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "t"\nversion = "0.2.0"\n')
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    (root / "copier.yml").write_text("_subdirectory: template\n")
    (root / "template").mkdir()
    (root / "template" / "justfile").write_text("default:\n")
    release.git(root, "init", "--quiet", "--initial-branch", "main")
    commit(root)
    release.git(root, "tag", "0.1.0")
    release.git(root, "tag", "not-a-version")
    return root


def nothing_red(root: Path) -> list[str]:
    return []


def commit(root: Path) -> None:
    release.git(root, "add", "--all")
    release.git(root, "commit", "--quiet", "--message", "Work")


def tags(root: Path) -> set[str]:
    return set(release.git(root, "tag", "--list").splitlines())


def test_a_release_is_an_annotated_tag_on_head_and_pushes_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["0.2.0"], repository, nothing_red) == 0
    assert release.git(repository, "rev-parse", "0.2.0^{commit}") == release.git(repository, "rev-parse", "HEAD")
    assert release.git(repository, "cat-file", "-t", "0.2.0") == "tag"
    assert "git push origin main 0.2.0" in capsys.readouterr().out


def test_a_dry_run_checks_and_changes_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["0.2.0", "--dry-run"], repository) == 0
    assert "can be released as 0.2.0" in capsys.readouterr().out
    (repository / "new.txt").touch()
    assert release.main(["0.2.0", "--dry-run"], repository) == 1
    assert tags(repository) == {"0.1.0", "not-a-version"}


def test_what_is_red_or_would_lose_something_is_not_released(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["0.2.0"], repository, lambda root: ["`just test-all` fails: see above."]) == 1
    assert "`just test-all` fails" in capsys.readouterr().err
    (repository / "copier.yml").write_text("_subdirectory: template\n_tasks: ['true']\n")
    commit(repository)
    assert release.main(["0.2.0"], repository, nothing_red) == 1
    assert "does not know _tasks" in capsys.readouterr().err
    assert tags(repository) == {"0.1.0", "not-a-version"}


def test_green_is_what_check_and_test_say(repository: Path) -> None:
    (repository / "justfile").write_text("check:\n    @true\n\ntest-all:\n    @false\n")
    assert release.find_red(repository) == ["`just test-all` fails: see above."]


def test_the_first_release_needs_no_earlier_tag(repository: Path) -> None:
    release.git(repository, "tag", "--delete", "0.1.0")
    assert release.main(["0.2.0"], repository, nothing_red) == 0


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("next", "'next' is not a version"),
        ("0.2.0; rm -rf .", "is not a version"),
        ("v0.2.0", "v0.2.0 is written 0.2.0"),
        ("0.2.0+local", "0.2.0+local is written 0.2.0"),
        ("0.1.0", "0.1.0 is not greater than 0.1.0"),
        ("0.0.9", "0.0.9 is not greater than 0.1.0"),
        ("0.3.0", 'pyproject.toml has version = "0.2.0"'),
    ],
)
def test_a_version_that_does_not_fit_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str], version: str, said: str
) -> None:
    assert release.main([version], repository, nothing_red) == 1
    assert said in capsys.readouterr().err
    assert tags(repository) == {"0.1.0", "not-a-version"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## [0.2.0] - 2026-12-01", "## [0.2.0]", "no entry"),
        ("## [0.2.0] - 2026-12-01", "## [0.2.0] - 2026-13-01", "no entry"),
        ("## [0.2.0] - 2026-12-01", "## [0.2x0] - 2026-12-01", "no entry"),
        ("[0.2.0]: ../../releases/tag/0.2.0\n", "", "no link"),
    ],
)
def test_a_changelog_that_says_nothing_of_the_version_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    assert old in CHANGELOG
    (repository / "CHANGELOG.md").write_text(CHANGELOG.replace(old, new))
    commit(repository)
    assert release.main(["0.2.0"], repository, nothing_red) == 1
    [problem] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  - ")]
    assert said in problem
    (repository / "CHANGELOG.md").unlink()
    commit(repository)
    assert release.main(["0.2.0"], repository, nothing_red) == 1


@pytest.mark.parametrize("where", ["branch", "detached", "dirty", "untracked"])
def test_only_a_clean_main_is_released(repository: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    match where:
        case "branch":
            release.git(repository, "switch", "--quiet", "--create", "feature")
        case "detached":
            release.git(repository, "switch", "--quiet", "--detach")
        case "dirty":
            (repository / "CHANGELOG.md").write_text(f"{CHANGELOG}\n")
        case "untracked":
            (repository / "new.txt").touch()
    assert release.main(["0.2.0"], repository, nothing_red) == 1
    said = {"branch": "this is feature", "detached": "this is a detached HEAD"}.get(where, "uncommitted work")
    assert said in capsys.readouterr().err
    assert tags(repository) == {"0.1.0", "not-a-version"}


def test_this_repository_has_a_changelog_entry_for_its_version() -> None:
    version = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert not [problem for problem in release.find_problems(version, TEMPLATE) if "CHANGELOG.md" in problem]
    text = (TEMPLATE / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[([\d.]+)\] - (\S+)$", text, re.MULTILINE)
    assert released == sorted(released, key=lambda entry: release.Version(entry[0]), reverse=True), "the newest first"


def test_without_a_repository_git_says_why(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="git"):
        release.find_problems("0.1.0", tmp_path)
