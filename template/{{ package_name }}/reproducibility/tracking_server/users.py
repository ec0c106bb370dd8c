"""The people of the server, by MLflow's own interface, as its administrator."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

from ..common.errors import ProjectError
from . import settings

#: What a role may do, beside reading everything, which all may.
ROLES: dict[str, tuple[tuple[str, str], ...]] = {
    "read": (),
    "edit": tuple((kind, "EDIT") for kind in ("experiment", "registered_model", "prompt")),
    "admin": (),
}
#: MLflow's name for all that is not of a workspace of its own.
WORKSPACE = "default"


def add(name: str, role: str) -> str:
    """Add a person, and give the password that was generated for them.

    Raises
    ------
    ProjectError
        If there is one of that name, or the server refuses.
    """
    generated = secrets.token_urlsafe(18)
    _call("POST", "2.0/mlflow/users/create", username=name, password=generated)
    change(name, role)
    return generated


def change(name: str, role: str) -> None:
    """Give a person a role, instead of the one that they had."""
    _call("PATCH", "2.0/mlflow/users/update-admin", username=name, is_admin=role == "admin")
    wanted = _role(role) if ROLES[role] else None
    held = _call("GET", "3.0/mlflow/users/roles/list", username=name)["roles"]
    ours = {entry["id"] for entry in held if entry["name"] in ROLES}
    for other in ours - {wanted}:
        _call("DELETE", "3.0/mlflow/roles/unassign", username=name, role_id=other)
    if wanted is not None and wanted not in ours:
        _call("POST", "3.0/mlflow/roles/assign", username=name, role_id=wanted)


def renew(name: str) -> str:
    """Give a person a new password, and tell it."""
    generated = secrets.token_urlsafe(18)
    _call("PATCH", "2.0/mlflow/users/update-password", username=name, password=generated)
    return generated


def remove(name: str) -> None:
    """Let a person in no more; what they logged stays."""
    _call("DELETE", "2.0/mlflow/users/delete", username=name)


def every() -> dict[str, str]:
    """Give the role of each person."""
    found = {}
    for user in _call("GET", "2.0/mlflow/users/list")["users"]:
        roles = _call("GET", "3.0/mlflow/users/roles/list", username=user["username"])["roles"]
        held = [entry["name"] for entry in roles if entry["name"] in ROLES]
        found[user["username"]] = "admin" if user["is_admin"] else (held or ["read"])[0]
    return found


def _role(name: str) -> int:
    """Find the role on the server, or make it, and give its number."""
    roles = _call("GET", "3.0/mlflow/roles/list", workspace=WORKSPACE)["roles"]
    role = next((entry for entry in roles if entry["name"] == name), None)
    if role is None:
        role = _call("POST", "3.0/mlflow/roles/create", workspace=WORKSPACE, name=name)["role"]
    held = {(entry["resource_type"], entry["permission"]) for entry in role.get("permissions") or []}
    for kind, permission in ROLES[name]:
        if (kind, permission) not in held:
            _call(
                "POST",
                "3.0/mlflow/roles/permissions/add",
                role_id=role["id"],
                resource_type=kind,
                resource_pattern="*",
                permission=permission,
            )
    return int(role["id"])


def _call(method: str, path: str, **values: Any) -> dict[str, Any]:
    address = f"{settings.own_address()}/api/{path}"
    if method == "GET" and values:
        address = f"{address}?{urlencode(values)}"
    token = base64.b64encode(f"{settings.ADMIN}:{settings.password()}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    body = json.dumps(values).encode() if method != "GET" else None
    request = urllib.request.Request(address, body, headers, method=method)  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return dict(json.loads(answer.read() or b"{}"))
    except urllib.error.HTTPError as error:
        raise _refusal(error) from error
    except OSError as error:
        raise ProjectError(
            f"the server does not answer at {settings.own_address()}: {error}.", "just server-up"
        ) from error


def _refusal(error: urllib.error.HTTPError) -> ProjectError:
    said = error.read().decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said = json.loads(said)["message"]
    if error.code == 401:
        return ProjectError(
            "the server does not know this administrator's password.",
            "Write the one that counts now into tracking-server/secrets/admin-password.",
        )
    return ProjectError(f"the server refused: {said.partition(' Error: (')[0][:300] or error}", "just server-user list")
