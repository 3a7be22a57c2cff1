"""Signed addresses below the HTTP front, where clients put and get what is too large for a message.

Whoever holds such an address may do what it says, and nothing else: the signature covers the method, the path and the
query. The front hands everything below `PREFIX` to `transfers.py`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localmodal.settings import Signer

PREFIX = "/_data/"


class Links:
    """Gives out addresses, and knows its own again."""

    def __init__(self, signer: Signer, port: int) -> None:
        self._signer = signer
        self._port = port

    def upload(self, path: str) -> str:
        """An address to PUT to: `path` is below `PREFIX`."""
        return self._link("PUT", path, {})

    def download(self, path: str, query: Mapping[str, str] = MappingProxyType({})) -> str:
        """An address to GET from."""
        return self._link("GET", path, query)

    def _link(self, method: str, path: str, query: Mapping[str, str]) -> str:
        # By address: this is also asked from inside containers, where only 127.0.0.1 is sure to mean the front.
        signed = dict(query) | {"signature": self._signer.sign(_message(method, path, query))}
        return f"http://127.0.0.1:{self._port}{PREFIX}{path}?{urlencode(signed)}"

    def allows(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        """Whether a request for `path` (below `PREFIX`) is one that an address was given out for."""
        rest = dict(query)
        signature = rest.pop("signature", "")
        return self._signer.verifies(_message(method, path, rest), signature)


def _message(method: str, path: str, query: Mapping[str, str]) -> str:
    return f"{method} {path}?{urlencode(sorted(query.items()))}"
