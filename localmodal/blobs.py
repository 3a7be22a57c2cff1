"""Blobs: payloads too large for a message, and large files on their way into mounts and volumes.

The service takes very large ones in parts, because its storage limits the size of one request. Ours does not, so the
client is never asked to.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import TYPE_CHECKING

from localmodal.api.group import not_found
from localmodal.ids import new_id

if TYPE_CHECKING:
    from pathlib import Path

    from localmodal.contents import Contents
    from localmodal.store import Store

KEPT_FOR = 7 * 24 * 3600.0
"""Seconds after which a blob is gone, as are the results of calls that refer to it."""


class Blobs:
    """All blobs: each the promise, and later the name, of a file in `Contents`."""

    def __init__(self, store: Store, contents: Contents) -> None:
        self._store = store
        self._contents = contents

    def announce(self, sha256_base64: str, size: int) -> str:
        """A new blob, whose content is still to come; returns its id."""
        return self._insert(base64.b64decode(sha256_base64).hex(), size)

    def add(self, data: bytes) -> str:
        """A new blob of the given content; returns its id."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._contents.put(data, sha256)
        return self._insert(sha256, len(data))

    def _insert(self, sha256: str, size: int) -> str:
        blob_id = new_id("bl")
        self._store.write(
            "INSERT INTO blobs (id, sha256, size, created_at) VALUES (?, ?, ?, ?)", blob_id, sha256, size, time.time()
        )
        return blob_id

    def sha256(self, blob_id: str) -> str:
        """The digest of what the blob holds, or will hold."""
        row = self._store.row("SELECT sha256 FROM blobs WHERE id = ?", blob_id)
        if row is None:
            raise not_found("Blob", blob_id, f"Blobs are kept for {KEPT_FOR / 86400:.0f} days.")
        return str(row["sha256"])

    def path(self, blob_id: str) -> Path:
        """The file with the blob's content; NOT_FOUND while it was not uploaded."""
        path = self._contents.path(self.sha256(blob_id))
        if not path.exists():
            raise not_found("Blob", blob_id, "It was announced, but its upload did not end.")
        return path

    async def read(self, blob_id: str) -> bytes:
        """The blob's content."""
        return await asyncio.to_thread(self.path(blob_id).read_bytes)

    def delete_old(self) -> None:
        """Forgets blobs whose time has passed."""
        self._store.write("DELETE FROM blobs WHERE created_at < ?", time.time() - KEPT_FOR)

    def referenced(self) -> set[str]:
        """The digests of all blobs."""
        return {row["sha256"] for row in self._store.rows("SELECT DISTINCT sha256 FROM blobs")}
