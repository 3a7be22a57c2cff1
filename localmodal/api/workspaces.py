"""Who the client is, and where: one workspace, one user, one token."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

from localmodal.api.group import Group, current_caller
from localmodal.objects.named import USER

if TYPE_CHECKING:
    from google.protobuf.empty_pb2 import Empty

WORKSPACE = "local"
WORKSPACE_ID = "ac-" + "local".ljust(22, "0")
_AUTH_TOKEN_LIFETIME = 20 * 60
"""Seconds; the client asks for a new one in time."""


class Workspaces(Group):
    """Greetings and identities."""

    async def ClientHello(self, _: Empty) -> api_pb2.ClientHelloResponse:
        """Answers the client's first call: its token was accepted."""
        return api_pb2.ClientHelloResponse(image_builder_version=self.plane.environments.default_builder)

    async def AuthTokenGet(self, _: api_pb2.AuthTokenGetRequest) -> api_pb2.AuthTokenGetResponse:
        """Gives the client a token that expires, for services besides this one."""
        header = _segment({"alg": "HS256", "typ": "JWT"})
        payload = _segment({"sub": USER, "exp": int(time.time()) + _AUTH_TOKEN_LIFETIME})
        signature = self.plane.signer.digest(f"{header}.{payload}".encode())
        return api_pb2.AuthTokenGetResponse(token=f"{header}.{payload}.{_base64(signature)}")

    async def WorkspaceNameLookup(self, _: Empty) -> api_pb2.WorkspaceNameLookupResponse:
        """Says the names of the workspace and the user."""
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=WORKSPACE, username=USER)

    async def WorkspaceMembersList(self, _: Empty) -> api_pb2.WorkspaceMembersListResponse:
        """Lists the one user, the workspace's owner."""
        owner = api_pb2.WorkspaceMembersListItem(
            member_displayname=USER,
            member_role=api_pb2.MEMBER_ROLE_OWNER,
            joined_at=self._made_at,
            user_id=f"us-{USER}",
        )
        return api_pb2.WorkspaceMembersListResponse(members=[owner])

    @property
    def _made_at(self) -> float:
        return self.plane.environments.all()[0].created_at

    async def TokenInfoGet(self, _: api_pb2.TokenInfoGetRequest) -> api_pb2.TokenInfoGetResponse:
        """Describes the caller's token."""
        return api_pb2.TokenInfoGetResponse(
            token_id=current_caller.get().metadata.get("x-modal-token-id", ""),
            workspace_id=WORKSPACE_ID,
            workspace_name=WORKSPACE,
            user_identity=api_pb2.UserIdentity(user_id=f"us-{USER}", username=USER),
            created_at=Timestamp(seconds=int(self._made_at)),
        )


def _segment(content: dict[str, str | int]) -> str:
    return _base64(json.dumps(content).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
