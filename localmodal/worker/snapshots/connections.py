"""TCP connections that a snapshot would cut: those with one end outside the container."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESTABLISHED = "01"


class _Connection(NamedTuple):
    """Both ends as address:port."""

    local: str
    remote: str
    inode: str


def connections_to_outside(processes: Iterable[int]) -> list[str]:
    """The far ends, as address:port, of established connections of these processes to anyone else.

    The processes are all of one container, in one network namespace.
    """
    processes = list(processes)
    inodes = {inode for process in processes for inode in _socket_inodes(process)}
    ours = [connection for connection in _established(processes) if connection.inode in inodes]
    inside = {connection.local for connection in ours}
    return sorted(connection.remote for connection in ours if connection.remote not in inside)


def _established(processes: list[int]) -> list[_Connection]:
    for process in processes:
        with contextlib.suppress(OSError):
            tables = [Path(f"/proc/{process}/net/{name}") for name in ("tcp", "tcp6")]
            return [row for table in tables if table.exists() for row in _rows(table.read_text(encoding="ascii"))]
    return []


def _rows(table: str) -> list[_Connection]:
    rows = [line.split() for line in table.splitlines()[1:]]
    return [_Connection(_readable(row[1]), _readable(row[2]), row[9]) for row in rows if row[3] == _ESTABLISHED]


def _socket_inodes(process: int) -> list[str]:
    inodes = []
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                found = re.fullmatch(r"socket:\[(\d+)]", str(descriptor.readlink()))
                inodes += [found[1]] if found else []
    return inodes


def _readable(end: str) -> str:
    """From the kernel's notation: each group of 32 bits of the address in this machine's byte order."""
    address, port = end.split(":")
    raw = b"".join(int(address[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(address), 8))
    parsed = ipaddress.ip_address(raw)
    plain = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return f"{plain or parsed}:{int(port, 16)}"
