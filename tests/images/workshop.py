"""A library of images over a real runtime, as the daemon opens it, but without a daemon in front; nothing is mocked."""

import contextlib
import dataclasses
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from modal_proto import api_pb2

from localmodal.home import Home, coldsnap_home
from localmodal.ids import new_id
from localmodal.images.builder import LocalBuilder
from localmodal.images.container_layers import ContainerLayers
from localmodal.images.library import Images
from localmodal.images.process_layers import ProcessLayers
from localmodal.images.records import ImageRecord
from localmodal.objects.contents import Contents
from localmodal.objects.environments import Environments
from localmodal.objects.mounts import Mounts
from localmodal.objects.named import Objects
from localmodal.objects.secrets import Secrets
from localmodal.objects.volumes import Volumes
from localmodal.settings import Settings, Signer
from localmodal.store import Store
from localmodal.tasks.logs import Logs
from localmodal.worker.capabilities import capabilities_of_this_machine, find_tools
from localmodal.worker.container import Capabilities, Launch
from localmodal.worker.networks.network import NetworkPool
from localmodal.worker.oci.runc import RuncRuntime
from localmodal.worker.plain.process import ProcessRuntime

SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
PLAIN = (f"FROM python:{SERIES}-slim",)


@dataclasses.dataclass
class Workshop:
    """Builds images, and looks into them from inside."""

    home: Home
    runtime: RuncRuntime | ProcessRuntime
    images: Images
    mounts: Mounts
    contents: Contents
    layers: Path

    def request(self, *lines: str, base: str = "", files: dict[str, str] | None = None, **more) -> ImageRecord:
        """Asks for an image, as the client does, and does not wait for it."""
        whole = {name: more.pop(name) for name in ("force_build", "ignore_cache") if name in more}
        image = api_pb2.Image(dockerfile_commands=lines, **more)
        if base:
            image.base_images.add(docker_tag="base", image_id=base)
        for name, text in (files or {}).items():
            image.context_files.add(filename=name, data=text.encode())
        request = api_pb2.ImageGetOrCreateRequest(image=image, builder_version="2025.06", **whole)
        return self.images.get_or_create(request)

    async def build(self, *lines: str, **more) -> ImageRecord:
        """Builds an image; the test fails if that does."""
        record = await self.images.wait(self.request(*lines, **more).id)
        assert record.built, f"{record.error}\n{await self.output(record)}"
        return record

    async def failure(self, *lines: str, **more) -> str:
        """The message of a build that must fail."""
        record = await self.images.wait(self.request(*lines, **more).id)
        assert not record.built
        return record.error

    async def output(self, record: ImageRecord) -> str:
        """What the build of an image wrote."""
        return "".join([entry.text async for _, entry in self.images.follow(record.id, 0)])

    async def run(self, record: ImageRecord, *args: str) -> str:
        """What a program writes in a container of the image."""
        wrote = bytearray()
        config = await self.images.config(record.id)
        launch = Launch(
            id=new_id("ta"),
            args=args,
            env=config.env,
            cwd=config.workdir or "/",
            layers=await self.images.layers(record.id),
            output=lambda _, data: wrote.extend(data),
            purpose="build",
        )
        end = await (await self.runtime.run(launch)).wait()
        assert end.code == 0, wrote.decode()
        return wrote.decode().strip()

    async def shell(self, record: ImageRecord, script: str) -> str:
        return await self.run(record, "/bin/sh", "-c", script)

    async def python(self, record: ImageRecord, program: str) -> str:
        return await self.run(record, (await self.images.config(record.id)).python, "-c", program)

    def half_made(self) -> list[str]:
        """What a build that does not run any more has left."""
        known = {name for record in self.images.records.all() if record.built for name in record.built.layers}
        return [path.name for path in self.layers.iterdir() if path.name.startswith("im-") and path.name not in known]


def _cache() -> Path:
    return coldsnap_home() / "cache"


@contextlib.asynccontextmanager
async def _containers(home: Home) -> AsyncIterator[RuncRuntime]:
    tools = await find_tools(home)
    found = await capabilities_of_this_machine(home, tools)
    if not found.containers:
        pytest.skip(f"this machine runs no containers: {found.missing}")
    runtime = RuncRuntime(home, NetworkPool(0, _no_http), found, tools.path)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


async def _no_http(_: socket.socket) -> Callable[[], Awaitable[None]]:
    async def stop() -> None:
        """Nothing was started: a build uses the machine's own network."""

    return stop


@contextlib.asynccontextmanager
async def _processes(home: Home) -> AsyncIterator[ProcessRuntime]:
    runtime = ProcessRuntime(home, Capabilities(containers=False, snapshots=False))
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


@contextlib.asynccontextmanager
async def open_workshop(home: Home, kind: str) -> AsyncIterator[Workshop]:
    """As the daemon opens it."""
    home.root.mkdir(parents=True, exist_ok=True)
    store = Store(home.database)
    settings = Settings(store)
    environments, contents = Environments(store, settings), Contents(home.blobs)
    objects = Objects(store, environments)
    secrets, volumes = Secrets(store, objects, Signer(settings)), Volumes(store, objects, home.volumes)
    async with (_containers if kind == "container" else _processes)(home) as runtime:
        folder = home.disk if kind == "container" else home.root / "layers"
        mounts = Mounts(store, contents, folder / "mounts")
        layers = (ContainerLayers if kind == "container" else ProcessLayers)(folder / "images", runtime, _cache())
        builder = LocalBuilder(layers, mounts, secrets, volumes, home.temporary)
        images = Images(store, layers, builder, Logs(home.logs), secrets)
        images.open()
        try:
            yield Workshop(home, runtime, images, mounts, contents, folder / "images")
        finally:
            await images.close()
            store.close()
