# How to work on the template. What it renders has a justfile of its own: template/justfile.

python := ".venv/bin/python"

# Without bytecode every start of MLflow would pay its compilation again.
export PYTHONDONTWRITEBYTECODE := ""

_default:
    @"{{ just_executable() }}" --list

# Render a project, run it twice through MLflow, and show that the two are identical
demo *ARGS: setup
    @{{ python }} scripts/demo.py {{ ARGS }}

# The tests that run nothing heavy: under two minutes
test-fast *ARGS: setup
    {{ python }} -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not e2e and not slow" {{ ARGS }}

# How much of each room of the harness the fast tests execute
coverage *ARGS: setup
    {{ python }} -m coverage erase
    {{ python }} -m coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not e2e and not slow" {{ ARGS }}
    {{ python }} scripts/rooms.py

# The tests, with one real end-to-end run of everything promised: some 22 minutes on two cores
test *ARGS: setup
    {{ python }} -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" {{ ARGS }}

# Write anew what a person approved of the terminal's output and of pages: then read `git diff tests/approved`
approve: setup
    APPROVE=1 {{ python }} -m pytest -q -n 0 tests/test_terminal_output.py tests/test_pages.py -k approved

# The exhaustive rest
test-slow *ARGS: setup
    {{ python }} -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow {{ ARGS }}

# A sample of the exhaustive rest, chosen by the commit, so that all are reached in turn: what CI adds to `just test`
test-sample *ARGS: setup
    {{ python }} -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow --sample 12 {{ ARGS }}

# Every test there is, before a release
test-all: test test-slow

# Compile the locks of this repository and of its tool from pyproject.toml; `just lock -U` upgrades
lock *ARGS:
    uv pip compile --group tool --group render --group run --group check --group test --group bench --group docs {{ ARGS }} --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --no-annotate --output-file constraints.txt
    uv pip compile --group tool --constraint constraints.txt {{ ARGS }} --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --no-annotate --output-file copier_mlflow/constraints.txt

# Write the names that no project's package may have: after a change of the locks, or of the supported Pythons
reserved: setup
    {{ python }} scripts/reserved.py

# Format, lint and types of the template's own code
check: setup
    {{ python }} -m ruff format --check .
    {{ python }} -m ruff check .
    {{ python }} -m mypy --strict --ignore-missing-imports -p copier_mlflow
    "{{ just_executable() }}" --fmt --check --unstable
    "{{ just_executable() }}" --fmt --check --unstable --justfile template/justfile

# Measure, side by side in one run; prints a table, writes bench.json
bench *ARGS: setup
    {{ python }} scripts/bench.py {{ ARGS }}

# Build the site of docs/ into site/; a link that leads nowhere is an error
docs *ARGS: setup
    {{ python }} -m mkdocs build {{ ARGS }}

# Show it on this machine, and again after each change
docs-serve *ARGS: setup
    {{ python }} -m mkdocs serve {{ ARGS }}

# Write the table of self-tests of the site from docs/proofs/*.json
proofs *ARGS: setup
    {{ python }} scripts/proofs.py {{ ARGS }}

# Take the README's pictures, in a Chromium: of a run of ./demo in MLflow's UI, and of its certificate
pictures: demo
    {{ python }} scripts/picture.py

# Write the tree of a render of the site
tree: setup
    {{ python }} scripts/tree.py

# Check that all is ready, and tag a release: `just release 0.2.0`; `--dry-run` only checks
release VERSION *ARGS: setup
    @{{ python }} scripts/release.py {{ VERSION }} {{ ARGS }}

# A table of projects: template version, files of the template's that they changed, last verified run
[positional-arguments]
fleet-status +PATHS: setup
    @{{ python }} -m copier_mlflow status "$@"

# Update projects of any release; `--check` only looks
[positional-arguments]
fleet-update +PATHS: setup
    @JUST="{{ just_executable() }}" {{ python }} -m copier_mlflow update "$@"

# The environment of the recipes above, from constraints.txt, every hash required
[private]
setup:
    @test -x .venv/bin/python || uv venv --quiet --python ">=3.11,<3.15" .venv
    @uv pip sync --quiet --python .venv/bin/python --require-hashes constraints.txt
