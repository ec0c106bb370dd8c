"""Commands for the tracking server of a team."""

from __future__ import annotations

from pathlib import Path

import click

from ..common import terminal
from .options import to_write

ROLE = click.Choice(["read", "edit", "admin"])


@click.group()
def server() -> None:
    """Start and look after the tracking server of a team: MLflow and PostgreSQL in containers."""


@server.command()
@click.option("--address", metavar="URI", help="As people reach it; by default `tracking-uri` of pyproject.toml.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="On which it listens here; by default the address's, or 5000."
)
def init(address: str | None, port: int | None) -> None:
    """Write its settings and generate its secrets, in tracking-server/; nothing is overwritten."""
    from ..tracking_server import settings

    password = settings.create(address, port)
    print("Settings are in tracking-server/.env, secrets in tracking-server/secrets/; git ignores both.")
    if password:
        print(f"The administrator, shown this once: user {settings.ADMIN}, password {password}")
        print("Start it: just server-up      then somebody who may train: just server-user add NAME --role edit")


@server.command()
def up() -> None:
    """Build its image and start it, if its database is of the locked MLflow's schema."""
    from ..tracking_server import lifecycle

    print(f"The tracking server runs: {lifecycle.up()}      (just server-down stops it; all runs stay)")


@server.command()
def down() -> None:
    """Stop it. All runs stay."""
    from ..tracking_server import lifecycle

    lifecycle.down()


@server.command()
@click.argument("file", required=False)
def backup(file: str | None) -> None:
    """Write the database, the artifacts and their digests into one FILE, while it runs."""
    from ..tracking_server import backup, lifecycle, settings

    settings.read()
    path = to_write(file) if file else backup.default_path()
    lifecycle.start_database()
    with terminal.bar("backing up", backup.size()) as bar:
        manifest = backup.write(path, bar.update)
    rows = manifest["database"]["tables"].get("public.runs", {"rows": 0})["rows"]
    print(f"{path}: {rows} runs, {len(manifest['artifacts'])} artifacts, {path.stat().st_size:,} bytes")


@server.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--over", is_flag=True, help="Over a server that has runs, models or people, which are gone then.")
def restore(file: Path, over: bool) -> None:
    """Bring FILE back: its digests are compared before anything is touched, and those of what is restored after it."""
    from ..common.files import absolute
    from ..tracking_server import compose, lifecycle, restore, settings

    settings.read()
    path = absolute(str(file))
    was_running = compose.is_running("server")
    with terminal.bar("verifying", path.stat().st_size if path.exists() else 0) as bar:
        manifest = restore.read_manifest(path, bar.update)
    with terminal.bar("restoring", path.stat().st_size) as bar:
        restore.restore(path, manifest, over, bar.update)
    print(f"The server is as it was at {manifest['made']}, and every digest is the same.")
    if was_running:
        lifecycle.up()
    else:
        print("Start it: just server-up")


@server.command()
@click.option("--backup", "file", metavar="FILE", help="Where the backup goes that is taken first.")
def upgrade(file: str | None) -> None:
    """Bring the database to the schema of the locked MLflow, after a backup."""
    from ..tracking_server import backup, lifecycle

    path = to_write(file) if file else backup.default_path()
    if not lifecycle.upgrade(path):
        print("The database is of the locked MLflow's schema already.")
    else:
        print(f"The database is upgraded. The way back, with the earlier locks: just server-restore {path} --over")
    print(f"The tracking server runs: {lifecycle.up()}")


@server.group()
def user() -> None:
    """Look after the people of the server: `read` may look at everything, `edit` train, `admin` do everything."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=ROLE, default="edit", show_default=True)
def user_add(name: str, role: str) -> None:
    """Add a person, with a password that is generated and shown once."""
    from ..tracking_server import users

    _show(name, users.add(name, role))


@user.command("role")
@click.argument("name")
@click.argument("role", type=ROLE)
def user_role(name: str, role: str) -> None:
    """Change what a person may do."""
    from ..tracking_server import users

    users.change(name, role)


@user.command("password")
@click.argument("name")
def user_password(name: str) -> None:
    """Generate a new password for a person."""
    from ..tracking_server import users

    _show(name, users.renew(name))


@user.command("remove")
@click.argument("name")
def user_remove(name: str) -> None:
    """Let a person in no more. What they logged stays."""
    from ..tracking_server import users

    users.remove(name)


@user.command("list")
def user_list() -> None:
    """List everybody, with their role."""
    from ..tracking_server import users

    for name, role in users.every().items():
        print(f"{role:<6} {name}")


def _show(name: str, password: str) -> None:
    print("Shown this once, for the .env of that person's project:")
    print(f"MLFLOW_TRACKING_USERNAME={name}\nMLFLOW_TRACKING_PASSWORD={password}")
