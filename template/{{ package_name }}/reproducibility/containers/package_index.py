"""The shell's way to the package index, for the one stage of a build that installs packages."""

from __future__ import annotations

import os
import re
import shlex
import ssl
from pathlib import Path

from ..common.errors import ProjectError

#: Of uv's and pip's variables, those that lead to packages, and mean the same in a container.
LEADS = re.compile(
    r"UV_(DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES|HTTP_TIMEOUT|INDEX|INDEX_STRATEGY"
    r"|INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|INSECURE_HOST|REQUEST_TIMEOUT)"
    r"|PIP_(DEFAULT_TIMEOUT|EXTRA_INDEX_URL|FIND_LINKS|INDEX_URL|PROXY|RETRIES|TRUSTED_HOST)"
)
#: Builders know these by themselves, and keep them out of every history.
PROXIES = [
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (proxy, proxy.lower())
]
#: The variable of the shell commands that lead to it.
COMMANDS = "PACKAGE_INDEX"
#: Of the base, with those of a company's behind them.
BUNDLE = "/tmp/certificates.pem"  # noqa: S108 - in the container
#: The longest that Linux takes as one variable is 128 KiB.
LONGEST = 120_000


def variables() -> dict[str, str]:
    """Give the variables that a build is handed by their names alone: no process list has the values."""
    commands = [
        f"export {name}={shlex.quote(value)};"
        for name, value in sorted(os.environ.items())
        if LEADS.fullmatch(name) and not value.startswith(("/", "file:"))  # which the container has not got
    ]
    if own := _own_certificates():
        bundle = f"{{ cat /etc/ssl/certs/ca-certificates.crt || true; echo {shlex.quote(own)}; }}"
        commands.append(f"{bundle} > {BUNDLE}; export SSL_CERT_FILE={BUNDLE} PIP_CERT={BUNDLE};")
    found = {name: os.environ[name] for name in PROXIES if os.environ.get(name)}
    return {**found, **({COMMANDS: " ".join(commands)} if commands else {})}


def environment() -> dict[str, str]:
    """Give them to what reads them from its own variables: what a shell has under the name of the commands is none."""
    return {COMMANDS: "", **variables()}


def is_on_loopback() -> bool:
    """Tell whether a build must share this machine's network, as its way to packages is on loopback."""
    return any(re.search(r"//([^/@]*@)?(localhost|127\.|\[::1\])", value) for value in variables().values())


def _own_certificates() -> str:
    """Give the certificates of SSL_CERT_FILE that the base will not have: a company's."""
    path = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not path or not Path(path).is_file():
        return ""
    import certifi

    known = set(_certificates(Path(certifi.where()).read_text("utf-8")))
    own = [text for text in _certificates(Path(path).read_text("utf-8", "replace")) if text not in known]
    if sum(map(len, own)) > LONGEST:
        raise ProjectError(
            f"{path} has {len(own)} certificates that are not commonly known: too many to be handed to a build.",
            "Put your company's own into a file, and name that: SSL_CERT_FILE=company.pem just image\n"
            "or build on a base that has them: just image --base REF",
        )
    return "\n".join(own)


def _certificates(text: str) -> list[str]:
    """Give every certificate of a file in one spelling."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL)
    return [ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(one)).strip() for one in found]
