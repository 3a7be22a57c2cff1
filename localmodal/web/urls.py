"""Where the front is reached: by name, or by path for clients that cannot resolve the name.

A name below `.localhost` is this machine by definition (RFC 6761): browsers, curl and systemd-resolved know it, plain
glibc may not. A client without it asks `http://127.0.0.1:<port>/_apps/<label>/...`, or sends `Host: <label>.localhost`
to 127.0.0.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

APPS = "/_apps/"
"""Every web function by path: `/_apps/<label>/<path>`."""
_LOCATION = re.compile(r"(?:(?:http:)?//([^/?#]*))?([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)
"""A redirect's target: the host, if it names one, the path, and the rest."""


@dataclass(frozen=True)
class Urls:
    """The addresses that the front on `port` gives out."""

    port: int

    def by_name(self, label: str) -> str:
        """The address that the client shows and that `get_web_url()` returns."""
        return f"http://{label}.localhost:{self.port}"


class Addressed(NamedTuple):
    """Whom a request is for, by its label, and what of its path only says that."""

    label: str
    prefix: str = ""


def addressed(host: str, path: str) -> Addressed | None:
    """By the name in the Host header, `chat.localhost:8700`, else by the (raw) path, `/_apps/chat/v1/models`."""
    name = host.lower().partition(":")[0].rstrip(".")
    if name.endswith(".localhost"):
        return Addressed(name.removesuffix(".localhost"))
    if not path.startswith(APPS):
        return None
    label = path.removeprefix(APPS).partition("/")[0]
    return Addressed(label, f"{APPS}{label}")


def below(prefix: str, host: str, location: str) -> str:
    """Where a redirect leads whose client came by path: the app takes itself to be at the root of `host`."""
    match = _LOCATION.fullmatch(location)
    assert match  # anything does
    named, path, rest = match.groups()
    leads_here = path.startswith("/") if named is None else named == host
    is_below = path == prefix or path.startswith(f"{prefix}/")  # the app has read X-Forwarded-Prefix
    return f"{prefix}{path}{rest}" if leads_here and not is_below else location
