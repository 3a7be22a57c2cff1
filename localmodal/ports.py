"""The daemon's listening sockets: on loopback, and on the same ports after every restart."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.errors import DaemonError

if TYPE_CHECKING:
    from localmodal.settings import Settings

_LOOPBACK = "127.0.0.1"
_LOWEST = 10_000
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The first and the last port that the kernel gives to outgoing connections, and to who binds to port 0."""
_TRIES = 50


def listen(settings: Settings, name: str, variable: str) -> socket.socket:
    """A listening socket on loopback: on the port that the environment asks for, else on the last time's, else on any.

    Addresses that were given out hold the port. Another one instead would leave them to whoever has taken it.
    """
    port = os.environ.get(variable) or settings.get(name, "0")
    try:
        found = _bind(int(port)) if int(port) else _bind_to_any()
    except (OSError, OverflowError, ValueError) as error:
        last_time = "" if os.environ.get(variable) else " (the port of the last time)"
        reason = getattr(error, "strerror", None) or error
        raise DaemonError(
            f"{variable}={port}{last_time}: {reason}. Free the port, or set {variable} to another one (0: any that is "
            "free); `pulumi up --refresh` then tells a stack its new addresses."
        ) from error
    settings.set(name, str(found.getsockname()[1]))
    return found


def _bind_to_any() -> socket.socket:
    """Below the outgoing ports: while the daemon is down, the kernel would give one of those to any connection."""
    candidates = range(_LOWEST, _first_outgoing())
    for port in random.sample(candidates, min(_TRIES, len(candidates))):
        try:
            return _bind(port)
        except OSError:
            continue
    return _bind(0)


def _first_outgoing() -> int:
    try:
        return int(_OUTGOING.read_text(encoding="ascii").split()[0])
    except OSError:
        return 0


def _bind(port: int) -> socket.socket:
    # Named, TCP makes asyncio send small messages at once instead of waiting for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # What it accepts inherits this. Asyncio sets it only for sockets that name their protocol, as few do, and without
    # it small answers wait for the other side's delayed acknowledgement: 40 ms each.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
