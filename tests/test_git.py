"""Git as people have it: captured, and restored to the same files, whatever is configured, nested or filtered."""

from __future__ import annotations

import importlib
import json
import os
import py_compile
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import importing

import harness

pytestmark = pytest.mark.e2e

capture = harness.load("source.capture").capture
settle = harness.load("source.used_files").settle
checkout = harness.load("source.checkout")
filters = harness.load("source.filters")
git = harness.load("source.git")
ProjectError = harness.load("common.errors").ProjectError


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """Run git in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def commit(folder: Path, **files: str | bytes) -> str:
    """Write files, with `__` for a dot, and commit everything."""
    write(folder, **files)
    run(folder, "init", "--quiet")
    run(folder, "add", "--all")
    run(folder, "commit", "--quiet", "--allow-empty", "--message", "Files")
    return run(folder, "rev-parse", "HEAD")


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        file = folder / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def files(folder: Path) -> dict[str, tuple[str, bytes]]:
    """What lies in a folder: of each file its kind and content. Git's own files are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ".git" in path.relative_to(folder).parts:
            continue
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()).encode())
        elif path.is_file():
            executable = path.stat().st_mode & 0o100
            found[name] = ("executable" if executable else "file", path.read_bytes())
    return found


def record(code: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the record holds of a capture: its content and the patches by their digests."""
    digest = harness.load("common.digest")
    written = json.dumps(code.content(), ensure_ascii=False).encode("utf-8", "backslashreplace")  # as `finish` does
    return json.loads(written), {digest.of_bytes(patch): patch for patch in code.patches().values()}


def restored(code: Any, folder: Path, here: Path) -> Path:
    """Restore a capture from what is recorded of it."""
    project = checkout.restore(*record(code), folder, here)
    assert isinstance(project, Path)
    return project


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """A repository with every kind of uncommitted work."""
    root = tmp_path / "nasty"
    lines = "".join(f"line {number}\n" for number in range(40))
    commit(root, kept__txt=lines, gone__txt="gone\n", moved__txt=lines[::-1], picture__bin=bytes(range(256)) * 4)
    commit(
        root, windows__csv=b"a,b\r\n1,2\r\n", trailing__txt="space  \n\n\n", becomes_link="x\n", becomes_folder="y\n"
    )
    write(root, kept__txt=lines.replace("line 20", "staged"))
    run(root, "add", "kept.txt")
    write(root, kept__txt=lines.replace("line 20", "staged").replace("line 3\n", "not staged \n"))
    (root / "gone.txt").unlink()
    run(root, "mv", "moved.txt", "new name.txt")
    write(
        root, picture__bin=bytes(reversed(range(256))) * 4, windows__csv=b"a,b\r\n1,3\r\n", trailing__txt="space \t\n\n"
    )
    write(root, **{"no newline": "x", "ünïcödé ☃": "snow\n", "-dash": "d\n", "#hash": "h\n", "with\nnewline": "n\n"})
    write(root, **{"Case": "a", "case": "b", ":(top)magic": "m", "tab\there": "t", 'quo"te': "q", "deep/er/file": "f"})
    write(root, **{os.fsdecode(b"latin-1 \xe9.csv"): b"\xe9\n", os.fsdecode(b"in \xe9/code.py"): "L = 1\n"})
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("kept.txt")
    (root / "dangling").symlink_to("nowhere")
    (root / "becomes_link").unlink()
    (root / "becomes_link").symlink_to("kept.txt")
    (root / "becomes_folder").unlink()
    write(root, **{"becomes_folder/file": "now in a folder\n", "planned": "p\n"})
    run(root, "add", "--intent-to-add", "planned")
    return root


def test_every_kind_of_work_comes_back(nasty: Path, tmp_path: Path) -> None:
    status, index = run(nasty, "status", "--porcelain=v2"), (nasty / ".git/index").read_bytes()
    code = capture(nasty)
    assert code.dirty == "true" and not code.left_out and not code.converted
    assert files(restored(code, tmp_path / "out", nasty)) == files(nasty)
    assert (nasty / ".git/index").read_bytes() == index and run(nasty, "status", "--porcelain=v2") == status


def hostile(**settings: str) -> dict[str, str]:
    """The environment that sets git's settings, `__` for a dot, as CI jobs do."""
    names = {f"GIT_CONFIG_KEY_{number}": name.replace("__", ".") for number, name in enumerate(settings)}
    values = {f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(settings.values())}
    return {"GIT_CONFIG_COUNT": str(len(settings)), **names, **values}


def settings_of_git() -> list[str]:
    """Every setting that git knows, with a name for each placeholder."""
    listed = run(Path.cwd(), "help", "--config").splitlines()
    names = [re.sub(r"<[^>]*>|\*", "x", name) for name in listed if "." in name and " " not in name]
    assert len(names) > 400
    return names


def published(root: Path, name: str) -> Path:
    """Push a repository to a new bare one beside it, from which the tests clone."""
    bare = root.parent / f"{name}.git"
    run(root.parent, "clone", "--quiet", "--bare", str(root), str(bare))
    run(bare, "config", "uploadpack.allowFilter", "true")
    run(root, "remote", "add", "origin", f"file://{bare}")
    run(root, "fetch", "--quiet", "origin")
    return bare


ALLOW = ("-c", "protocol.file.allow=always")


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A published project with a submodule in a submodule, all of them published."""
    for name, inner in (("leaf", ""), ("lib", "leaf"), ("project", "lib")):
        root = tmp_path / name
        commit(root, **{f"{name}.py": f"{name.upper()} = 1\n"})
        if inner:
            run(root, *ALLOW, "submodule", "--quiet", "add", f"file://{tmp_path / inner}.git", f"inner/{inner}")
            commit(root)
        published(root, name)
    run(root, *ALLOW, "submodule", "--quiet", "update", "--init", "--recursive")
    return root


def test_submodules_come_back_at_their_commits(nested: Path, tmp_path: Path) -> None:
    code = capture(nested)
    assert (code.dirty, code.reproducible) == ("false", "anywhere")
    assert [inner.path for inner in code.repositories] == ["inner/lib", "inner/lib/inner/leaf"]
    assert files(restored(code, tmp_path / "from here", nested)) == files(nested)
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    assert files(restored(code, tmp_path / "from the remotes", nowhere)) == files(nested)


@pytest.mark.parametrize("hidden", ["", "all", "dirty"], ids=lambda value: value or "shown")
def test_work_in_submodules_comes_back(nested: Path, tmp_path: Path, hidden: str) -> None:
    lib, leaf = nested / "inner/lib", nested / "inner/lib/inner/leaf"
    write(lib, lib__py="LIB = 2\n", own__py="OWN = 1\n")
    run(lib, "add", "lib.py")
    write(leaf, leaf__py="LEAF = 2\n")
    if hidden:
        run(nested, "config", "submodule.inner/lib.ignore", hidden)
    code = capture(nested)
    assert (code.dirty, code.reproducible) == ("true", "anywhere")
    assert files(restored(code, tmp_path / "out", nested)) == files(nested)
    assert code.patches().keys() == {"uncommitted-1.patch", "uncommitted-2.patch"}


def test_a_commit_of_a_submodule_that_no_remote_has_is_only_here(nested: Path, tmp_path: Path) -> None:
    lib = nested / "inner/lib"
    own = commit(lib, lib__py="LIB = 3\n")
    code = capture(nested)
    assert (code.dirty, code.reproducible) == ("true", "here")
    assert any("inner/lib" in reason and own[:10] in reason for reason in code.all_only_here)
    assert files(restored(code, tmp_path / "out", nested)) == files(nested)
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    with pytest.raises(ProjectError, match=own) as caught:
        restored(code, tmp_path / "other", nowhere)
    assert caught.value.exit_code == 2 and "git push" in caught.value.fix
    # The folder may go: git keeps the submodule's objects in the project's own.
    run(nested, "submodule", "--quiet", "deinit", "--force", "inner/lib")
    again = restored(code, tmp_path / "again", nested)
    assert (again / "inner/lib/lib.py").read_text() == "LIB = 3\n"


@pytest.mark.parametrize("ignored", [False, True])
def test_a_clone_in_the_project_comes_back(tmp_path: Path, ignored: bool) -> None:
    project, clone = tmp_path / "project", tmp_path / "project/vendor/tool"
    commit(project, code__py="import vendor.tool\n", **{".gitignore": "vendor/\n" if ignored else ""})
    published(project, "project")
    commit(clone, tool__py="TOOL = 1\n")
    run(clone, "clone", "--quiet", "--bare", str(clone), str(tmp_path / "tool.git"))
    run(clone, "remote", "add", "origin", str(tmp_path / "tool.git"))
    run(clone, "fetch", "--quiet", "origin")
    write(clone, tool__py="TOOL = 2\n")
    code = capture(project)
    imported = {clone / "tool.py": b"TOOL = 2\n", project / "code.py": b"import vendor.tool\n"}
    assert settle(code, imported).keys() == {"vendor/tool/tool.py", "code.py"}
    assert (code.left_out, code.reproducible) == ([], "anywhere")
    assert files(restored(code, tmp_path / "out", project)) == files(project)
    run(clone, "remote", "remove", "origin")
    code = capture(project)
    settle(code, imported)
    assert code.reproducible == "here" and "vendor/tool" in "".join(code.all_only_here)


def test_a_clone_without_a_commit_is_named(tmp_path: Path) -> None:
    project = tmp_path / "project"
    commit(project, code__py="")
    published(project, "project")
    run(project / "new", "init", "--quiet")
    write(project, **{"new/x.py": "X = 1\n"})
    code = capture(project)
    assert code.reproducible == "here" and "new: a repository without a commit" in code.all_only_here
    settle(code, {project / "new/x.py": b"X = 1\n"})
    assert [entry["path"] for entry in code.left_out] == ["new/x.py"]


def test_only_what_a_remote_has_is_reproducible_anywhere(tmp_path: Path) -> None:
    project = tmp_path / "project"
    commit(project, code__py="A = 1\n")
    assert capture(project).reproducible == "here"
    published(project, "project")
    assert capture(project).reproducible == "anywhere"
    write(project, code__py="A = 2\n")
    assert capture(project).reproducible == "anywhere"  # the record has the rest
    commit(project)
    assert capture(project).reproducible == "here"
    run(project, "push", "--quiet", "origin", "HEAD:refs/heads/other")
    assert capture(project).reproducible == "anywhere"


#: What people, CI jobs and hooks set, and what would change a capture or a checkout if it were heeded.
SETTINGS: dict[str, dict[str, str]] = {
    "line ends": {"core__autocrlf": "true", "core__eol": "crlf", "core__safecrlf": "true"},
    "status": {"status__showUntrackedFiles": "no", "diff__ignoreSubmodules": "all", "status__relativePaths": "false"},
    "diffs": {
        "diff__noprefix": "true",
        "diff__mnemonicPrefix": "true",
        "diff__external": "false",
        "diff__context": "0",
    },
    "whitespace": {"apply__whitespace": "fix", "apply__ignoreWhitespace": "change", "core__whitespace": "tabwidth=1"},
    "words": {"color__ui": "always", "column__ui": "always", "core__quotePath": "true", "diff__relative": "true"},
    "disk": {"core__fileMode": "false", "core__symlinks": "false", "core__ignoreCase": "true"},
    "index": {
        "core__splitIndex": "true",
        "core__ignoreStat": "true",
        "index__version": "4",
        "core__untrackedCache": "true",
    },
    "objects": {"core__bigFileThreshold": "1", "core__compression": "0", "pack__packSizeLimit": "1"},
    "sparse": {"core__sparseCheckout": "true", "core__sparseCheckoutCone": "true", "index__sparse": "true"},
    "new repositories": {
        "init__defaultBranch": "a b",
        "init__templateDir": "/nowhere",
        "core__logAllRefUpdates": "false",
    },
    "submodules": {"submodule__recurse": "true", "fetch__recurseSubmodules": "true", "submodule__active": ""},
    "safety": {"protocol__allow": "never", "transfer__fsckObjects": "true", "safe__bareRepository": "explicit"},
    "signatures": {"commit__gpgSign": "true", "log__showSignature": "true", "user__signingKey": "none"},
}
VARIABLES = {
    "GIT_DIFF_OPTS": "--unified=0",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ICASE_PATHSPECS": "1",
    "GIT_DEFAULT_HASH": "sha256",
    "GIT_TEMPLATE_DIR": "/nowhere",
    "GIT_DIR": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere",
    "GIT_OBJECT_DIRECTORY": "/nowhere",
    "GIT_CONFIG_PARAMETERS": "'core.autocrlf'='true' 'status.showuntrackedfiles'='no'",
    "GIT_CONFIG": "/nowhere",
}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("what", SETTINGS)
def test_no_setting_changes_what_comes_back(
    nasty: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, hostile(**SETTINGS[what]))
    code = capture(nasty)
    assert not code.left_out
    assert files(restored(code, tmp_path / "out", nasty)) == files(nasty)


def test_no_variable_changes_what_comes_back(nasty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, VARIABLES)
    assert files(restored(capture(nasty), tmp_path / "out", nasty)) == files(nasty)


def test_hooks_of_a_person_are_not_run(nasty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "hooks"
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        write(hooks, **{name: f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
        (hooks / name).chmod(0o755)
    set_all(monkeypatch, hostile(core__hooksPath=str(hooks)))
    restored(capture(nasty), tmp_path / "out", nasty)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("value", ["true", "0", "x"])
def test_no_setting_that_git_lists_changes_what_comes_back(
    nasty: Path, tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each for itself. A value that git refuses ends in git's message, and not in another tree."""
    expected, refused = files(nasty), dict[str, str]()
    for number, name in enumerate(settings_of_git()):
        with monkeypatch.context() as context:
            set_all(context, hostile(**{name: value}))
            try:
                code = capture(nasty)
                if not code.refused:
                    assert files(restored(code, tmp_path / str(number), nasty)) == expected, name
            except ProjectError as error:
                refused[name] = error.cause
            else:
                refused |= {name: code.refused} if code.refused else {}
    assert all("fatal: " in said or "error: " in said for said in refused.values()), refused
    assert len(refused) < len(settings_of_git()) / 2


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_not_to_look_at_comes_back(tmp_path: Path, flag: str) -> None:
    commit(tmp_path / "p", code__py="A = 1\n")
    run(tmp_path / "p", "update-index", flag, "code.py")
    write(tmp_path / "p", code__py="A = 2\n")
    assert run(tmp_path / "p", "status", "--porcelain") == ""
    code = capture(tmp_path / "p")
    assert code.dirty == "true"
    assert files(restored(code, tmp_path / "out", tmp_path / "p")) == files(tmp_path / "p")


def test_a_sparse_checkout_is_clean(tmp_path: Path) -> None:
    root = tmp_path / "p"
    commit(root, **{"in/code.py": "A = 1\n", "out/other.py": "B = 1\n"})
    run(root, "sparse-checkout", "set", "--sparse-index", "in")
    assert not (root / "out").exists()
    write(root, **{"in/code.py": "A = 2\n", "in/new.py": "N = 1\n"})
    code = capture(root)
    out = restored(code, tmp_path / "out", root)
    assert files(out) == files(root) | {"out/other.py": ("file", b"B = 1\n")}


def test_replaced_objects_are_not_believed(tmp_path: Path) -> None:
    root = tmp_path / "p"
    first, second = commit(root, code__py="A = 1\n"), commit(root, code__py="A = 2\n")
    run(root, "replace", second, first)
    code = capture(root)
    assert files(restored(code, tmp_path / "out", root)) == files(root)


@pytest.mark.parametrize("name", ["a:b", 'qu"ote', "50% off", "back\\slash", "new ünïcödé"])
def test_a_path_of_any_name_works(tmp_path: Path, name: str) -> None:
    root = tmp_path / name / "p"
    commit(root, code__py="A = 1\n")
    write(root, code__py="A = 2\n", new__py="B = 1\n")
    assert files(restored(capture(root), tmp_path / "out", root)) == files(root)


def test_a_repository_of_sha256_works(tmp_path: Path) -> None:
    root = tmp_path / "p"
    run(root, "init", "--quiet", "--object-format=sha256")
    assert len(commit(root, code__py="A = 1\n")) == 64
    write(root, code__py="A = 2\n", windows__csv=b"a\r\n")
    code = capture(root)
    assert not code.converted
    assert files(restored(code, tmp_path / "out", root)) == files(root)


def test_a_linked_work_tree_works(tmp_path: Path) -> None:
    commit(tmp_path / "main", code__py="A = 1\n")
    root = tmp_path / "linked"
    run(tmp_path / "main", "worktree", "add", "--quiet", "--detach", str(root))
    write(root, code__py="A = 2\n")
    assert files(restored(capture(root), tmp_path / "out", root)) == files(root)


def test_a_project_in_a_folder_of_a_repository_comes_back(tmp_path: Path) -> None:
    top = tmp_path / "mono"
    commit(top, **{"bikes/code.py": "A = 1\n", "libs/lib.py": "L = 1\n"})
    (top / "bikes/shared").symlink_to("../libs")
    write(top, **{"libs/lib.py": "L = 2\n", "libs/staged.py": "S = 1\n"})
    run(top, "add", "--all")
    write(top, **{"bikes/code.py": "A = 2\n"})
    code = capture(top / "bikes")
    assert code.folder == "bikes"
    imported = {top / "bikes/code.py": b"A = 2\n", top / "bikes/shared/lib.py": b"L = 2\n"}
    modules = settle(code, imported)
    assert modules.keys() == {"code.py", "shared/lib.py"}
    project = restored(code, tmp_path / "out", top / "bikes")
    assert project == tmp_path / "out/bikes"
    assert files(project) == files(top / "bikes")
    assert (project / "shared/lib.py").read_text() == "L = 2\n"  # it was imported
    assert not (tmp_path / "out/libs/staged.py").exists()  # somebody else's work


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository whose branch has three commits; its name says where it came from."""
    root = tmp_path / "origin"
    for number in (1, 2, 3):
        commit(root, code__py=f"A = {number}\n", **{f"only/in_{number}.txt": f"{number}\n"})
        if number > 1:
            (root / f"only/in_{number - 1}.txt").unlink()
            commit(root)
    return published(root, "remote")


def older(bare: Path) -> str:
    return run(bare, "rev-parse", "HEAD~3")


@pytest.mark.parametrize(
    "how",
    [["--depth=1"], ["--filter=blob:none"], ["--filter=tree:0"], ["--filter=blob:none", "--depth=1"]],
    ids=" ".join,
)
def test_a_clone_that_is_cut_off_restores_any_commit_of_its_remote(
    remote: Path, tmp_path: Path, how: list[str]
) -> None:
    clone, whole = tmp_path / "clone", tmp_path / "whole"
    run(tmp_path, "clone", "--quiet", *how, f"file://{remote}", str(clone))
    run(tmp_path, "clone", "--quiet", str(remote), str(whole))
    code = capture(clone)
    assert code.reproducible == "anywhere"
    write(clone, code__py="A = 9\n")
    assert files(restored(capture(clone), tmp_path / "out", clone)) == files(clone)
    before = sorted((clone / ".git/objects").rglob("*"))
    run(whole, "checkout", "--quiet", older(remote))
    write(whole, code__py="A = 8\n")
    old = capture(whole)
    assert files(restored(old, tmp_path / "old", clone)) == files(whole)
    assert sorted((clone / ".git/objects").rglob("*")) == before
    # Of a remote that is gone it has what it has.
    remote.rename(tmp_path / "gone")
    assert files(restored(capture(clone), tmp_path / "again", clone)) == files(clone)
    with pytest.raises(ProjectError) as caught:
        restored(old, tmp_path / "refused", clone)
    assert caught.value.exit_code == 2
    assert "remote.git" in caught.value.cause and "not appear to be a git repository" in caught.value.cause


@pytest.mark.parametrize("made", ["depth", "tag", "fetched"])
def test_what_ci_checks_out_is_known_to_its_remote(remote: Path, tmp_path: Path, made: str) -> None:
    clone = tmp_path / "clone"
    if made == "fetched":  # by its hash, as GitHub's and GitLab's jobs do
        run(clone, "init", "--quiet")
        run(clone, "remote", "add", "origin", f"file://{remote}")
        run(clone, "fetch", "--quiet", "--depth=1", "origin", older(remote))
        run(clone, "checkout", "--quiet", "FETCH_HEAD")
    else:
        run(remote, "tag", "v1", older(remote))
        branch = ["--branch=v1"] if made == "tag" else []
        run(tmp_path, "clone", "--quiet", "--depth=1", *branch, f"file://{remote}", str(clone))
    assert capture(clone).reproducible == "anywhere"


def test_a_remote_that_has_not_got_a_commit_is_told_from_one_that_refuses(remote: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "clone", "--quiet", "--depth=1", f"file://{remote}", str(clone))
    lost = {**record(capture(clone))[0], "commit": "1" * 40, "branch": "mine"}
    with pytest.raises(ProjectError) as caught:
        checkout.restore(lost, {}, tmp_path / "out", clone)
    assert caught.value.cause.endswith("remote.git: has not got it") and caught.value.fix.startswith("In the clone")
    # An SSH that refuses says why in several lines; all of them are shown, and pushing is not the advice.
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'git@example.com: Permission denied (publickey).' >&2\nexit 255\n")
    ssh.chmod(0o755)
    run(clone, "config", "core.sshCommand", str(ssh))
    with pytest.raises(ProjectError) as caught:
        checkout.restore(lost | {"remote": "git@example.com:a/b.git"}, {}, tmp_path / "ssh out", clone)
    assert "Permission denied (publickey)" in caught.value.cause
    assert "make sure you have the correct access rights" in caught.value.cause
    assert caught.value.fix.startswith("Mend what git says") and caught.value.exit_code == 2
    assert len(f"{caught.value.cause}\n{caught.value.fix}".splitlines()) <= 20


FILTER = ("clean", "tr a-z A-Z"), ("smudge", "tr A-Z a-z"), ("required", "true")


def filtered(root: Path) -> None:
    """Configure a filter that stores capital letters, in the repository's own configuration as Git LFS can be."""
    for name, value in FILTER:
        run(root, "config", f"filter.upper.{name}", value)


def test_what_a_filter_stores_otherwise_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "p"
    run(root, "init", "--quiet")
    filtered(root)
    attributes = (
        "*.up filter=upper\n*.id ident\n*.u16 text working-tree-encoding=UTF-16LE\n*.eol text eol=crlf\n*.txt text\n"
    )
    commit(
        root, **{".gitattributes": attributes, "a.up": "abc\n", "b.id": "$Id$\n", "c.u16": "x\n".encode("utf-16-le")}
    )
    commit(root, **{"d.eol": b"d\r\n", "e.eol": b"lf all the same\n", "f.txt": b"f\r\n"})
    (root / "b.id").unlink()
    run(root, "checkout", "--quiet", "b.id")
    assert b"$Id: " in (root / "b.id").read_bytes() and run(root, "cat-file", "blob", "HEAD:a.up") == "ABC"
    published(root, "p")
    code = capture(root)
    assert (code.dirty, code.reproducible) == ("false", "anywhere")
    assert code.converted.keys() == {"a.up", "b.id", "c.u16", "d.eol", "f.txt"}
    out = restored(code, tmp_path / "from here", root)
    assert files(out) == files(root)
    assert capture(out).dirty == "false"
    # From a clone in whose work tree they are not: git's filters give them, if they are configured.
    other = tmp_path / "other"
    run(tmp_path, "clone", "--quiet", "--no-checkout", str(root), str(other))
    filtered(other)
    assert files(restored(code, tmp_path / "from the filters", other)) == files(root)
    run(other, "config", "--remove-section", "filter.upper")
    with pytest.raises(ProjectError, match=r"a\.up") as caught:
        restored(code, tmp_path / "without", other)
    assert caught.value.exit_code == 2
    run(other, "config", "filter.upper.smudge", "echo no such program >&2; false")
    run(other, "config", "filter.upper.required", "true")
    with pytest.raises(ProjectError, match="smudge filter upper failed"):
        restored(code, tmp_path / "failing", other)


#: What records of before 0.5.0 say of the code.
OLD = ("commit", "dirty", "tree", "folder", "remote", "branch", "patch", "left_out")


def test_an_old_record_is_restored_as_it_was_and_with_its_submodules(nested: Path, tmp_path: Path) -> None:
    filtered(nested)
    commit(nested, **{".gitattributes": "*.up filter=upper\n*.eol text eol=crlf\n", "a.up": "abc\n", "d.eol": b"d\r\n"})
    write(nested, **{"code.py": "A = 1\n"})
    content, patches = record(capture(nested))
    old = {name: content[name] for name in OLD}
    expected = {name: file for name, file in files(nested).items() if "leaf" not in name}
    assert files(checkout.restore(old, patches, tmp_path / "out", nested)) == expected
    nowhere = tmp_path / "nowhere"
    run(tmp_path, "clone", "--quiet", str(nested), str(nowhere))
    assert (checkout.restore(old, patches, tmp_path / "other", nowhere) / "inner/lib/lib.py").exists()


def test_uncommitted_work_behind_a_filter_is_only_here(tmp_path: Path) -> None:
    root = tmp_path / "p"
    run(root, "init", "--quiet")
    filtered(root)
    commit(root, **{".gitattributes": "*.up filter=upper\n* text=auto\n", "a.up": "abc\n"})
    published(root, "p")
    write(root, **{"a.up": "abcd\n", "windows.txt": b"a\r\nb\r\n"})
    code = capture(root)
    assert code.all_only_here == ["a.up is uncommitted, and a filter of git keeps its content elsewhere"]
    assert files(restored(code, tmp_path / "out", root)) == files(root)
    write(root, **{"mixed.txt": b"a\r\nb\n"})
    code = capture(root)
    assert any("mixed.txt has line ends of two kinds" in reason for reason in code.all_only_here)
    assert files(restored(code, tmp_path / "mixed", root)) == files(root)


def test_a_committed_file_is_given_as_the_work_tree_had_it(nested: Path, tmp_path: Path) -> None:
    """What `data-check --restore` asks for."""
    of_bytes = harness.load("common.digest").of_bytes
    root = tmp_path / "p"
    run(root, "init", "--quiet")
    filtered(root)
    commit(root, **{".gitattributes": "*.up filter=upper\n* text=auto\n", "data/a.up": "abc\n", "data/b.csv": b"a\r\n"})
    for name, content in {"data/a.up": b"abc\n", "data/b.csv": b"a\r\n"}.items():
        (root / name).unlink()
        assert filters.committed(root / name, of_bytes(content)) == content
    with pytest.raises(ProjectError, match=r"c\.csv"):
        filters.committed(root / "data/c.csv", "sha256:")
    file = nested / "inner/lib/lib.py"
    file.unlink()
    assert filters.committed(file, of_bytes(b"LIB = 1\n")) == b"LIB = 1\n"


@pytest.mark.skipif(subprocess.run(["git", "lfs", "version"], capture_output=True).returncode != 0, reason="no Git LFS")
def test_files_of_git_lfs_come_back(tmp_path: Path) -> None:
    root = tmp_path / "p"
    run(root, "init", "--quiet")
    run(root, "lfs", "install", "--local")
    run(root, "lfs", "track", "*.bin")
    commit(root, **{"a.bin": bytes(range(256)), "code.py": "A = 1\n"})
    assert run(root, "cat-file", "blob", "HEAD:a.bin").startswith("version https://git-lfs")
    published(root, "p")
    code = capture(root)
    assert (code.dirty, code.reproducible, [*code.converted]) == ("false", "anywhere", ["a.bin"])
    assert files(restored(code, tmp_path / "out", root)) == files(root)
    expected = files(root)
    (root / "a.bin").unlink()  # out of Git LFS's own store
    out = restored(code, tmp_path / "smudged", root)
    assert files(out) == expected and capture(out).dirty == "false"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A rendered project, committed, whose modules are imported here under a package name that nothing else has."""
    folder = tmp_path_factory.mktemp("git") / "project"
    with importing(folder, "git_under_test"):
        commit(folder)
        yield folder


def of(project: Path, name: str) -> ModuleType:
    """A module of the project's harness."""
    return importlib.import_module(f"git_under_test.reproducibility.{name}")


def recorded(project: Path, folder: Path, code: Any = None) -> Any:
    """A record of the project as it is."""
    code = code or of(project, "source.capture").capture(project)
    folder.mkdir()
    for name, patch in code.patches().items():
        (folder / name).write_bytes(patch)
    (folder / "constraints.txt").write_bytes((project / "constraints.txt").read_bytes())
    (folder / "record.json").touch()
    content = {"schema": 2, "project": "git_under_test", "code": code.content(), "data": {}, "environment": {}}
    return of(project, "record.schema").Record("run", folder, content, {"seed": 1}, {}, {})


def evil_patch(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


UP = "../../../../.."
ENTRY = {"digest": "sha256:", "size": 1}
EVIL_INNER = {"commit": "{commit}", "folder": "", "remote": "", "branch": "", "tree": "", "patch": "", "converted": {}}
HOSTILE: dict[str, Any] = {
    "folder": {"folder": f"{UP}{{outside}}"},
    "folder up": {"folder": ".."},
    "folder of git": {"folder": ".git"},
    "folder of no kind": {"folder": "a\0b"},
    "left out": {"left_out": [{"path": f"{UP}{{outside}}/left", "why": "", "digest": "{digest}"}]},
    "left out in git": {"left_out": [{"path": ".git/hooks/post-checkout", "why": "", "digest": "{digest}"}]},
    "converted": {"converted": {f"{UP}{{outside}}/converted": "{digest}"}},
    "converted in git": {"converted": {".git/config": "{digest}"}},
    "repository": {"repositories": [EVIL_INNER | {"path": f"{UP}{{outside}}/inner"}]},
    "absolute repository": {"repositories": [EVIL_INNER | {"path": "{outside}/inner"}]},
    "repository over the project": {"repositories": [EVIL_INNER | {"path": "."}]},
    "repository in git": {"repositories": [EVIL_INNER | {"path": ".GIT/modules/x"}]},
    "folder of a repository": {"repositories": [EVIL_INNER | {"path": "inner", "folder": f"{UP}{{outside}}"}]},
    "converted of a repository": {
        "repositories": [EVIL_INNER | {"path": "inner", "converted": {f"../{UP}{{outside}}/c": "{digest}"}}]
    },
    "remote": {"commit": "1" * 40, "remote": "--upload-pack=touch {outside}/remote"},
    "remote that runs something": {"commit": "1" * 40, "remote": "ext::touch {outside}/remote"},
    "commit": {"commit": "--output={outside}/commit"},
    "patch up": {"patch": evil_patch("--- /dev/null", f"+++ b/{UP}{{outside}}/patch", "@@ -0,0 +1 @@", "+x")},
    "patch into git": {"patch": evil_patch("--- /dev/null", "+++ b/.git/hooks/post-checkout", "@@ -0,0 +1 @@", "+x")},
    "patch through a link": {
        "patch": evil_patch(
            *("diff --git a/link b/link", "new file mode 120000", "--- /dev/null", "+++ b/link", "@@ -0,0 +1 @@"),
            *("+{outside}", "\\ No newline at end of file", "diff --git a/link/x b/link/x", "new file mode 100644"),
            *("--- /dev/null", "+++ b/link/x", "@@ -0,0 +1 @@", "+x"),
        )
    },
}


def fill(value: Any, **names: str) -> Any:
    """Fill names in, at any depth."""
    if isinstance(value, dict):
        return {fill(key, **names): fill(item, **names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, **names) for item in value]
    if isinstance(value, bytes):
        return fill(value.decode(), **names).encode()
    for name, text in names.items() if isinstance(value, str) else ():
        value = value.replace(f"{{{name}}}", text)
    return value


@pytest.mark.parametrize("way", ["executed", pytest.param("dry run", marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", [*HOSTILE, "data", "data in git"])
def test_no_path_of_a_record_leads_out_of_the_checkout(project: Path, tmp_path: Path, what: str, way: str) -> None:
    outside, scratch = tmp_path / "outside", tmp_path / "scratch"
    write(outside, **{"left": "mine\n", "converted": "mine\n", "constraints.txt": "mine\n"})
    digest = of(project, "common.digest").of_bytes(b"mine\n")
    good = recorded(project, tmp_path / "record")
    names = {"outside": str(outside), "digest": digest, "commit": good.content["code"]["commit"]}
    if what.startswith("data"):
        path = f"{UP}{outside}/data" if what == "data" else ".git/config"
        content = good.content | {"data": {"evil": ENTRY | {"path": path}}}
    else:
        changes = fill(HOSTILE[what], **names)
        if patch := changes.pop("patch", b""):
            (good.folder / "uncommitted.patch").write_bytes(patch)
            changes["patch"] = of(project, "common.digest").of_bytes(patch)
        content = good.content | {"code": good.content["code"] | changes}
    record = of(project, "record.schema").Record("run", good.folder, content, {"seed": 1}, {}, {})
    replay, reproduce = of(project, "proof.replay"), of(project, "proof.reproduce")  # may write bytecode beside them
    before = files(outside), files(project), (project / ".git/config").read_bytes()
    with pytest.raises(of(project, "common.errors").ProjectError):
        if way == "executed":
            replay.check_out(record, scratch)
        else:
            list(reproduce.plan(record, scratch))
            assert what.startswith(("remote", "data")), "a dry run fetches nothing"
            raise of(project, "common.errors").ProjectError("", "")
    assert (files(outside), files(project), (project / ".git/config").read_bytes()) == before
    assert not list(scratch.rglob("hooks/post-checkout"))


@pytest.mark.parametrize("link", ["constraints.txt", "data", "data/datasets.yaml"])
def test_no_link_of_a_commit_leads_what_is_written_out_of_the_checkout(
    project: Path, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    write(outside, **{"constraints.txt": "mine\n", "datasets.yaml": "mine: 1\n"})
    former = run(project, "rev-parse", "HEAD")
    run(project, "rm", "--quiet", "-r", "--cached", link)
    target = outside if link == "data" else outside / Path(link).name
    blob = subprocess.run(
        ["git", "-C", str(project), "hash-object", "-w", "--stdin"], input=str(target).encode(), capture_output=True
    )
    run(project, "update-index", "--add", "--cacheinfo", f"120000,{blob.stdout.decode().strip()},{link}")
    run(project, "commit", "--quiet", "--message", "A link")
    evil = run(project, "rev-parse", "HEAD")
    run(project, "reset", "--quiet", "--mixed", former)
    record = recorded(project, tmp_path / "record")
    record.content["code"] |= {"commit": evil, "tree": "", "patch": ""}
    before = files(outside)
    replay = of(project, "proof.replay")
    checked_out = replay.check_out(record, tmp_path / "scratch")
    replay.put_lock(checked_out, record)
    if link != "constraints.txt":
        other = recorded(project, tmp_path / "other")
        with pytest.raises(of(project, "common.errors").ProjectError, match="outside the project"):
            replay._put_data(replay.Recipe(record, other, record, record, {}), checked_out, tmp_path / "data scratch")
    assert files(outside) == before


#: Ten lines that are a billion values.
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize("text", [BOMB, "- x\n", "a: [\n", "a: \xff", None])
def test_no_manifest_of_a_commit_stops_who_enters_other_data(project: Path, tmp_path: Path, text: str | None) -> None:
    manifest = tmp_path / "datasets.yaml"
    if text is not None:
        manifest.write_bytes(text.encode("latin-1"))
    with pytest.raises(of(project, "common.errors").ProjectError, match="cannot be used") as caught:
        of(project, "proof.replay_data").register([], manifest)
    assert caught.value.exit_code == 2


@pytest.fixture
def clean(project: Path) -> Iterator[Path]:
    """The rendered project, published, and as it was again afterwards."""
    commit_before = run(project, "rev-parse", "HEAD")
    run(project, "update-ref", "refs/remotes/origin/main", commit_before)
    yield project
    run(project, "reset", "--quiet", "--hard", commit_before)
    run(project, "clean", "--quiet", "-ffdx")
    run(project, "update-ref", "-d", "refs/remotes/origin/main")
    for name in [name for name in sys.modules if name.startswith("git_under_test.") and "reproducibility" not in name]:
        del sys.modules[name]


def fresh(name: str) -> ModuleType:
    """Import a module of the project as if it had not been."""
    sys.modules.pop(f"git_under_test.{name}", None)
    importlib.invalidate_caches()
    return importlib.import_module(f"git_under_test.{name}")


def blob(checked_out: Path, name: str) -> str:
    return (checked_out / name).read_text("utf-8")


@pytest.mark.parametrize("when", ["before the capture", "after the capture"])
def test_what_is_recorded_is_what_was_imported(clean: Path, tmp_path: Path, when: str) -> None:
    module = clean / "git_under_test/model.py"
    imports, sources = of(clean, "source.imports"), of(clean, "source.capture")
    write(clean, **{"git_under_test/late.py": "LATE = 1\n", "git_under_test/early.py": "EARLY = 1\n"})
    code = None
    if when == "after the capture":
        code = sources.capture()
    assert fresh("early").EARLY == 1
    write(clean, **{"git_under_test/early.py": "EARLY = 2\n", "git_under_test/late.py": "LATE = 2\n"})
    code = code or sources.capture()
    assert fresh("late").LATE == 2  # as it was edited by then
    write(clean, **{"git_under_test/late.py": "LATE = 3\n"})
    modules = settle(code, imports.taken())
    of_bytes = of(clean, "common.digest").of_bytes
    assert modules["git_under_test/early.py"] == of_bytes(b"EARLY = 1\n")
    assert modules["git_under_test/late.py"] == of_bytes(b"LATE = 2\n")
    assert "git_under_test/reproducibility/source/snapshot.py" in modules and module.exists()
    assert code.reproducible == "anywhere" and code.dirty == "true"
    out = restored(code, tmp_path / "out", clean)
    assert blob(out, "git_under_test/early.py") == "EARLY = 1\n" and blob(out, "git_under_test/late.py") == "LATE = 2\n"


def test_bytecode_of_an_older_edit_is_not_believed(clean: Path) -> None:
    """Python takes it for that of a file of the same size that was edited within the same second."""
    imports, module = of(clean, "source.imports"), clean / "git_under_test/fast.py"
    module.write_text("FAST = 1\n")
    py_compile.compile(str(module))
    before = module.stat()
    module.write_text("FAST = 2\n")
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fresh("fast").FAST == 2
    assert imports.taken()[module] == b"FAST = 2\n"


def test_what_stands_in_the_place_of_modules_is_none(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is Python's way to forbid an import; a library may put any object there."""
    imports, own_code = of(clean, "source.imports"), of(clean, "source.own_code")
    write(clean, **{"git_under_test/plain.py": "PLAIN = 1\n"})
    fresh("plain")
    before = imports.taken()
    monkeypatch.setitem(sys.modules, "forbidden", None)
    monkeypatch.setitem(sys.modules, "odd", object())
    assert imports.taken() == before and clean / "git_under_test/plain.py" in before
    digests = {"git_under_test/plain.py": "sha256:1"}
    assert own_code.needed(["git_under_test.plain"], digests) == digests


def test_what_nobody_can_read_is_no_part_of_the_run(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(clean, **{"private.txt": "x\n", "mine.txt": "y\n"})
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "private.txt" and access(path, mode))
    code = of(clean, "source.capture").capture()
    out = restored(code, tmp_path / "out", clean)
    assert (code.reproducible, code.left_out) == ("anywhere", [])
    assert (out / "mine.txt").exists() and not (out / "private.txt").exists()


def test_a_file_that_is_edited_meanwhile_is_named(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = of(clean, "source.capture").capture()
    (clean / "README.md").write_text("Edited.\n")
    settle(code, of(clean, "source.imports").taken())
    said = capsys.readouterr().err
    assert said == "notice: README.md was written while the run went on. Recorded as it was before.\n"


def test_a_module_that_the_run_writes_itself_is_recorded(clean: Path, tmp_path: Path) -> None:
    code = of(clean, "source.capture").capture()
    assert code.dirty == "false"
    write(clean, **{"git_under_test/generated.py": "G = 1\n"})
    fresh("generated")
    settle(code, of(clean, "source.imports").taken())
    assert code.reproducible == "anywhere"
    assert blob(restored(code, tmp_path / "out", clean), "git_under_test/generated.py") == "G = 1\n"


def test_an_ignored_module_is_only_here_and_only_as_it_was_imported(clean: Path) -> None:
    write(clean, **{"git_under_test/own.egg-info/code.py": "X = 1\n"})
    module = clean / "git_under_test/own.egg-info/code.py"
    code = of(clean, "source.capture").capture()
    settle(code, {module: b"X = 1\n"})
    [entry] = code.left_out
    assert entry["path"] == "git_under_test/own.egg-info/code.py" and "git ignores it" in entry["why"]
    assert code.reproducible == "here"
    module.write_text("X = 2\n")  # what was imported is nowhere now
    assert code.reproducible == "no"


@pytest.mark.parametrize("how", ["link to a folder", "link to a file", "path"])
def test_code_from_outside_the_repository_is_only_here(clean: Path, tmp_path: Path, how: str) -> None:
    outside = tmp_path / "outside"
    write(outside, strange__py="S = 1\n")
    package = clean / "git_under_test"
    if how == "link to a folder":
        (package / "linked").symlink_to(os.path.relpath(outside, package))
        name, path = "git_under_test.linked.strange", "git_under_test/linked/strange.py"
    elif how == "link to a file":
        (package / "strange.py").symlink_to(outside / "strange.py")
        name, path = "git_under_test.strange", "git_under_test/strange.py"
    else:
        sys.path.append(str(outside))
        name, path = "strange", str(outside / "strange.py")
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    importlib.import_module(name)
    code = of(clean, "source.capture").capture()
    modules = settle(code, of(clean, "source.imports").taken())
    assert path in modules
    [entry] = code.left_out
    assert entry["path"] == path and code.reproducible == "here"
    record = recorded(clean, tmp_path / "record", code)
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")  # as macOS has its folder for temporary files
    project = of(clean, "proof.replay").check_out(record, tmp_path / "alias/out")
    if how != "path":
        assert not (project / path).is_symlink() and blob(project, path) == "S = 1\n"
    (outside / "strange.py").write_text("S = 2\n")
    with pytest.raises(of(clean, "common.errors").ProjectError, match=r"strange\.py"):
        of(clean, "proof.replay").check_out(record, tmp_path / "again")
    assert (outside / "strange.py").read_text() == "S = 2\n"
    sys.modules.pop(name)
    if how == "path":
        sys.path.remove(str(outside))


@pytest.fixture
def foreign(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as git sees it in a container whose user is another than the folder's."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(AssertionError, match="dubious ownership"):
        run(clean, "status")
    return clean


ADVICE = "git config --global --add safe.directory"


def test_a_project_of_another_user_is_not_called_without_git(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as context:
        context.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
        record = recorded(foreign, tmp_path / "record")
    code = of(foreign, "source.capture").capture()
    assert (code.commit, code.reproducible) == ("none", "no")
    assert "dubious ownership" in code.refused and f"{ADVICE} {foreign}" in code.refused
    assert settle(code, {foreign / "git_under_test/train.py": b""}).keys() == {"git_under_test/train.py"}
    doctor, setup, replay = (of(foreign, name) for name in ("cli.doctor", "environment.setup", "proof.replay"))
    [(well, what, fix)] = doctor.version_control()
    assert not well and "dubious ownership" in what and fix == f"{ADVICE} {foreign}"

    setup.switch_on_hooks()
    said = capsys.readouterr().out
    assert "dubious ownership" in said and ADVICE in said and "git init" not in said
    with pytest.raises(of(foreign, "common.errors").ProjectError, match="dubious ownership") as caught:
        replay.check_out(record, tmp_path / "out")
    assert caught.value.fix == f"{ADVICE} {foreign}" and caught.value.exit_code == 3
    refused = recorded(foreign, tmp_path / "refused", code)
    with pytest.raises(of(foreign, "common.errors").ProjectError, match="dubious ownership") as caught:
        of(foreign, "proof.refusals").require_git(refused)
    assert caught.value.exit_code == 2 and "git init" not in caught.value.fix


def test_a_submodule_of_another_user_is_named(nested: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(nested / "inner/lib", 12345, 12345)
    os.chown(nested / "inner/lib/.git", 12345, 12345)
    code = capture(nested)
    assert code.reproducible == "here"
    assert any("inner/lib: " in reason and "dubious ownership" in reason for reason in code.all_only_here)


def test_doctor_of_a_folder_of_a_repository_asks_for_no_hooks_that_setup_does_not_make(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor, git = of(project, "cli.doctor"), of(project, "source.git")
    top = tmp_path / "mono"
    commit(top, **{"bikes/code.py": "A = 1\n"})
    monkeypatch.setattr(doctor, "git", lambda *arguments: git.git(*arguments, folder=top / "bikes"))
    monkeypatch.setattr(doctor, "repository", lambda: git.repository(top / "bikes"))
    assert all(well for well, _, _ in doctor.version_control())
    monkeypatch.setattr(doctor, "git", lambda *arguments: git.git(*arguments, folder=top))
    assert [fix for well, _, fix in doctor.version_control() if not well] == ["just setup"]


@pytest.mark.parametrize("broken", ["core.autocrlf=x", "core.abbrev=1"])
def test_a_setting_that_git_refuses_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    commit(tmp_path / "p", code__py="A = 1\n")
    name, _, value = broken.partition("=")
    set_all(monkeypatch, hostile(**{name: value}))
    code = capture(tmp_path / "p")
    assert code.reproducible == "no" and name in code.refused


def test_a_machine_without_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not on the PATH" in capture(tmp_path).refused


def test_without_a_commit_or_a_repository_nothing_is_refused(tmp_path: Path) -> None:
    code = capture(tmp_path)
    assert (code.commit, code.dirty, code.refused) == ("none", "unknown", "")
    run(tmp_path, "init", "--quiet")
    code = capture(tmp_path)
    assert (code.commit, code.dirty, code.refused) == ("none", "true", "")


def test_data_behind_a_pointer_is_recognised(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, retrieval = of(project, "datasets.manifest"), of(project, "datasets.retrieval")
    error = of(project, "common.errors").ProjectError
    root = tmp_path / "p"
    run(root, "init", "--quiet")
    filtered(root)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    commit(root, **{".gitattributes": "*.csv filter=upper\n", "data/a.csv": "a,b\n", "data/p.csv": pointer})
    for module in (manifest, of(project, "datasets.download")):
        monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(of(project, "datasets.copies"), "find", lambda _: None)
    of_bytes = of(project, "common.digest").of_bytes
    mine, other = (
        manifest.Dataset(
            name="a", path=f"data/{name}.csv", digest=of_bytes(b"a,b\n"), size=4, source=f"data/{name}.csv"
        )
        for name in ("a", "p")
    )
    (root / "data/a.csv").unlink()
    retrieval.restore(mine)
    assert (root / "data/a.csv").read_bytes() == b"a,b\n"
    with pytest.raises(error, match="pointer of Git LFS") as caught:
        of(project, "datasets.verification").verify(other)
    assert "git lfs pull" in caught.value.fix
    with pytest.raises(error, match="pointer of Git LFS"):
        of(project, "datasets.loading").read(root / "data/p.csv")
    with pytest.raises(error, match=r"p\.csv has a pointer of Git LFS"):
        retrieval.restore(other)


def test_git_is_asked_in_a_half_built_environment() -> None:
    """`just setup` and the doctor do, before any package is there."""
    package = "import sys, types; h = sys.modules['h'] = types.ModuleType('h'); h.__path__ = [sys.argv[1]]\n"
    program = f"{package}import h.source.git, h.source.imports, h.environment.setup, h.cli.doctor"
    command = [sys.executable, "-I", "-S", "-c", program, str(harness.FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
