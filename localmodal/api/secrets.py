"""Secrets. No call gives a value back: values go into containers, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.objects.named import Kind, Wish

if TYPE_CHECKING:
    from localmodal.objects.named import Object


class Secrets(Group):
    """Create, look up, list, update and delete secrets."""

    async def SecretGetOrCreate(self, request: api_pb2.SecretGetOrCreateRequest) -> api_pb2.SecretGetOrCreateResponse:
        """Looks a secret up by name, or keeps the variables that it is sent."""
        secret = self.plane.secrets.get_or_create(Wish.of(request), request.env_dict)
        self.plane.secrets.require_keys(secret, request.required_keys)
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=self._metadata(secret))

    async def SecretGetInfo(self, request: api_pb2.SecretGetInfoRequest) -> api_pb2.SecretGetInfoResponse:
        """Says a secret's name, the names of its variables, and when it was last used."""
        secret = self.plane.objects.get(Kind.SECRET, request.secret_id)
        return api_pb2.SecretGetInfoResponse(metadata=self._metadata(secret))

    async def SecretUpdate(self, request: api_pb2.SecretUpdateRequest) -> Empty:
        """Sets some of a secret's variables; containers that start later get them."""
        changes = {one.key: one.value if one.HasField("value") else None for one in request.updates}
        self.plane.secrets.update(request.secret_id, changes)
        return Empty()

    async def SecretDelete(self, request: api_pb2.SecretDeleteRequest) -> Empty:
        """Deletes a secret."""
        self.plane.objects.delete(Kind.SECRET, request.secret_id)
        return Empty()

    async def SecretList(self, request: api_pb2.SecretListRequest) -> api_pb2.SecretListResponse:
        """Lists the secrets of an environment."""
        page = self.plane.objects.page(Kind.SECRET, request.environment_name, request.pagination)
        return api_pb2.SecretListResponse(
            items=[self._item(secret) for secret in page],
            environment_name=self.plane.environments.get(request.environment_name).name,
        )

    def _item(self, secret: Object) -> api_pb2.SecretListItem:
        return api_pb2.SecretListItem(
            label=secret.name,
            created_at=secret.created_at,
            last_used_at=self.plane.secrets.used_at(secret.id),
            environment_name=secret.environment,
            secret_id=secret.id,
            metadata=self._metadata(secret),
        )

    def _metadata(self, secret: Object) -> api_pb2.SecretMetadata:
        return api_pb2.SecretMetadata(
            name=secret.name,
            creation_info=secret.creation_info,
            keys=self.plane.secrets.keys(secret.id),
            environment_name=secret.environment,
            last_used_at=self.plane.secrets.used_at(secret.id),
        )
