"""Addresses without what is secret in them: user names, passwords, signatures, tokens."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

MASK = "***"
#: Names of environment variables whose values are secrets, unless they are those of files.
SECRET_VARIABLE = re.compile(r"(?i)token|key|secret|passw|pwd|cred|auth(?!or)|jwt|signature")
#: What is shorter stands in any text by chance.
SHORTEST = 4
#: Names of query parameters that are, or may be, secrets; and of path segments after which one comes.
SECRET_NAME = re.compile(r"(?i)sig|token|key|secret|pass|pwd|cred|auth|sas|jwt|session|user|login|^code$")
SECRET_FOLLOWS = re.compile(r"(?i)((access|api)[_-]?)?(token|key)|secret|sig|signature|auth|sas|password")
#: How tokens of well-known services begin.
KNOWN = re.compile(
    r"(gh[opsur]_|github_pat_|glpat-|hf_|sk-|xox[abpors]-|dapi|AKIA|ASIA|AIza|eyJ|dckr_pat_|npm_|pypi-)\w"
)
#: A commit, a SHA-256 or a UUID, which addresses of data have and which open nothing.
NAMES_CONTENT = re.compile(r"(?i)\b([0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")


def public(address: str) -> str:
    """Give an address as anybody may read it; a path stays as it is.

    It has no user name, password and fragment; no query if anything of it could be a secret; and ``***`` for each part
    of the path that could.
    """
    if "://" not in address:
        return address
    try:
        parts = _split(address)
    except ValueError:  # such as a password with a slash
        return f"{address.partition('://')[0]}://{MASK}"
    query = "" if _is_secret_query(parts.query) else parts.query
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, path=_path(parts.path), query=query, fragment="").geturl()


def without_user(address: str) -> str:
    """Leave user name and password out of an address, and nothing else: it leads to where it led."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _split(address: str) -> SplitResult:
    parts = urlsplit(address)
    parts.port  # noqa: B018 - raises a ValueError where it is no number
    return parts


def scrubbed(text: str, address: str) -> str:
    """Take out of a text what `public` takes out of an address."""
    try:
        found = secrets(address)
    except ValueError:
        return MASK
    for secret in found:
        text = text.replace(secret, MASK)
    return text


def secrets(address: str) -> list[str]:
    """Give what `public` takes out of an address, the longest first.

    Raises
    ------
    ValueError
        If it is none.
    """
    parts = _split(address)
    user = parts.netloc.rpartition("@")[0]
    hidden = [user, *user.split(":", 1), parts.fragment]
    if _is_secret_query(parts.query):
        hidden += [parts.query, *(value for _, value in parse_qsl(parts.query))]
    hidden += [old for old, new in zip(parts.path.split("/"), _path(parts.path).split("/"), strict=True) if old != new]
    return sorted({*hidden, *map(unquote, hidden)} - {""}, key=len, reverse=True)


def of_environment(variables: Mapping[str, str]) -> list[str]:
    """Give the secrets among the values of environment variables and in addresses there, the longest first."""
    found = set()
    for name, value in variables.items():
        if "://" in value:
            with contextlib.suppress(ValueError):
                found |= {*secrets(value)}
        elif (SECRET_VARIABLE.search(name) and not Path(value).exists()) or _is_secret(value):
            found |= {line.strip() for line in value.splitlines()}
    return sorted((one for one in found if len(one) >= SHORTEST), key=len, reverse=True)


def _path(path: str) -> str:
    segments = path.split("/")
    return "/".join(
        MASK if text and (_is_secret(text) or SECRET_FOLLOWS.fullmatch(before)) else text
        for before, text in zip(["", *segments], segments, strict=False)
    )


def _is_secret_query(query: str) -> bool:
    pairs = parse_qsl(query, keep_blank_values=True)
    plain = all(re.fullmatch(r"[\w.,:/+ %-]{1,64}", value) and not _is_secret(value) for _, value in pairs)
    return bool(query) and (not pairs or not plain or any(SECRET_NAME.search(name) for name, _ in pairs))


def _is_secret(text: str) -> bool:
    """Tell whether a text looks like a token: a known beginning, or long, and of letters and digits in no order."""
    if KNOWN.match(text):
        return True
    for run in re.findall(r"[A-Za-z0-9]{16,}", unquote(text)):
        kinds = ["0" if letter.isdigit() else "A" if letter.isupper() else "a" for letter in run]
        changes = sum(one != other for one, other in itertools.pairwise(kinds)) / len(run)
        is_hexadecimal = re.fullmatch(r"[0-9a-fA-F]{32,}", run) is not None
        is_random = "0" in kinds and changes > (0.4 if {*kinds} == {"0", "A", "a"} else 0.3 if len(run) >= 20 else 1)
        if (is_hexadecimal or is_random) and not NAMES_CONTENT.search(text):
            return True
    return False
