"""A digest over an image's files without times, for builders that give equal files another ID each time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from typing import Any

from ..common import digest
from .engine import Engine, refusal


def listing(engine: Engine, image: str) -> dict[str, str]:
    """Give kind, mode, owner, and link or content of every file of an image, by its path.

    The files are those of its layers put together, read from a container that never starts.
    """
    container = engine.ask("create", image)
    try:
        process = subprocess.Popen([engine.program, "export", container], stdout=subprocess.PIPE)
        with process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            found = {member.name: _of(member, archive) for member in archive}
        if process.returncode:
            raise refusal(f"{engine.name} export", f"ended with {process.returncode}")
        return found
    finally:
        engine.ask("rm", container)


def of_listing(found: dict[str, str], configuration: Any) -> str:
    """Digest a listing, and how the image is started."""
    return digest.of_bytes(json.dumps([found, configuration], sort_keys=True).encode("utf-8", "surrogateescape"))


def labelled(engine: Engine, image: str, label: str) -> str:
    """Put the digest of an image's contents on it as a label, and give the ID that it then has."""
    there = engine.inspect(image) or {}
    configuration = {name: there["Config"].get(name) for name in ("Env", "Cmd", "Entrypoint", "User", "WorkingDir")}
    content = of_listing(listing(engine, image), configuration)
    command = [engine.program, "build", "--quiet", "--label", f"{label}={content}", "-"]
    done = subprocess.run(command, input=f"FROM {image}\n", capture_output=True, text=True)
    if done.returncode:
        raise refusal(f"{engine.name} build", done.stderr)
    return done.stdout.strip()


def _of(member: tarfile.TarInfo, archive: tarfile.TarFile) -> str:
    about = f"{member.type.decode()} {member.mode:o} {member.uid}:{member.gid} {member.linkname}"
    file: Any = archive.extractfile(member) if member.isreg() else None
    return f"{about} {hashlib.file_digest(file, 'sha256').hexdigest()}" if file else about
