"""All images: what each was made from, which are being built, and what a container needs of one.

An image's id is the digest of all that it depends on, so the same lines on the same base are the same image. It exists
from the moment when its row says that it is built; before, and after a daemon died half-way, there is only a log.

Its files are something else: containers and plain processes each need their own. Where they are not there, because the
machine allows something else than it did, or somebody removed them, they are made again by whoever needs them first.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import secrets
from typing import TYPE_CHECKING

from grpclib import GRPCError
from modal_proto import api_pb2

from localmodal.ids import id_from_digest, new_id
from localmodal.images.config import ImageError
from localmodal.images.records import ImageRecords
from localmodal.images.tools import client_image, tool_image
from localmodal.worker.container import ContainerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from localmodal.images.build import Built
    from localmodal.images.builder import Builder
    from localmodal.images.config import ImageConfig
    from localmodal.images.layers import Files
    from localmodal.images.records import ImageRecord
    from localmodal.objects.secrets import Secrets
    from localmodal.store import Store
    from localmodal.tasks.logs import Entry, Logs

log = logging.getLogger(__name__)

BUILDER = "2025.06"
"""The builder version whose pins the client's own packages follow; it knows every Python that the client supports."""
_FORMAT = "1"
"""Goes up when the same lines would leave other files than they did."""


class Images:
    """All images of this control plane."""

    def __init__(self, store: Store, files: Files, builder: Builder, logs: Logs, secrets_: Secrets) -> None:
        self.records = ImageRecords(store, files.kind)
        self._files = files
        self._builder = builder
        self._logs = logs
        self._secrets = secrets_
        self._builds: dict[str, asyncio.Task[None]] = {}

    def open(self) -> None:
        """At the daemon's start: forgets what is half-made, failed or deleted; removes layers that nothing needs."""
        for record in self.records.never_built():
            self._forget(record)
        for record in self.records.all():
            if record.built and not self._files.complete(record.built.layers):
                self.records.lose(record.id)
        kept = self._kept()
        for record in self.records.all():
            if record.id not in kept:
                self._forget(record)
        self._files.sweep({name for record in kept.values() if record.built for name in record.built.layers})

    def _kept(self) -> dict[str, ImageRecord]:
        """Images that were not deleted, and whatever such were built upon."""
        all_of_them = {record.id: record for record in self.records.all()}
        kept: dict[str, ImageRecord] = {}
        wanted = [record for record in all_of_them.values() if not record.deleted]
        while wanted:
            record = wanted.pop()
            kept[record.id] = record
            if record.base_id in all_of_them.keys() - kept.keys():
                wanted.append(all_of_them[record.base_id])
        return kept

    def _forget(self, record: ImageRecord) -> None:
        self.records.forget(record.id)
        self._logs.remove(record.task_id)

    async def close(self) -> None:
        """Stops every build; the next daemon begins it anew."""
        for build in self._builds.values():
            build.cancel()
        await asyncio.gather(*self._builds.values(), return_exceptions=True)

    def get_or_create(self, request: api_pb2.ImageGetOrCreateRequest) -> ImageRecord:
        """The image of that definition, whose build begins now unless it is built or being built."""
        recipe = self._recipe(request.image)
        known = None if request.force_build or request.ignore_cache else self.records.of_recipe(recipe)
        if known is None:
            return self._begin(request, recipe)
        return known if known.built else self._build_again(known)

    def _begin(self, request: api_pb2.ImageGetOrCreateRequest, recipe: str) -> ImageRecord:
        image_id = _image_id(recipe)
        if self.records.taken(image_id):
            image_id = _image_id(recipe + secrets.token_hex(8))
        if failed := self.records.find(image_id):
            self._forget(failed)
        return self._start_build(self.records.begin(image_id, recipe, request, new_id("ta")))

    def _build_again(self, record: ImageRecord) -> ImageRecord:
        """Makes the files of an image that is known, unless somebody does already."""
        if record.id in self._builds:
            return record
        self._logs.remove(record.task_id)
        return self._start_build(self.records.begin_again(record.id, new_id("ta")))

    def _start_build(self, record: ImageRecord) -> ImageRecord:
        task = asyncio.create_task(self._build(record), name=f"build {record.id}")
        self._builds[record.id] = task
        task.add_done_callback(lambda _: self._ended(record.id))
        return record

    def _ended(self, image_id: str) -> None:
        del self._builds[image_id]
        self._logs.written.beat()

    def _recipe(self, image: api_pb2.Image) -> str:
        """Digest of all that the image depends on. A nameless secret counts by its values, a named one by its name."""
        definition = type(image)()
        definition.CopyFrom(image)
        definition.runtime_debug = False
        definition.secret_ids[:] = [self._secrets.identity(secret_id) for secret_id in image.secret_ids]
        depends_on = [_FORMAT, *_machine()]
        return hashlib.sha256(repr(depends_on).encode() + definition.SerializeToString(deterministic=True)).hexdigest()

    async def _build(self, record: ImageRecord) -> None:
        task_log = self._logs.open(record.task_id)
        image = self.records.definition(record.id)
        try:
            base = await self._built(record.base_id) if record.base_id else None
            built = await self._builder.build(record.id, image, base, self._tool, task_log)
            self.records.finish(record.id, built)
            self._get_client_ready(record, built)
        except (ContainerError, OSError) as error:
            self.records.fail(record.id, str(error))
        except GRPCError as error:
            self.records.fail(record.id, str(error.message))
        except asyncio.CancelledError:
            self.records.fail(record.id, "the control plane was stopped while it built the image; ask for it again")
            raise
        except Exception as error:
            log.exception("Building %s", record.id)
            self.records.fail(record.id, f"the local builder failed: {error!r}; its log says more")
        finally:
            task_log.close()

    async def _built(self, image_id: str) -> Built:
        """What the image consists of, once its files are there."""
        record = self.records.get(image_id)
        if record.built is None:
            record = await self.wait(self._build_again(record).id)
        if record.built is None:
            raise ImageError(f"image {image_id} has no files here, and making them failed: {record.error}")
        return record.built

    async def follow(self, image_id: str, offset: int) -> AsyncIterator[tuple[int, Entry]]:
        """What a build writes from a byte offset on, each piece with the offset behind it; ends with the build."""
        while True:
            building = image_id in self._builds
            for behind, entry in self._logs.read(self.records.get(image_id).task_id, offset):
                offset = behind
                yield behind, entry
            if not building:
                return
            await self._logs.written.wait()

    async def wait(self, image_id: str) -> ImageRecord:
        """Returns when nobody builds the image any more."""
        if task := self._builds.get(image_id):
            await asyncio.wait([task])
        return self.records.get(image_id)

    async def layers(self, image_id: str) -> tuple[Path, ...]:
        """The folders that a container of the image is started from, the lowest first."""
        return self._files.stack((await self._built(image_id)).layers)

    async def config(self, image_id: str) -> ImageConfig:
        """What a container of the image must know, in paths as it sees them."""
        built = await self._built(image_id)
        return self._files.seen(built.config, built.layers)

    async def client_layer(self, python_series: str) -> Path:
        """The layer with the client and its dependencies for a series of Python; made at the first call."""
        return await self._own(client_image(python_series, BUILDER))

    def _get_client_ready(self, record: ImageRecord, built: Built) -> None:
        """The first container of an app's image would have to wait for its client's layer: begins to make that now."""
        if record.app_id and (series := built.config.python_series):
            self.get_or_create(_own_request(client_image(series, BUILDER)))

    async def _tool(self, reference: str) -> Path:
        image, folder = tool_image(reference)
        return await self._own(image) / folder

    async def _own(self, image: api_pb2.Image) -> Path:
        record = await self.wait(self.get_or_create(_own_request(image)).id)
        if record.built is None:
            raise ImageError(f"an image that the control plane itself needs cannot be built: {record.error}")
        return self._files.stack(record.built.layers)[-1]


def _own_request(image: api_pb2.Image) -> api_pb2.ImageGetOrCreateRequest:
    return api_pb2.ImageGetOrCreateRequest(image=image, builder_version=BUILDER)


def _image_id(recipe: str) -> str:
    return id_from_digest("im", hashlib.sha256(recipe.encode()).digest())


def _machine() -> tuple[str, ...]:
    """What tells one machine's layers from another's: they hold programs for its processor and its distribution."""
    release = platform.freedesktop_os_release()
    return platform.machine(), release.get("ID", ""), release.get("VERSION_ID", "")
