"""The tracking server in its container: settings and secrets handed to MLflow, and the schema of its database.

`serve` starts it, `schema` compares the database with this MLflow, `upgrade` brings it up to date, `health` asks it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

SECRETS = Path("/run/secrets")
#: Without a password, which psycopg takes from the file that PGPASSFILE names: it stands in no log and no `ps`.
DATABASE = "postgresql://mlflow@database:5432/mlflow"
ADMIN = "admin"
#: The tables in which MLflow and its basic-auth keep their versions, and the folders that know all of them.
SCHEMAS = {"alembic_version": "store/db_migrations", "alembic_version_auth": "server/auth/db/migrations"}
LOCAL = ("127.0.0.1", "localhost")


def secret(name: str) -> str:
    """Read what only this container may know."""
    return (SECRETS / name).read_text("utf-8").strip()


def private(name: str, content: str) -> str:
    """Write a file that is in memory only, and give its path."""
    path = Path("/tmp", name)  # noqa: S108 - a tmpfs of this container's own
    path.touch(mode=0o600)
    path.write_text(content, "utf-8")
    return str(path)


def prepare() -> None:
    """Set what MLflow, psycopg and boto3 read."""
    os.environ["PGPASSFILE"] = private("pgpass", f"database:5432:mlflow:mlflow:{secret('database-password')}\n")
    if (SECRETS / "s3-credentials").stat().st_size:
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(SECRETS / "s3-credentials")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    if not os.environ["MLFLOW_S3_ENDPOINT_URL"]:
        del os.environ["MLFLOW_S3_ENDPOINT_URL"]


def serve() -> None:
    """Start MLflow. Does not return."""
    problems = [f"{table}: {said}" for table, said in states().items() if said not in {"well", "empty"}]
    if problems:
        sys.exit(f"The database is not of this MLflow's schema ({', '.join(problems)}). See `just server-up`.")
    # Read by MLflow's basic-auth. A password that was accepted is for a minute without asking the database again.
    settings = {
        "default_permission": "READ",
        "database_uri": DATABASE,
        "admin_username": ADMIN,
        "admin_password": secret("admin-password"),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": "60",
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = private("basic_auth.ini", "\n".join(["[mlflow]", *lines, ""]))
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secret("session-key")
    os.environ["MLFLOW_BACKEND_STORE_URI"] = DATABASE
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # of MLflow's GenAI pages; four more processes
    addresses = [urlsplit(address) for address in os.environ["SERVER_ADDRESS"].split(",")]
    hosts = {host for address in addresses for host in (address.hostname, address.netloc)} | set(LOCAL)
    hosts |= {f"{host}:*" for host in LOCAL}
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(sorted(hosts))
    # What a browser names as the origin of the server's own pages, which MLflow takes for a stranger's otherwise.
    origins = sorted({f"{address.scheme}://{address.netloc}" for address in addresses})
    os.environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins)
    # Beside the artifacts, since an upload may be larger than the memory that /tmp is.
    uploads = Path("/artifacts/.uploads")
    shutil.rmtree(uploads, ignore_errors=True)
    uploads.mkdir()
    os.environ["TMPDIR"] = str(uploads)
    command = ["mlflow", "server", "--app-name", "basic-auth", "--host", "0.0.0.0", "--port", "5000"]  # noqa: S104
    command += ["--workers", os.environ["SERVER_WORKERS"], "--serve-artifacts"]
    command += ["--artifacts-destination", os.environ["SERVER_ARTIFACTS"]]
    os.execvp(command[0], command)  # noqa: S606 - signals reach MLflow itself


def states() -> dict[str, str]:
    """Say of each schema whether it is "well", "empty" (not made yet), or "older" or "newer" than this MLflow's."""
    import psycopg

    found = {}
    with psycopg.connect(DATABASE, connect_timeout=10) as connection:
        for table, folder in SCHEMAS.items():
            [there] = connection.execute("SELECT to_regclass(%s)", [f"public.{table}"]).fetchone() or [None]
            row = connection.execute(f"SELECT version_num FROM {table}").fetchone() if there else None  # noqa: S608
            newest, known = revisions(folder)
            version = row[0] if row else None
            found[table] = (
                "empty"
                if version is None
                else "well"
                if version == newest
                else "older"
                if version in known
                else "newer"
            )
    return found


def revisions(folder: str) -> tuple[str, set[str]]:
    """Give the newest schema that the installed MLflow knows, and all of them, without importing it."""
    from importlib.util import find_spec

    package = Path(find_spec("mlflow").origin).parent  # type: ignore[union-attr, arg-type]
    texts = [path.read_text("utf-8") for path in (package / folder / "versions").glob("*.py")]
    names = {found[1] for text in texts if (found := re.search(r"(?m)^revision\b[^=]*= [\"'](\w+)", text))}
    before = {found[1] for text in texts if (found := re.search(r"(?m)^down_revision\b[^=]*= [\"'](\w+)", text))}
    [newest] = names - before
    return newest, names


def upgrade() -> None:
    """Bring both schemas to those of this MLflow."""
    import mlflow.store.db.utils
    import sqlalchemy
    from mlflow.server.auth.db.utils import migrate

    engine = sqlalchemy.create_engine(DATABASE)
    mlflow.store.db.utils._upgrade_db(engine)
    migrate(engine, "head")


def main() -> None:
    """Do what the first argument says."""
    command = sys.argv[1]
    if command == "health":
        urllib.request.urlopen("http://127.0.0.1:5000/health", timeout=8).close()
        return
    prepare()
    if command == "serve":
        serve()
    elif command == "upgrade":
        upgrade()
    from importlib.metadata import version

    print(json.dumps({"mlflow": version("mlflow"), "schemas": states()}))


if __name__ == "__main__":
    main()
