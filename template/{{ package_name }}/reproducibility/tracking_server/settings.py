"""What the tracking server of this machine is told: settings in `.env`, secrets in files of their own."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from ..common import ports
from ..common.errors import ProjectError
from ..common.files import write_whole
from ..common.project import PACKAGE, ROOT, options

FOLDER = ROOT / "tracking-server"
SETTINGS, SECRETS, BACKUPS = FOLDER / ".env", FOLDER / "secrets", FOLDER / "backups"
ADMIN = "admin"
#: Generated, each a file that compose hands to the containers that need it.
GENERATED = ("database-password", "admin-password", "session-key")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
TEXT = """\
# The tracking server of this machine, as compose.yaml reads it. Secrets are in secrets/, and neither is in git.
# After a change: just server-up

# Names its containers and volumes: with another name it is another server.
COMPOSE_PROJECT_NAME={name}
# As people and browsers reach it, several separated by commas; requests to another address are refused.
SERVER_ADDRESS={address}
# Where it listens. It speaks http: put a proxy with TLS before it, rather than let it listen beyond this machine.
SERVER_BIND=127.0.0.1
SERVER_PORT={port}
#SERVER_WORKERS=2

# Artifacts in an S3 store instead of a volume of this machine; its keys go into secrets/s3-credentials:
#   [default]
#   aws_access_key_id = …
#   aws_secret_access_key = …
#SERVER_ARTIFACTS=s3://bucket/folder
#SERVER_S3_ENDPOINT=https://s3.example.com
#SERVER_S3_REGION=us-east-1

# Other images than compose.yaml names: from a registry of your own, or another release.
#SERVER_PYTHON_IMAGE=
#SERVER_POSTGRES_IMAGE=
"""


def require_folder() -> None:
    """Stop where the project has no tracking server of its own.

    Raises
    ------
    ProjectError
        With what to do instead.
    """
    if not (FOLDER / "compose.yaml").exists():
        raise ProjectError(
            f"this project's runs go to {options()['tracking-uri']}, and it has no tracking-server/ to start.",
            "just template-update --data tracking=server      brings one, on a clean working tree",
        )


def create(address: str | None, port: int | None) -> str | None:
    """Write `.env` and generate the secrets, where they are not there yet; nothing is overwritten.

    Parameters
    ----------
    address : str, optional
        As people reach the server; by default the project's `tracking-uri`.
    port : int, optional
        On which it listens; by default that of a loopback address, else 5000.

    Returns
    -------
    str or None
        The administrator's password, if it was generated now.
    """
    require_folder()
    address = address or options()["tracking-uri"]
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or parts.hostname is None or parts.username or parts.password:
        raise ProjectError(
            f"{address.rpartition('@')[2]!r} is no address of a server.", "--address https://mlflow.example.com"
        )
    if not SETTINGS.exists():
        # Two clones on one machine are two servers.
        name = f"{PACKAGE}-tracking-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}".replace("_", "-")
        own = parts.port if parts.hostname in LOOPBACK else None
        _write(SETTINGS, TEXT.format(name=name, address=address.rstrip("/"), port=port or own or 5000), 0o600)
    SECRETS.mkdir(mode=0o700, exist_ok=True)
    made = {name: secrets.token_urlsafe(32) for name in GENERATED if not (SECRETS / name).exists()}
    for name, value in ({} if (SECRETS / "s3-credentials").exists() else {"s3-credentials": ""} | made).items():
        # The containers' users are none of this machine's, so each may read it; the folder lets nobody else in.
        _write(SECRETS / name, value, 0o444)
    return made.get("admin-password")


def read() -> dict[str, str]:
    """Read the settings; variables of the shell win, as they do for compose.

    Raises
    ------
    ProjectError
        If they were not made yet, or are open to others.
    """
    require_folder()
    if not SETTINGS.exists() or not all((SECRETS / name).exists() for name in (*GENERATED, "s3-credentials")):
        raise ProjectError("the tracking server has no settings or secrets on this machine.", "just server-init")
    for path, fix in ((SETTINGS, "chmod 600"), (SECRETS, "chmod 700")):
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ProjectError(f"{path.relative_to(ROOT)} is open to other people of this machine.", f"{fix} {path}")
    lines = SETTINGS.read_text("utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): os.environ.get(name.strip(), value.strip().strip("\"'")) for name, value in found.items()}


def own_address() -> str:
    """Name the address at which this machine reaches the server."""
    settings = read()
    bound = settings.get("SERVER_BIND", "127.0.0.1")
    return f"http://{'127.0.0.1' if bound == '0.0.0.0' else bound}:{settings.get('SERVER_PORT', '5000')}"  # noqa: S104


def is_taken() -> bool:
    """Tell whether something listens where the server is to listen."""
    parts = urlsplit(own_address())
    return ports.listens(parts.hostname or "", parts.port or 0)


def password() -> str:
    """Read the administrator's password."""
    return (SECRETS / "admin-password").read_text("utf-8").strip()


def _write(path: Path, content: str, mode: int) -> None:
    former = os.umask(0o077)
    try:
        write_whole(path, content)
    finally:
        os.umask(former)
    path.chmod(mode)
