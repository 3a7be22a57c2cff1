"""Single values of the whole control plane, and the key that signs what it gives out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmodal.store import Store


class Settings:
    """Values by name, as text."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str, default: str) -> str:
        """The value of that name; `default` while none was set."""
        row = self._store.row("SELECT value FROM settings WHERE name = ?", name)
        return row["value"] if row else default

    def set(self, name: str, value: str) -> None:
        """Sets a value."""
        self._store.write("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", name, value)

    def set_once(self, name: str, value: str) -> str:
        """Sets a value unless there is one; returns the one that holds."""
        self._store.write("INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)", name, value)
        return self.get(name, value)


class Signer:
    """Signs with a key that is made at the first start and never leaves the database."""

    def __init__(self, settings: Settings) -> None:
        self._key = bytes.fromhex(settings.set_once("signing_key", secrets.token_hex(32)))

    def digest(self, message: bytes) -> bytes:
        """What only the holder of the key can make of the message."""
        return hmac.digest(self._key, message, hashlib.sha256)

    def sign(self, message: str) -> str:
        """The signature of a message, in hexadecimal digits."""
        return self.digest(message.encode()).hex()

    def verifies(self, message: str, signature: str) -> bool:
        """Whether the signature belongs to the message."""
        return hmac.compare_digest(self.sign(message), signature)
