"""Who may reach what: web functions with `requires_proxy_auth`, and servers that are not `unauthenticated`."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import TYPE_CHECKING

from localmodal.web import replies
from localmodal.web.asgi import header

if TYPE_CHECKING:
    from localmodal.objects.proxy_tokens import ProxyTokens
    from localmodal.settings import Signer
    from localmodal.web.asgi import Scope
    from localmodal.web.replies import Reply

TOKEN_LIFETIME = 20 * 60.0
"""Seconds for which a server's token is good; the client fetches a new one at half of it."""


class ServerTokens:
    """Short-lived tokens that let a client of this control plane ask one server (`Modal-Authorization: Bearer ...`)."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def issue(self, function_id: str) -> str:
        """A token for one server, in the form (JSON Web Token) whose expiry the client reads."""
        claims = {"sub": function_id, "exp": time.time() + TOKEN_LIFETIME}
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def admits(self, token: str, function_id: str) -> bool:
        """Whether the token is ours, for this server, and still good."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return False
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        return bool(claims["sub"] == function_id and claims["exp"] > time.time())

    def _signature(self, signed: str) -> str:
        return _base64(self._signer.digest(signed.encode()))


def _part(content: dict[str, object]) -> str:
    return _base64(json.dumps(content).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Doorkeeper:
    """Looks at a request's credentials."""

    def __init__(self, proxy_tokens: ProxyTokens, server_tokens: ServerTokens) -> None:
        self._proxy_tokens = proxy_tokens
        self._server_tokens = server_tokens

    def refuse(self, scope: Scope, environment_id: str, server_id: str = "") -> Reply | None:
        """Why the request may not pass; None if it may. `server_id`: the server's function id, for its own tokens."""
        bearer = header(scope, b"modal-authorization").removeprefix("Bearer ")
        if server_id and bearer:
            return None if self._server_tokens.admits(bearer, server_id) else replies.BAD_CREDENTIALS
        key, secret = _proxy_token(scope)
        if not (key and secret):
            return replies.NO_CREDENTIALS
        return None if self._proxy_tokens.admits(key, secret, environment_id) else replies.BAD_CREDENTIALS


def _proxy_token(scope: Scope) -> tuple[str, str]:
    """A proxy token's id and secret, in headers of their own or as one: `Authorization: Bearer wk-1.ws-2`."""
    bearer = header(scope, b"authorization").removeprefix("Bearer ")
    if bearer.startswith("wk-"):
        key, _, secret = bearer.partition(".")
        return key, secret
    return header(scope, b"modal-key"), header(scope, b"modal-secret")
