"""What `just doctor` says of the tracking server that runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from ..common.errors import ProjectError
from ..environment.lockfile import SERVER_LOCK, read_lock
from ..source.git import git
from . import compose, settings

VERSION = "from importlib.metadata import version; print(version('mlflow'))"


def findings() -> Iterator[tuple[bool, str, str]]:
    """Look at its settings, secrets and containers: is it well, what was looked at, and how to mend it."""
    if not (settings.FOLDER / "compose.yaml").exists():
        return
    if not settings.SETTINGS.exists():
        yield True, "tracking server: none on this machine; just server-init makes one", ""
        return
    tracked = git("ls-files", "tracking-server/.env", "tracking-server/secrets", "tracking-server/backups")
    yield not tracked, f"tracking server: secrets out of git{f': {tracked}' if tracked else ''}", "git rm --cached FILE"
    try:
        settings.read()
        if not compose.is_running("server"):
            yield False, "tracking server: it does not run", "just server-up"
            return
        runs, locked = compose.ask("server", "python", "-c", VERSION).strip(), read_lock(SERVER_LOCK)["mlflow"][0]
        newest = max((path.name for path in settings.BACKUPS.glob("*.tar")), default="none in tracking-server/backups")
        yield (
            runs == locked,
            f"tracking server: {settings.own_address()}, MLflow {runs}, locked is {locked}; last backup: {newest}",
            "just server-up",
        )
    except ProjectError as error:
        yield False, f"tracking server: {error.cause}", error.fix
