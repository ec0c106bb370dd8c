"""What listens at a port."""

from __future__ import annotations

import socket


def listens(host: str, port: int) -> bool:
    """Tell whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
