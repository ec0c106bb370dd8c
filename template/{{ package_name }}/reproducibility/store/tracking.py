"""Where runs go: the same store and experiment for every way to start a run."""

from __future__ import annotations

import getpass
import http.client
import os
import shlex
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ..common import addresses, terminal
from ..common.errors import ProjectError, wrapped
from ..common.project import ROOT, options
from . import joining, saved_view, sqlite, sqlite_connection


def store_uri() -> str:
    """Name the tracking store: MLFLOW_TRACKING_URI, else the project's own, with an absolute path."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or options()["tracking-uri"]
    if path := sqlite.path_of(uri):
        return sqlite.uri(ROOT / path) + "".join(uri.partition("?")[1:])
    return uri


def database() -> Path | None:
    """Give the path of the store's database where it is a file."""
    return sqlite.path_of(store_uri())


@terminal.waiting("opening the tracking store")
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


def open_experiment(name: str | None = None) -> str:
    """Do what `connect` does, of a store that was required just before and need not be asked again.

    Parameters
    ----------
    name : str, optional
        Of another experiment than the project's own.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        if active := mlflow.active_run():
            return str(active.info.experiment_id)
        if run := joining.invited():
            print(f"tracking: {public(store_uri())}")
            require_own_place(run.info.artifact_uri)
            return str(run.info.experiment_id)
        return _experiment(name or experiment_name())
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
    # A bar for each small file of a record would stand between the lines that a person reads.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        getpass.getuser()
    except (KeyError, OSError):  # in a container the person who calls has no name, and MLflow wants one
        os.environ["USER"] = str(os.getuid())
    server = os.environ.get("DATABRICKS_HOST", "") if uri.startswith("databricks") else uri
    if server.startswith(("http://", "https://")):
        # Artifacts go through the server. MLflow would take an address of its S3 store from it, which may be one that
        # only the server reaches, and try that for minutes.
        for way in ("UPLOAD", "DOWNLOAD"):
            os.environ.setdefault(f"MLFLOW_ENABLE_PROXY_MULTIPART_{way}", "false")
        _require_answer(server)
    elif path := database():
        sqlite.require(path)
        sqlite_connection.wait_for_others(path)


def explain(error: Exception) -> ProjectError:
    """Turn an error of the tracking store into one that says what to do."""
    if ours := wrapped(error):
        return ours
    uri = public(store_uri())
    if "database schema" in str(error):
        return sqlite.another_mlflow(uri)
    if "failed with error code 403" in str(error):
        return ProjectError(
            f"the tracking server {uri} knows you, and does not let you do this: you may read there, and not write.",
            "Ask its administrator for the right: just server-user role NAME edit\n"
            "or take the credentials in .env of somebody who has it.",
        )
    first_line = str(error).replace(store_uri(), uri).strip().partition("\n")[0][:300]
    return ProjectError(
        f"the tracking store {uri} refused: {first_line}",
        "Check MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and the credentials in .env; `just doctor` looks further.",
    )


def public(uri: str) -> str:
    """Leave what opens a store or a repository out of its URI, for messages."""
    if path := sqlite.path_of(uri):
        return f"{sqlite.SCHEME}{path}"
    if uri.startswith("databricks"):  # what looks like a port is a name
        return addresses.without_user(uri)
    return addresses.public(uri)


def command_line(command: str, identity: str) -> str:
    """Write down how MLflow's own command line does something to the store in use."""
    store, python = shlex.quote(public(store_uri())), shlex.quote(sys.executable)
    return f"MLFLOW_TRACKING_URI={store} {python} -m mlflow {command} {identity}"


def experiment_name() -> str:
    """Name the project's experiment: MLFLOW_EXPERIMENT_NAME, else the one of pyproject.toml."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or options()["experiment"]


def _experiment(name: str) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    path = database()
    if path and not path.exists():
        sqlite.create(path, ROOT / "mlruns")
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is None:
        # The default location would be the folder that happened to create the database.
        location = (ROOT / "mlruns").as_uri() if is_own_store() else None
        try:
            # The kind opens MLflow's UI on training runs, not on its pages for language models.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            mlflow.create_experiment(name, location, kind | saved_view.tags())
        except MlflowException as error:  # of two first runs at once both make it
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = mlflow.get_experiment_by_name(name)
    require_own_place(experiment.artifact_location)
    if experiment.lifecycle_stage == "deleted":
        raise ProjectError(
            f"the experiment {name!r} was deleted; until it is restored, no run can be logged there.",
            f"{command_line('experiments restore -x', experiment.experiment_id)}\n"
            "or another `experiment` in pyproject.toml.",
        )
    mlflow.set_experiment(experiment_id=experiment.experiment_id)
    return str(experiment.experiment_id)


def require_own_place(location: str) -> None:
    """Stop if the project's own store keeps its artifacts in another folder, as after a copy or a move."""
    path = local_path(location)
    if not is_own_store() or path is None or path.is_relative_to(ROOT):
        return
    if Path(location).is_relative_to(ROOT):
        raise ProjectError(
            f"MLflow takes the % in {location} for a code, and would write into {path}.",
            "just relocate      writes it as an address, in which a % is one",
        )
    raise ProjectError(
        f"this folder was copied or moved: its runs would write into {path}.",
        "just relocate      points the store here, after a backup of the database\n"
        "or start afresh: delete mlflow.db and mlruns/ here.",
    )


def local_path(location: str) -> Path | None:
    """Turn an artifact location into a path as MLflow does, or into None where it is not on this machine's disk."""
    if location.startswith("file:"):
        location = urlsplit(location).path
    return None if "://" in location else Path(urllib.request.url2pathname(location))


def is_own_store() -> bool:
    """Tell whether the store is a database in the project's folder."""
    path = database()
    return path is not None and Path(os.path.normpath(path)).is_relative_to(ROOT)


def _require_answer(uri: str) -> None:
    """Ask once and briefly: MLflow itself would retry for minutes before it says that nobody is there."""
    try:
        # Without user name and password, which urllib would take for a part of the host's name.
        health = f"{addresses.without_user(uri).rstrip('/')}/health"
        urllib.request.urlopen(health, timeout=10).close()  # noqa: S310 - http(s) only
    except (urllib.error.HTTPError, http.client.HTTPException):
        pass  # it answered
    except OSError as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):
            return  # it answered; MLflow knows of certificates that Python does not (MLFLOW_TRACKING_SERVER_CERT_PATH)
        raise ProjectError(
            f"the tracking server {public(uri)} does not answer: {getattr(error, 'reason', error)}.",
            "Start the server, or correct MLFLOW_TRACKING_URI (.env) or tracking-uri (pyproject.toml).\n"
            "To go on without it: MLFLOW_TRACKING_URI=sqlite:///mlflow.db just train",
        ) from error
