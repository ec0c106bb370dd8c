"""What is rendered: from every answer, from difficult ones, by the real commands, and again after an update."""

from __future__ import annotations

import email.policy
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copier
import marked
import pytest
import yaml
from allpairspy import AllPairs
from conftest import FRAMEWORKS, QUESTIONS, TEMPLATE, Project, copy_project, other_pythons
from updates import git, is_yours

import contract
import reserved
import tree as tree_of

CONFIG = yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8"))
RESERVED = (TEMPLATE / reserved.FILE).read_text("utf-8").split()
EIGHTY = "A project whose name is exactly eighty characters long, and that is all we take."

# --- Answers ------------------------------------------------------------------
#: Most want quoting in TOML, YAML, Markdown, a shell or a format string.
NAMES = [
    'Ada\'s "Bikes" 🚲 Größe',
    r"back\slash \n 100% %s #1: yes",
    "null",
    "- @dash",
    "@at 'n' `tick` $HOME",
    EIGHTY,
]
SENTENCES = [
    "She said \"no\": it isn't '''100%''' %d.",
    r"C:\new\table \u0041 # not a comment",
    "- yes",
    "@null: ~ *bold* _it_ <b>",
    "Größe, 日本語 and 🚲",
    "yes",
]
AUTHORS = ["", "Ada Lovelace", 'Seán O\'Brien "Bob"', r"Smith & Sons, Inc. \ #1: 100%", "null", "@yes - 🚲"]
EMAILS = ["", "ada@example.com", "o'brien+ml%x@mail.example.co.uk"]
CHOICES: dict[str, list[Any]] = {
    "license": ["MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"],
    "task": ["classification", "regression", "images"],
    "container": ["docker", "none"],
    "tracking": ["local", "server", "databricks"],
    "ci": ["github", "gitlab", "none"],
    "updates": ["none", "pull-request", "renovate"],
    "framework": [*FRAMEWORKS],
    "python_version": ["3.11", "3.12", "3.13", "3.14", "3.12.1"],
    "seed": [42, 0, 2**32 - 1],
    "package_name": ["bikes", "x" * 50],
    "project_name": NAMES,
    "description": SENTENCES,
    "author_name": AUTHORS,
    "author_email": EMAILS,
}
#: The frameworks of the task `images`.
NETWORKS = ["pytorch", "tensorflow"]
URI = "https://mlflow.example.com:5000/team%20a"
# Questions with one answer have no pairs.
PAIRED = [name for name, values in CHOICES.items() if len(values) > 1]


def is_allowed(row: list[Any]) -> bool:
    """Whether the answers so far go together."""
    answers = dict(zip(PAIRED, row, strict=False))
    too_new = answers.get("framework") == "tensorflow" and answers.get("python_version") == "3.14"
    jobless = answers.get("updates") == "pull-request" and answers.get("ci") == "none"
    sightless = answers.get("task") == "images" and answers.get("framework", "pytorch") not in NETWORKS
    return not too_new and not jobless and not sightless


ROWS = [
    dict(zip(PAIRED, row, strict=True)) for row in AllPairs([CHOICES[name] for name in PAIRED], filter_func=is_allowed)
]


def test_every_choice_of_every_question_is_among_the_answers() -> None:
    asked = {name for name, question in QUESTIONS.items() if question.get("when") is not False}
    assert asked == {*CHOICES, "tracking_uri"}
    for name, question in QUESTIONS.items():
        if "choices" in question:
            values = question["choices"].values()
            # One with a condition is a mapping.
            assert {value["value"] if isinstance(value, dict) else value for value in values} == set(CHOICES[name])


def tree(folder: Path) -> dict[str, bytes]:
    """All files, without what tools leave behind."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without git, which renders faster."""
    folder = tmp_path_factory.mktemp("bare")
    copy_template(folder)
    return folder


def copy_template(folder: Path) -> None:
    wanted = ["copier.yml", reserved.FILE, "template"]
    listed = git(TEMPLATE, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *wanted)
    for name in set(listed.split("\0")) - {""}:
        if (TEMPLATE / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TEMPLATE / name, folder / name)


#: A sixth is enough for `just test-fast`; `just test` renders all.
@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=[pytest.mark.e2e] if number % 6 else []) for number in range(len(ROWS))]
)
def test_all_pairs_of_answers_give_valid_and_clean_files(number: int, bare: Path, tmp_path: Path) -> None:
    answers = ROWS[number] | ({"tracking_uri": URI} if ROWS[number]["tracking"] == "server" else {})
    path = copy_project(tmp_path / "a födler with späces" / "it's", source=bare, **answers)
    files = tree(path)
    package = answers["package_name"]
    for name, content in files.items():
        if name.endswith(".zip"):
            continue
        text = content.decode("utf-8")
        assert text.endswith("\n") or name.endswith("__init__.py"), f"{name}: no newline at the end"
        assert text.strip() or name == f"{package}/__init__.py", f"{name} is empty"
        assert not re.search(r"[ \t]$", text, re.MULTILINE), f"{name}: trailing whitespace"
        if not name.startswith((f"{package}/", ".github/")) and name != "justfile":
            assert not re.search(r"[{][{%#]|[}%#][}]", text), f"{name}: Jinja is left"
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif name.endswith((".yaml", ".yml")):
            assert yaml.safe_load(text)
    require_answers(path, answers)
    for command in (["ruff", "format", "--no-cache", "--check"], ["ruff", "check", "--no-cache"], ["just", "--list"]):
        done = subprocess.run(command, cwd=path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def require_answers(path: Path, answers: dict[str, Any]) -> None:
    """The answers are found again where they belong, read by what will read them."""
    from mlflow.projects._project_spec import load_project
    from mlflow.utils.environment import _PythonEnv

    package = answers["package_name"]
    pyproject = tomllib.loads((path / "pyproject.toml").read_text("utf-8"))
    project = pyproject["project"]
    assert project["name"] == package.replace("_", "-")
    assert project["description"] == answers["description"]
    author = {"name": answers["author_name"], "email": answers["author_email"]}
    given = {key: value for key, value in author.items() if value}
    assert project.get("authors", []) == ([given] if given else [])
    assert project["license"].removeprefix("LicenseRef-") == answers["license"]
    options = pyproject["tool"]["reproducibility"]
    uris = {"local": "sqlite:///mlflow.db", "server": URI, "databricks": "databricks"}
    assert options["tracking-uri"] == uris[answers["tracking"]]
    prefix = "/Shared/" if answers["tracking"] == "databricks" else ""
    assert options["experiment"] == prefix + answers["project_name"]
    readme = (path / "README.md").read_text("utf-8").splitlines()
    assert readme[:3] == [f"# {answers['project_name']}", "", answers["description"]]
    licence = (path / "LICENSE").read_text("utf-8")
    assert len(licence) > 400
    if answers["license"] != "Apache-2.0":
        holder = answers["author_name"] or f"the authors of {answers['project_name']}"
        assert f"Copyright (c) {holder}" in licence
    spec = load_project(str(path))
    assert spec.name == package
    assert f"python -m {package} " in spec.get_entry_point("main").command
    environment = _PythonEnv.from_yaml(path / "python_env.yaml")
    assert environment.python == answers["python_version"]
    assert environment.dependencies == ["--require-hashes", "-r constraints.txt"]
    conf = yaml.safe_load((path / "confs" / "train.yaml").read_text("utf-8"))
    assert conf["seed"] == answers["seed"]
    datasets = yaml.safe_load((path / "data" / "datasets.yaml").read_text("utf-8"))
    assert conf["dataset"] in str(datasets)


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("My Bikes!", "my_bikes"),
        ("2024-churn", "project_2024_churn"),
        ("test", "project_test"),
        ("requests", "project_requests"),
        ("café", "cafe"),
        ("Ma\u0308dchen Größe", "madchen_grosse"),
        ("---", "project"),
        ("日本", "project"),
        ("n" * 39 + " too long", "n" * 39),
    ],
)
def test_default_package_name_follows_from_a_nasty_folder_name(
    folder: str, package: str, questions: Path, tmp_path: Path
) -> None:
    path = copy_project(tmp_path / folder, source=questions)
    answers = yaml.safe_load((path / ".copier-answers.yml").read_text("utf-8"))
    assert (answers["project_name"], answers["package_name"]) == (folder, package)
    assert (path / package / "__main__.py").exists()


# --- Refusals -----------------------------------------------------------------
JINJA = ["{{ 7 * 7 }}", "{% raw %}", "{# note #}"]
CONTROL = ["two\nlines", "bell\x07", "nul\x00", "c1\x85control", "line\u2028separator"]
REFUSED: list[tuple[str, Any, str]] = [
    *(("project_name", text, "braces and control characters") for text in [*JINJA, *CONTROL, "a/b", "/abs"]),
    *(("project_name", text, "Give a name") for text in ["", "  ", " padded ", "trailing\n"]),
    ("project_name", "x" * 81, "At most 80"),
    *(("description", text, "One line") for text in [*JINJA, *CONTROL]),
    *(("description", text, "One sentence") for text in ["", " padded"]),
    *(("author_name", text, "One line") for text in [*JINJA, *CONTROL, "Ada <ada@example.com>"]),
    ("author_name", "trailing\n", "Without spaces"),
    *(
        ("author_email", text, "not an e-mail address")
        for text in ["ada", "ada@", "@example.com", "ada@example", "a b@example.com", 'a"@example.com', "a@b.co\n"]
    ),
    *(
        ("package_name", name, "is taken")
        for name in ["random", "tests", "mlflow", "class", "null", "git", "requests", "sklearn", "nul"]
    ),
    *(
        ("package_name", name, "Lower-case letters")
        for name in ["Bikes", "2bikes", "my-bikes", "a.b", "a/b", "../up", "_x", "x_", "", "bikes\n", "größe"]
    ),
    ("package_name", "x" * 51, "At most 50"),
    *(("seed", number, "from 0 to 4294967295") for number in [-1, 2**32]),
    *(
        ("python_version", text, "3.11, 3.12")
        for text in ["3.10", "3.15", "3.11.x", ">=3.11", "3", "3.11.07", "3.11\n"]
    ),
    *(
        ("tracking_uri", text, "without credentials")
        for text in [
            "https://ada:secret@mlflow.example.com",
            "https://token@mlflow.example.com",
            "https://mlflow.example.com/?token=secret",
            "mlflow.example.com",
            "file:///tmp",
            "https://",
            "https://x.example\n",
            'https://x"y',
        ]
    ),
    ("license", "GPL-3.0", "Invalid choice"),
    ("task", "clustering", "Invalid choice"),
    ("task", "images", "Images are for the networks of PyTorch and TensorFlow"),
    ("framework", "jax", "Invalid choice"),
    ("tracking", "wandb", "Invalid choice"),
    ("ci", "jenkins", "Invalid choice"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_bad_answer_is_refused_and_nothing_is_rendered(
    name: str, value: Any, message: str, questions: Path, tmp_path: Path
) -> None:
    answers = {"tracking": "server"} if name == "tracking_uri" else {}
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        copy_project(tmp_path / "bikes", source=questions, **answers, **{name: value})
    assert f"'{name}'" in str(refusal.value)
    assert not (tmp_path / "bikes").exists()


def test_the_reserved_names_are_those_of_python_of_the_locks_and_of_the_folders() -> None:
    assert reserved.names(TEMPLATE) == RESERVED, f"{reserved.FILE} is stale: `just reserved` writes it"
    assert {"type", "yaml", "nvidia", "confs", "null", "com1"} <= set(RESERVED)


def test_the_reserved_names_are_the_same_on_every_supported_python() -> None:
    for python in other_pythons().values():
        command = [python, "-B", "-c", "import reserved; print(*reserved.names(reserved.ROOT))"]
        done = subprocess.run(command, cwd=TEMPLATE / "scripts", capture_output=True, text=True, check=True)
        assert done.stdout.split() == RESERVED


def test_a_name_that_a_project_has_stays_when_it_is_reserved_later(questions: Path, tmp_path: Path) -> None:
    template, project = tmp_path / "template", tmp_path / "bikes"
    shutil.copytree(questions, template)
    copy_project(project, source=template, package_name="rentals")
    names = template / reserved.FILE
    names.write_text(names.read_text("utf-8") + "rentals\n", "utf-8")
    copier.run_copy(str(template), project, defaults=True, overwrite=True, quiet=True)
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert answers["package_name"] == "rentals"
    with pytest.raises(ValueError, match="is taken"):
        copy_project(tmp_path / "new", source=template, package_name="rentals")


# --- copier.yml ---------------------------------------------------------------
def test_copier_yml_holds_only_what_copier_knows_and_needs_no_trust() -> None:
    assert contract.unknown_keys(CONFIG) == set()
    planted = CONFIG | {"_skip_if_exist": [], "_tasks": ["true"], "seed": CONFIG["seed"] | {"defualt": 1}}
    assert contract.unknown_keys(planted) == {"_skip_if_exist", "_tasks", "seed.defualt"}


def test_every_question_has_help_a_type_and_a_default() -> None:
    for name, question in QUESTIONS.items():
        assert {"type", "default"} <= question.keys(), name
        assert "help" in question or question["when"] is False, name
        assert "choices" in question or "validator" in question or question["when"] is False, name


# --- Ownership ----------------------------------------------------------------
#: Of a project of package `bikes`. Y: yours after the first render. T: the template's. Said again here, apart from
#: copier.yml and the site: a file that changes sides would be overwritten by an update, or never reached by one.
OWNERS = {
    **dict.fromkeys(["constraints.txt", "constraints-build.txt", "constraints-cluster.txt"], "Y"),
    **dict.fromkeys(["constraints-dev.txt", "confs/train.yaml", "confs/sweep.yaml"], "Y"),
    **dict.fromkeys(["data/datasets.yaml", "data/breast_cancer.csv", "data/diabetes.csv", "README.md", "LICENSE"], "Y"),
    **{f"bikes/{name}.py": "Y" for name in ["__init__", "__main__", "settings", "train", "model", "features", "plots"]},
    **{
        f"bikes/{name}.py": "Y"
        for name in ["batches", "curves", "epochs", "fit", "fitted", "images", "parallel", "progress", "state"]
    },
    **dict.fromkeys(["data/digits.zip", "data/digits.files", "data/.gitignore"], "Y"),
    **{f"bikes/{name}.py": "Y" for name in ["checks", "dates", "evaluation", "metrics", "preprocessing", "split"]},
    **dict.fromkeys(["MLproject", "python_env.yaml", "pyproject.toml", "justfile", ".githooks/pre-commit"], "T"),
    **dict.fromkeys([".gitignore", ".gitattributes", ".env.example", ".copier-answers.yml"], "T"),
    **dict.fromkeys([".github/workflows/ci.yml", ".github/workflows/template-update.yml"], "T"),
    **dict.fromkeys([".gitlab-ci.yml", ".github/workflows/image.yml", "renovate.json"], "T"),
    **dict.fromkeys(["Dockerfile", ".dockerignore", ".devcontainer/devcontainer.json"], "T"),
}
OWNED_FOLDERS = {"tests/": "Y", ".vscode/": "Y", "bikes/reproducibility/": "T"}


def test_copier_itself_leaves_alone_what_is_yours() -> None:
    excluded = [contract.ON_UPDATE.fullmatch(pattern)[1] for pattern in CONFIG["_exclude"]]
    assert excluded[: len(CONFIG["_skip_if_exists"])] == CONFIG["_skip_if_exists"]
    assert all(path.removeprefix("!").startswith("/") for path in excluded), "would match in every folder"


@pytest.mark.parametrize(
    "answers",
    [
        {"task": "classification", "ci": "github", "updates": "pull-request"},
        {"task": "regression", "ci": "gitlab", "updates": "renovate"},
        *({"task": "images", "framework": framework} for framework in NETWORKS),
    ],
)
def test_every_rendered_path_is_yours_or_the_templates_as_designed(answers: dict[str, str], tmp_path: Path) -> None:
    files = tree(copy_project(tmp_path / "bikes", **answers))
    for name in files:
        owner = "Y" if is_yours(name) else "T"
        folder = next((letter for prefix, letter in OWNED_FOLDERS.items() if name.startswith(prefix)), None)
        assert owner == OWNERS.get(name, folder), name


def test_the_site_shows_the_tree_of_a_render(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "bikes")
    page = tree_of.PAGE.read_text("utf-8")
    drawn = marked.fill(page, tree_of.BEGIN, tree_of.END, tree_of.text(project))
    assert page == drawn, "the site's tree is stale: `just tree` writes it"
    assert all((project / name).exists() for name in tree_of.TOLD)


def test_the_site_says_who_owns_what() -> None:
    text = tree_of.PAGE.read_text("utf-8")
    named = {
        owner: {path.replace("PACKAGE", "{{ package_name }}") for path in re.findall("`([^`]+)`", row)}
        for owner, row in re.findall(r"^\| (yours|the template's).*?\| (.*?) \|", text, re.MULTILINE)
    }
    assert named["yours"] == {path[1:].replace(" | default('*')", "") for path in CONFIG["_skip_if_exists"]}
    others = [path for path in contract.paths(TEMPLATE, "HEAD") if not is_yours(path, contract.PACKAGE)]
    places = [place.replace("{{ package_name }}", contract.PACKAGE) for place in named["the template's"]]
    assert [path for path in others if not path.startswith(tuple(places))] == []
    assert [place for place in places if not any(path.startswith(place) for path in others)] == []


# --- One skeleton -------------------------------------------------------------
@pytest.mark.parametrize("task", ["tables", "images"])
def test_settings_of_all_frameworks_share_one_skeleton(task: str) -> None:
    """Without their hyperparameters all are parts of the longest, line by line: what more it has is its framework's."""
    files = list(TEMPLATE.glob("template/*framework ==*/**/settings.py"))
    files = [file for file in files if ("task == 'images'" in str(file)) == (task == "images")]
    assert len(files) == len(NETWORKS if task == "images" else FRAMEWORKS)
    hyperparameters = re.compile(r"(?s)(?<=class ModelSettings\(Section\):\n).*?(?=\n\nclass )")
    skeletons = [hyperparameters.sub("", path.read_text("utf-8")).splitlines() for path in files]
    for lines in skeletons:
        longest = iter(max(skeletons, key=len))
        assert [line for line in lines if line not in longest] == []


def test_all_trainings_on_tables_begin_alike() -> None:
    begin = re.compile(r"(?s)    table = run\.dataset.*?    run\.stage\(\"features\".*?\n")
    files = [file for file in TEMPLATE.glob("template/**/train.py") if "task == 'images'" not in str(file)]
    assert len(files) == 4, "one a task, for the forest and for what stops early"
    assert len({begin.search(path.read_text("utf-8"))[0] for path in files}) == 1


# --- The real commands --------------------------------------------------------
@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the template with two releases: the working tree, and one that changed every sort of file."""
    folder = tmp_path_factory.mktemp("releases") / "t"
    copy_template(folder)
    git(folder, "init", "--quiet")
    commit(folder, "First", "1.0.0")
    template = folder / "template"
    for path in [template / "justfile", template / "README.md.jinja", *template.rglob("constraints.txt")]:
        path.write_text(path.read_text("utf-8") + "\n# Later\n", "utf-8")
    for path in [*template.rglob("train.py"), *template.rglob("test_*.py.jinja"), *template.rglob("upkeep.py")]:
        path.write_text("# Later\n" + path.read_text("utf-8"), "utf-8")
    commit(folder, "Second", "1.1.0")
    return folder


def commit(folder: Path, message: str, tag: str | None = None) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", message)
    if tag:
        git(folder, "tag", tag)


def run_copier(*arguments: str, cwd: Path, umask: int = -1, **variables: str) -> str:
    """Run the real command, without --trust."""
    command = [sys.executable, "-m", "copier", *arguments]
    # stdin is no terminal: a question that is asked all the same ends the command.
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | variables,
        umask=umask,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def modes(folder: Path) -> dict[str, int]:
    return {name: stat.S_IMODE((folder / name).stat().st_mode) for name in tree(folder)}


def executable(folder: Path) -> set[str]:
    return {name for name, mode in modes(folder).items() if mode & stat.S_IXUSR}


def test_same_answers_and_version_give_the_same_bytes_everywhere(releases: Path, tmp_path: Path) -> None:
    texts = {"project_name": NAMES[0], "description": SENTENCES[4], "author_name": AUTHORS[5]}
    data = tmp_path / "answers.yml"
    data.write_text(yaml.safe_dump(texts | {"package_name": "bikes"}, allow_unicode=True), "utf-8")
    arguments = ["copy", "--defaults", "--quiet", "--vcs-ref=1.0.0", f"--data-file={data}", str(releases)]
    elsewhere = tmp_path / "another folder"
    elsewhere.mkdir()
    first, same_umask, other_umask = tmp_path / "first", elsewhere / "zwei", elsewhere / "3"
    run_copier(*arguments, str(first), cwd=tmp_path, umask=0o022)
    foreign = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONHASHSEED": "7", "USER": "nobody"}
    run_copier(*arguments, "zwei", cwd=elsewhere, umask=0o022, **foreign)
    run_copier(*arguments, str(other_umask), cwd=Path("/"), umask=0o077, LC_ALL="C.UTF-8", COLUMNS="40")
    assert tree(first) == tree(same_umask) == tree(other_umask)
    assert modes(first) == modes(same_umask)
    # Of the mode, the umask may decide who reads, and git keeps the rest.
    assert executable(first) == executable(same_umask) == executable(other_umask) == {".githooks/pre-commit"}


def test_message_after_copying_holds_commands_that_work(releases: Path, tmp_path: Path) -> None:
    output = run_copier("copy", "--defaults", str(releases), "it's my bikes", cwd=tmp_path)
    commands = [line.strip() for line in output.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in commands] == ["cd", "git", "just", "just", "just"]
    script = "\n".join([*commands[:2], "pwd", *(line.replace("just", "just --dry-run", 1) for line in commands[2:])])
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "it's my bikes") in done.stdout


def test_public_command_renders_without_trust(releases: Path, tmp_path: Path) -> None:
    address = "https://example.com/copier-mlflow.git"
    # git reads the address from a folder instead: the command is the one of the README.
    rewrite = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{releases.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
        "COPIER_CACHE_DIR": str(tmp_path / "cache"),
    }
    run_copier("copy", address, "bikes", "--defaults", cwd=tmp_path, **rewrite)
    answers = yaml.safe_load((tmp_path / "bikes" / ".copier-answers.yml").read_text("utf-8"))
    assert (answers["_src_path"], answers["_commit"]) == (address, "1.1.0")
    assert "reserved_names" not in answers


def test_update_of_a_project_from_a_relative_path_keeps_what_is_yours(releases: Path, tmp_path: Path) -> None:
    (tmp_path / "t").symlink_to(releases)
    run_copier("copy", "./t", "bikes", "--defaults", "--vcs-ref=1.0.0", cwd=tmp_path)
    project = tmp_path / "bikes"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert Path(answers["_src_path"]).is_absolute()
    assert Path(answers["_src_path"]).samefile(releases)
    git(project, "init", "--quiet")
    commit(project, "Start")
    mine = {"bikes/train.py": "# Mine\n", "README.md": "# Mine\n"}
    for name, content in mine.items():
        (project / name).write_text(content)
    for name in ["tests/test_train.py", "constraints-build.txt"]:
        (project / name).unlink()
    justfile = project / "justfile"
    justfile.write_text("# Mine\n" + justfile.read_text("utf-8"), "utf-8")
    commit(project, "Edit")
    before = tree(project)
    run_copier("update", "--defaults", cwd=project)
    after = tree(project)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"justfile", "bikes/reproducibility/cli/upkeep.py", ".copier-answers.yml"}
    assert after["bikes/reproducibility/cli/upkeep.py"].startswith(b"# Later\n")
    assert after["justfile"].startswith(b"# Mine\n") and after["justfile"].endswith(b"# Later\n")
    assert git(project, "ls-files", "--unmerged") == ""
    assert yaml.safe_load(after[".copier-answers.yml"])["_commit"] == "1.1.0"


@pytest.mark.slow
def test_oldest_supported_copier_renders_the_same(releases: Path, tmp_path: Path) -> None:
    oldest = CONFIG["_min_copier_version"]
    arguments = ["copy", "--defaults", "--vcs-ref=1.0.0", f"--data=project_name={NAMES[0]}", str(releases)]
    run_copier(*arguments, "new", cwd=tmp_path)
    command = ["uvx", "--python", sys.executable, "--from", f"copier=={oldest}", "copier", *arguments, "old"]
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{oldest}" in subprocess.run([*command[:6], "--version"], capture_output=True, text=True).stdout
    new, old = tree(tmp_path / "new"), tree(tmp_path / "old")
    assert new == old


@pytest.mark.slow
def test_copier_that_is_too_old_says_so_and_renders_nothing(releases: Path, tmp_path: Path) -> None:
    command = ["uvx", "--python", sys.executable, "--from", "copier==9.14.3", "copier", "copy", "--defaults"]
    done = subprocess.run([*command, str(releases), "bikes"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"requires Copier version >= {CONFIG['_min_copier_version']}" in done.stderr
    assert not (tmp_path / "bikes").exists()


# --- Types and names, in the rendered environment ------------------------------
@pytest.fixture(
    params=[
        ("classification", "scikit-learn"),
        pytest.param(("regression", "scikit-learn"), marks=pytest.mark.slow),
        pytest.param(("classification", "xgboost"), marks=pytest.mark.slow),
        pytest.param(("regression", "lightgbm"), marks=pytest.mark.slow),
        pytest.param(("regression", "pytorch"), marks=pytest.mark.slow),
        pytest.param(("classification", "tensorflow"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def rendered(request: pytest.FixtureRequest, set_up: Any) -> Iterator[Project]:
    yield set_up(*request.param)


@pytest.mark.e2e
def test_types_and_docstrings_are_clean(rendered: Project) -> None:
    python = str(rendered.path / ".venv" / "bin" / "python")
    harness = f"{rendered.package}/reproducibility"
    rendered.run(python, "-m", "mypy")
    rendered.run(python, "-m", "mypy", "--strict", harness)
    numpy = ["--config", 'lint.pydocstyle.convention="numpy"']
    rendered.run(python, "-m", "ruff", "check", "--select", "D", *numpy, harness)


@pytest.mark.e2e
def test_no_module_of_the_environment_is_a_possible_package_name(rendered: Project) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    found = json.loads(rendered.run(str(rendered.path / ".venv" / "bin" / "python"), "-c", code).stdout)
    assert "sklearn" in found
    possible = {name: packages for name, packages in found.items() if re.fullmatch(r"[a-z][a-z0-9_]*(?<!_)", name)}
    assert possible.keys() <= set(RESERVED)
    installed: dict[str, set[str]] = {}
    for name, packages in possible.items():
        for package in packages:
            installed.setdefault(re.sub("[-_.]+", "-", package).lower(), set()).add(name)
    assert installed == {package: reserved.imports(package) for package in installed}


@pytest.mark.e2e
def test_wheel_carries_difficult_answers(tmp_path: Path) -> None:
    answers = {"description": SENTENCES[0], "author_name": AUTHORS[2], "author_email": EMAILS[2]}
    project = Project(copy_project(tmp_path / "bikes", **answers))
    project.just("package-build")
    [wheel] = (project.path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(name), policy=email.policy.default)
    assert metadata["Summary"] == answers["description"]
    assert answers["author_email"] in metadata["Author-email"]
