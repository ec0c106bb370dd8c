"""The server's artifacts as one stream, wherever they are: a folder of this container, or an S3 store.

`size` counts them, `export` writes them to standard output as a tar, `restore` reads such a tar from standard input,
`digests` reads all and hashes them, `keep` deletes those that standard input does not name.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import serve

CHUNK = 1 << 20
#: How often a file is read again that changes while it is read.
TRIES = 5


class Content(NamedTuple):
    """What is under a name: so many bytes, which stay as they are while `mark` does."""

    stream: IO[bytes]
    size: int
    mark: object


class Folder:
    """Artifacts in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> Iterator[tuple[str, int]]:
        """Give the name and size of every artifact, without what is uploaded just now."""
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root)
            if path.is_file() and name.parts[0] != ".uploads":
                yield name.as_posix(), path.stat().st_size

    def open(self, name: str) -> Content:
        """Open one for reading; `FileNotFoundError` if it was deleted meanwhile."""
        stream = (self.root / name).open("rb")
        status = os.fstat(stream.fileno())
        return Content(stream, status.st_size, (status.st_size, status.st_mtime_ns))

    def write(self, name: str, stream: IO[bytes]) -> None:
        """Write one wholly or not at all."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.root, prefix=".uploads", delete=False) as part:
            while piece := stream.read(CHUNK):
                part.write(piece)
            os.fsync(part.fileno())
        Path(part.name).replace(path)

    def delete(self, name: str) -> None:
        """Delete one, and the folders that it leaves empty."""
        path = self.root / name
        path.unlink()
        while (path := path.parent) != self.root and not any(path.iterdir()):
            path.rmdir()


class Bucket:
    """Artifacts in an S3 store."""

    def __init__(self, address: str) -> None:
        import boto3

        self.bucket, prefix = urlsplit(address).netloc, urlsplit(address).path.strip("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))

    def names(self) -> Iterator[tuple[str, int]]:
        """Give the name and size of every artifact."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                yield entry["Key"].removeprefix(self.prefix), entry["Size"]

    def open(self, name: str) -> Content:
        """Open one for reading; `FileNotFoundError` if it was deleted meanwhile."""
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)
        except self.client.exceptions.NoSuchKey as error:
            raise FileNotFoundError(name) from error
        return Content(answer["Body"], answer["ContentLength"], answer["ETag"])

    def write(self, name: str, stream: IO[bytes]) -> None:
        """Write one wholly or not at all."""
        # As what can be read and nothing else: boto3 would ask whether it can seek, and a tar's stream knows no answer.
        self.client.upload_fileobj(SimpleNamespace(read=stream.read), self.bucket, self.prefix + name)

    def delete(self, name: str) -> None:
        """Delete one."""
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)


class Exactly:
    """A stream of just so many bytes: cut off, or filled up with zeros, where a file changes while it is read."""

    def __init__(self, content: Content) -> None:
        self._stream, self._left = content.stream, content.size

    def read(self, size: int) -> bytes:
        """Read on: all that is asked for, as far as there is some left."""
        size = min(size, self._left)
        self._left -= size
        pieces = b""
        while len(pieces) < size and (piece := self._stream.read(size - len(pieces))):
            pieces += piece
        return pieces.ljust(size, b"\0")


def export(store: Any) -> None:
    """Write all as a tar. A file that changed while it was read follows once more, and the last one counts."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name, _ in store.names():
            for _ in range(TRIES):
                try:
                    content = store.open(name)
                except FileNotFoundError:
                    break
                with content.stream:
                    entry = tarfile.TarInfo(name)
                    entry.size = content.size
                    tar.addfile(entry, Exactly(content))  # type: ignore[arg-type]
                if isinstance(store, Bucket) or store.open(name).mark == content.mark:
                    break


def restore(store: Any) -> None:
    """Write what a tar holds."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            if stream is None or ".." in Path(entry.name).parts or entry.name.startswith("/"):
                sys.exit(f"{entry.name!r} is no artifact")
            store.write(entry.name, stream)


def digests(store: Any) -> None:
    """Print a line of JSON for each: name, size and digest."""
    for name, _ in store.names():
        content, sha256, size = store.open(name), hashlib.sha256(), 0
        with content.stream:
            while piece := content.stream.read(CHUNK):
                sha256.update(piece)
                size += len(piece)
        print(json.dumps([name, size, f"sha256:{sha256.hexdigest()}"]))


def main() -> None:
    """Do what the first argument says."""
    serve.prepare()
    place = os.environ["SERVER_ARTIFACTS"]
    store = Bucket(place) if place.startswith("s3://") else Folder(Path(place))
    if sys.argv[1] == "size":
        print(sum(size for _, size in store.names()))
    elif sys.argv[1] == "keep":
        kept = set(json.load(sys.stdin))
        for name in [name for name, _ in store.names() if name not in kept]:
            store.delete(name)
    else:
        {"export": export, "restore": restore, "digests": digests}[sys.argv[1]](store)


if __name__ == "__main__":
    main()
