"""Uncommitted files that no record holds, as they are too large or look like secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

#: Uncommitted files of more bytes than this, added up from the smallest, are not uploaded.
CAP = 20_000_000
SECRET_NAMES = re.compile(
    r"(^|/)(\.env(\.(?!example$).*)?|\.netrc|\.pypirc|\.databrickscfg|credentials(\.\w+)?|id_(rsa|dsa|ecdsa|ed25519)"
    r"|[^/]*\.(pem|key|p12|pfx|jks|keystore)|[^/]*secrets?\.\w+)$",
    re.IGNORECASE,
)
SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bdapi[0-9a-f]{32}\b|\bxox[bp]-\w+"
    rb"|(?i:password|passwd|secret|api_?key|token)[\"']?\s*[:=]\s*[\"'][^\"'\s]{12,}[\"']"
)
SENSITIVE = "it looks like a secret"


def to_leave_out(root: Path, changed: list[str]) -> Iterator[tuple[str, str]]:
    """Name the uncommitted files that are not uploaded, each with the reason."""
    total = 0
    files = [(root / path, path) for path in changed]
    sizes = sorted((file.lstat().st_size, path) for file, path in files if file.is_file() and not file.is_symlink())
    for size, path in sizes:
        total += size
        if total > CAP:
            yield path, f"the uncommitted files are larger than {CAP / 1e6:.0f} MB with it"
        elif looks_secret(path, (root / path).read_bytes()):
            yield path, SENSITIVE


def looks_secret(path: str, content: bytes) -> bool:
    """Tell whether a file has the name or the content of a secret."""
    return bool(SECRET_NAMES.search(path) or SECRET_CONTENT.search(content))
