"""What has arrived at a control plane that records, as it was sent: for a person to read, or a program to compare.

Messages are in protobuf's own JSON. What they refer to by its id is in tables beside them. Of a named secret there is
the name, never a value; a nameless one (`env=`, `Secret.from_dict`) is environment, and shown as it will be seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from modal_proto import api_pb2

from localmodal.apps.apps import Apps
from localmodal.apps.functions import Functions
from localmodal.images.records import ImageRecords
from localmodal.objects.named import Kind
from localmodal.recording.images import KIND

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from localmodal.apps.apps import App
    from localmodal.images.records import ImageRecord
    from localmodal.store import Store

_MOUNTS = "SELECT id, name FROM mounts ORDER BY id"


def report(store: Store) -> dict[str, Any]:
    """Everything, from the database; nothing is changed."""
    return _Report(store).whole()


@dataclass(frozen=True)
class _Report:
    store: Store

    def whole(self) -> dict[str, Any]:
        return {
            "apps": [self._app(app) for app in reversed(Apps(self.store).all(stopped_within=float("inf")))],
            "images": {record.id: self._image(record) for record in self._images.all()},
            "secrets": {row["id"]: self._secret(row["id"], row["name"]) for row in self._objects(Kind.SECRET)},
            "volumes": {row["id"]: row["name"] for row in self._objects(Kind.VOLUME)},
            "mounts": {row["id"]: self._mount(row["id"], row["name"]) for row in self.store.rows(_MOUNTS)},
        }

    def _app(self, app: App) -> dict[str, Any]:
        """With the functions of its last version."""
        version = Apps(self.store).production(app)
        published = version.published if version else api_pb2.AppPublishRequest()
        functions = Functions(self.store)
        return {
            "name": app.name or app.description,
            "environment": app.environment,
            "state": api_pb2.AppState.Name(app.state),
            "version": app.version,
            "tag": published.deployment_tag,
            "tags": dict(app.tags),
            "functions": {
                tag: _dumped(functions.definition(published.definition_ids[function_id]))
                for tag, function_id in sorted(published.function_ids.items())
            },
        }

    @property
    def _images(self) -> ImageRecords:
        return ImageRecords(self.store, KIND)

    def _image(self, record: ImageRecord) -> dict[str, Any]:
        definition = self._images.definition(record.id)
        files = [{"name": one.filename, "sha256": _sha256(one.data)} for one in definition.context_files]
        definition.ClearField("context_files")
        state = {"recorded": record.built is not None, "built": False}
        return {**state, "builder_version": record.builder_version, **_dumped(definition), "context_files": files}

    def _secret(self, secret_id: str, name: str | None) -> dict[str, Any]:
        values = self.store.rows("SELECT key, value FROM secret_values WHERE secret_id = ? ORDER BY key", secret_id)
        if name:
            return {"name": name, "variables": [row["key"] for row in values]}
        return {"environment": {row["key"]: row["value"] for row in values}}

    def _mount(self, mount_id: str, name: str) -> dict[str, Any]:
        """Of the service's own mounts the name, of others the paths of their files."""
        files = self.store.rows("SELECT path FROM mount_files WHERE mount_id = ? ORDER BY path", mount_id)
        return {"name": name} if name else {"files": [row["path"] for row in files]}

    def _objects(self, kind: Kind) -> list[Any]:
        return self.store.rows("SELECT id, name FROM objects WHERE kind = ? ORDER BY created_at", kind.value)


def _dumped(message: Message) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
