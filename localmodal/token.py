"""The token of this control plane: made at the first start, readable by its owner only, asked of every client."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

if TYPE_CHECKING:
    from pathlib import Path

    from localmodal.api.group import Caller


@dataclass(frozen=True)
class Token:
    """What a client shows: an id and a secret."""

    id: str
    secret: str

    @classmethod
    def load(cls, path: Path) -> Token:
        """Reads the token; makes it if there is none."""
        if not path.exists():
            _write(path, cls(f"ak-{secrets.token_hex(11)}", f"as-{secrets.token_hex(32)}"))
        return cls(**json.loads(path.read_text(encoding="ascii")))

    def authorize(self, caller: Caller, call: str) -> None:
        """UNAUTHENTICATED unless the caller shows this token."""
        shown = caller.metadata.get("x-modal-token-id", ""), caller.metadata.get("x-modal-token-secret", "")
        if not hmac.compare_digest(":".join(shown).encode(), f"{self.id}:{self.secret}".encode()):
            raise GRPCError(
                Status.UNAUTHENTICATED,
                f"{call}: the token is not this control plane's. `coldsnap local env` prints the environment that has "
                "the right one.",
            )


def _write(path: Path, token: Token) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(token), file)
    unfinished.rename(path)
