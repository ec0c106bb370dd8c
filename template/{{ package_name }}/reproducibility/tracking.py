"""Where runs go: the same store and experiment for every way to start a run."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import sqlite3
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from . import joining
from .project import ROOT, ProjectError, exclusive, options

SQLITE = "sqlite:///"


def store_uri() -> str:
    """Name the tracking store: MLFLOW_TRACKING_URI, else the project's own, with an absolute path."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or options()["tracking-uri"]
    if uri.startswith(SQLITE):
        return SQLITE + (ROOT / uri.removeprefix(SQLITE)).as_posix()
    return uri


def database() -> Path | None:
    """Give the path of the store's database where it is a file."""
    uri = store_uri()
    # MLflow writes its own default with %20 for a space.
    return Path(unquote(uri.removeprefix(SQLITE))) if uri.startswith(SQLITE) else None


def connect() -> str:
    """Point MLflow at the project's store and experiment; the first MLflow call of every command.

    Inside `mlflow run`, which has already chosen both and created the run, only the store is named.

    Returns
    -------
    str
        The ID of the experiment.

    Raises
    ------
    ProjectError
        If the store is down, is of another MLflow's schema, or belongs to another folder.
    """
    require_store()
    return open_experiment()


def open_experiment() -> str:
    """Do what `connect` does, of a store that was required just before and need not be asked again."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        if active := mlflow.active_run():
            return str(active.info.experiment_id)
        if run := joining.invited():
            print(f"tracking: {public(store_uri())}")
            require_own_place(run.info.artifact_uri)
            return str(run.info.experiment_id)
        local = database()
        # Of two first runs at once both would create the tables, and one would fail.
        with exclusive(local) if local else contextlib.nullcontext():
            return _experiment()
    except MlflowException as error:
        raise explain(error) from error


def require_store() -> None:
    """Name the store to MLflow, and stop at once where nobody answers or the file is no store.

    Raises
    ------
    ProjectError
        If the store is down or cannot be opened.
    """
    uri = store_uri()
    os.environ["MLFLOW_TRACKING_URI"] = uri
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    server = os.environ.get("DATABRICKS_HOST", "") if uri.startswith("databricks") else uri
    if server.startswith(("http://", "https://")):
        _require_answer(server)
    elif path := database():
        _require_database(path)


def explain(error: Exception) -> ProjectError:
    """Turn an error of the tracking store into one that says what to do."""
    import mlflow

    uri = public(store_uri())
    if "database schema" in str(error):
        return ProjectError(
            f"the store {uri} was written by another MLflow than this environment's {mlflow.__version__}.",
            "Open it with the MLflow that wrote it (is `mlflow` on your PATH another one than .venv's?), or, if this\n"
            f"one is newer: copy the database aside, then `.venv/bin/mlflow db upgrade {uri}`.",
        )
    first_line = str(error).replace(store_uri(), uri).strip().partition("\n")[0][:300]
    return ProjectError(
        f"the tracking store {uri} refused: {first_line}",
        "Check MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and the credentials in .env; `just doctor` looks further.",
    )


def public(uri: str) -> str:
    """Leave user names and passwords out of a URI, for messages."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def experiment_name() -> str:
    """Name the project's experiment: MLFLOW_EXPERIMENT_NAME, else the one of pyproject.toml."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or options()["experiment"]


def _experiment() -> str:
    import mlflow

    name = experiment_name()
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is None:
        # The default location would be the folder that happened to create the database.
        location = (ROOT / "mlruns").as_uri() if _is_own_store() else None
        # The kind opens MLflow's UI on training runs, not on its pages for language models.
        mlflow.create_experiment(name, location, {"mlflow.experimentKind": "custom_model_development"})
        experiment = mlflow.get_experiment_by_name(name)
    else:
        require_own_place(experiment.artifact_location)
    mlflow.set_experiment(experiment_id=experiment.experiment_id)
    return str(experiment.experiment_id)


def require_own_place(location: str) -> None:
    """Stop if the project's own store keeps its artifacts in another folder, as after a copy or a move."""
    path = local_path(location)
    if _is_own_store() and path is not None and not path.is_relative_to(ROOT):
        raise ProjectError(
            f"this folder was copied or moved: its runs would write into {path}.",
            "just relocate      points the store here, after a backup of the database\n"
            "or start afresh: delete mlflow.db and mlruns/ here.",
        )


def local_path(location: str) -> Path | None:
    """Turn an artifact location into a path, or None where it is not on this machine's disk."""
    if location.startswith("file:"):
        return Path(urllib.request.url2pathname(urlsplit(location).path))
    return None if "://" in location else Path(location)


def _is_own_store() -> bool:
    path = database()
    return path is not None and path.is_relative_to(ROOT)


def _require_answer(uri: str) -> None:
    """Ask once and briefly: MLflow itself would retry for minutes before it says that nobody is there."""
    try:
        # Without user name and password, which urllib would take for a part of the host's name.
        urllib.request.urlopen(f"{public(uri).rstrip('/')}/health", timeout=10).close()  # noqa: S310 - http(s) only
    except (urllib.error.HTTPError, http.client.HTTPException):
        pass  # it answered
    except OSError as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):
            return  # it answered; MLflow knows of certificates that Python does not (MLFLOW_TRACKING_SERVER_CERT_PATH)
        raise ProjectError(
            f"the tracking server {public(uri)} does not answer: {getattr(error, 'reason', error)}.",
            "Start the server, or correct MLFLOW_TRACKING_URI (.env) or tracking-uri (pyproject.toml).\n"
            f"To go on without it: MLFLOW_TRACKING_URI={SQLITE}mlflow.db just train",
        ) from error


def _require_database(path: Path) -> None:
    """Open the file once: of one that is no database MLflow itself gives pages of traceback."""
    if not path.parent.is_dir():
        raise ProjectError(f"the folder of the store, {path.parent}, does not exist.", f"mkdir -p {path.parent}")
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(path)) as store:
            tables = {row[0] for row in store.execute("SELECT name FROM sqlite_master")}
            schema = "alembic_version" in tables and store.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise ProjectError(
            f"the store {path} cannot be opened: {error}.",
            f"Put a backup in its place, or start afresh: rename it to {path.name}.broken.",
        ) from error
    if schema and _is_outdated(schema[0]):
        raise explain(Exception("an older database schema"))


def _is_outdated(schema: str) -> bool:
    """Tell whether MLflow knows a later schema: it might move to that while it opens the store, and lock others out."""
    mlflow = importlib.util.find_spec("mlflow")
    folders = mlflow.submodule_search_locations if mlflow else None
    scripts = Path((folders or [""])[0], "store", "db_migrations", "versions").glob("*.py")
    return any(f'\ndown_revision = "{schema}"' in script.read_text("utf-8") for script in scripts)


def relocate() -> tuple[Path, int]:
    """Point a copied or moved project's own store at the folder that it lies in now.

    Returns
    -------
    tuple of (Path, int)
        The backup of the database, and how many locations were changed.
    """
    path = database()
    if path is None or not path.exists() or not _is_own_store():
        raise ProjectError(
            "there is no database in this folder to relocate.", "Nothing to do; unset MLFLOW_TRACKING_URI?"
        )
    backup = path.with_name(f"{path.name}.before-relocation-{int(path.stat().st_mtime)}")
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        locations = [row[0] for row in store.execute("SELECT artifact_location FROM experiments")]
        old = {place.rpartition("/mlruns")[0] for place in locations if "/mlruns" in place and local_path(place)}
        old -= {ROOT.as_uri(), ROOT.as_posix()}
        if not old:
            raise ProjectError("the store lies where it belongs.", "Nothing to do.")
        with contextlib.closing(sqlite3.connect(backup)) as copy:
            store.backup(copy)
        changed = 0
        for root in old:
            new = ROOT.as_uri() if root.startswith("file:") else ROOT.as_posix()
            changed += sum(_replace(store, table, column, root, new) for table, column in _texts(store))
    return backup, changed


def _texts(store: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, column[1])
        for table in tables
        for column in store.execute(f'PRAGMA table_info("{table}")')
        if column[1] in {"artifact_uri", "artifact_location", "source", "storage_location"}
    ]


def _replace(store: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    cursor = store.execute(
        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '  # noqa: S608 - names from the schema
        f'WHERE substr("{column}", 1, ?) = ?',
        (new, len(old) + 1, len(old) + 1, f"{old}/"),
    )
    return cursor.rowcount
