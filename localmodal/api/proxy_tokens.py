"""Proxy tokens: what callers of web functions with `requires_proxy_auth` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.objects.named import USER

if TYPE_CHECKING:
    from localmodal.objects.proxy_tokens import ProxyToken


class ProxyTokens(Group):
    """All of `modal.Workspace.proxy_tokens`."""

    async def WebhookTokenCreate(self, request: api_pb2.WebhookTokenCreateRequest) -> api_pb2.TokenCreateResponse:
        """Makes a proxy token; its secret is given this once."""
        token_id, secret = self.plane.proxy_tokens.create(request.name, scoped=request.scoped)
        return api_pb2.TokenCreateResponse(token_id=token_id, token_secret=secret)

    async def WebhookTokenUpdate(self, request: api_pb2.WebhookTokenUpdateRequest) -> api_pb2.WebhookToken:
        """Gives a proxy token another name."""
        self.plane.proxy_tokens.rename(request.token_id, request.name)
        return _message(self.plane.proxy_tokens.get(request.token_id))

    async def WebhookTokenDelete(self, request: api_pb2.TokenDeleteRequest) -> Empty:
        """Deletes a proxy token."""
        self.plane.proxy_tokens.delete(request.token_id)
        return Empty()

    async def WebhookTokenList(self, _: Empty) -> api_pb2.WebhookTokenListResponse:
        """Lists all proxy tokens."""
        return api_pb2.WebhookTokenListResponse(tokens=map(_message, self.plane.proxy_tokens.all()))

    async def WebhookTokenListForEnvironment(
        self, request: api_pb2.WebhookTokenListForEnvironmentRequest
    ) -> api_pb2.WebhookTokenListResponse:
        """Lists the proxy tokens that are good in an environment."""
        environment = self.plane.environments.get(request.environment_name)
        return api_pb2.WebhookTokenListResponse(tokens=map(_message, self.plane.proxy_tokens.all(environment.id)))

    async def WebhookTokenEnvironmentList(
        self, request: api_pb2.WebhookTokenEnvironmentListRequest
    ) -> api_pb2.WebhookTokenEnvironmentListResponse:
        """Lists the environments that a proxy token was allowed in."""
        ids = self.plane.proxy_tokens.environments(request.token_id)
        return api_pb2.WebhookTokenEnvironmentListResponse(environment_ids=ids)

    async def WebhookTokenEnvironmentAdd(self, request: api_pb2.WebhookTokenEnvironmentAddRequest) -> Empty:
        """Makes a proxy token good in an environment."""
        self.plane.proxy_tokens.allow_in(request.token_id, request.environment_id)
        return Empty()

    async def WebhookTokenEnvironmentRemove(self, request: api_pb2.WebhookTokenEnvironmentRemoveRequest) -> Empty:
        """Makes a proxy token no longer good in an environment."""
        self.plane.proxy_tokens.revoke_in(request.token_id, request.environment_id)
        return Empty()


def _message(token: ProxyToken) -> api_pb2.WebhookToken:
    created_by = api_pb2.UserIdentity(user_id=f"us-{USER}", username=USER)
    return api_pb2.WebhookToken(
        token_id=token.id, created_at=token.created_at, scoped=token.scoped, name=token.name, created_by=created_by
    )
