"""Blobs: payloads too large for a message, and large files on their way into mounts and volumes.

The service takes very large ones in parts, because its storage limits the size of one request. Ours does not, so the
client is never asked to.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from localmodal.errors import not_found
from localmodal.ids import new_id

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from localmodal.objects.contents import Contents
    from localmodal.store import Store

KEPT_FOR = 7 * 24 * 3600.0
"""Seconds after which a blob is gone, as are the results of calls that refer to it."""


class Blobs:
    """All blobs: each the promise, and later the name, of a file in `Contents`."""

    def __init__(self, store: Store, contents: Contents) -> None:
        self._store = store
        self._contents = contents

    def announce(self, sha256: str, size: int) -> str:
        """A new blob, whose content is still to come; returns its id."""
        blob_id = new_id("bl")
        self._store.write(
            "INSERT INTO blobs (id, sha256, size, created_at) VALUES (?, ?, ?, ?)", blob_id, sha256, size, time.time()
        )
        return blob_id

    def sha256(self, blob_id: str) -> str:
        """The digest of what the blob holds, or will hold."""
        return str(self._row(blob_id)["sha256"])

    def _row(self, blob_id: str) -> sqlite3.Row:
        if (row := self._store.row("SELECT sha256, size FROM blobs WHERE id = ?", blob_id)) is None:
            raise not_found("Blob", blob_id, f"Blobs are kept for {KEPT_FOR / 86400:.0f} days.")
        return row

    def path(self, blob_id: str) -> Path:
        """The file with the blob's content; NOT_FOUND while it was not uploaded."""
        row = self._row(blob_id)
        path = self._contents.path(row["sha256"])
        if not path.exists():
            raise not_found(
                "Blob", blob_id, f"It was announced, but the upload of its {row['size']} bytes did not end."
            )
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
