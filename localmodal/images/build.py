"""Builds one image: its lines one after the other, on top of its base.

1. the base: an image of ours, or what stands for one of a registry (`bases`)
2. each line: changes the configuration, or the files of the one layer that the image adds
3. the layer gets its name, in one step, when the last line has run
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from localmodal.images import bases, dockerfile
from localmodal.images.config import ImageConfig, ImageError
from localmodal.images.layers import Command, CommandError, Placement
from localmodal.images.pythons import python_of_series

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modal_proto import api_pb2

    from localmodal.images.context import Context
    from localmodal.images.dockerfile import Instruction
    from localmodal.images.layers import Draft, Layers
    from localmodal.worker.container import Bind

    Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """An image that is whole."""

    layers: tuple[str, ...]
    """Names, the lowest first; those of its base too."""
    config: ImageConfig
    size_bytes: int
    """Of the layer that the image adds to its base."""


class Log(Protocol):
    """Where the output of a build goes."""

    def output(self, fd: int, data: bytes) -> None:
        """Takes what a command wrote."""

    def system(self, text: str) -> None:
        """Takes a line of ours."""

    def tail(self, lines: int) -> str:
        """The last lines."""


@dataclass(frozen=True)
class Inputs:
    """What an image's message refers to, found."""

    base: Built | None
    """The image that `FROM base` means."""
    context: Context
    secrets: Mapping[str, str]
    volumes: tuple[Bind, ...]
    build_args: Mapping[str, str]


class Build:
    """One build."""

    def __init__(self, name: str, inputs: Inputs, layers: Layers, log: Log) -> None:
        self._name = name
        self._inputs = inputs
        self._layers = layers
        self._log = log
        self._below: tuple[str, ...] = ()
        self._config = ImageConfig()
        self._in_base = False
        self._draft: Draft | None = None

    async def run(self, image: api_pb2.Image) -> Built:
        """Runs all lines. ImageError says which one failed, and nothing of the image is left then."""
        try:
            for instruction in dockerfile.parse(image.dockerfile_commands):
                self._log.system(f"=> {instruction}")
                await self._step(instruction)
            size = await self._draft.finish() if self._draft else None
        except BaseException:
            if self._draft:
                await self._draft.discard()
            raise
        added = () if size is None else (self._name,)
        return Built((*self._below, *added), replace(self._config, args={}), size or 0)

    async def _step(self, instruction: Instruction) -> None:
        match instruction.name:
            case "FROM":
                await self._from(instruction)
            case "RUN":
                await self._attempt(instruction, dockerfile.command_of(instruction, self._config), self._config)
            case "COPY":
                await self._copy(instruction)
            case "WORKDIR":
                self._configure(instruction)
                await self._attempt(instruction, ("mkdir", "-p", self._config.workdir), ImageConfig())
            case _:
                self._configure(instruction)

    def _configure(self, instruction: Instruction) -> None:
        self._config = dockerfile.configured(instruction, self._config, self._inputs.build_args)

    async def _from(self, instruction: Instruction) -> None:
        reference = dockerfile.base_of(instruction, self._config)
        if reference == "base" and (base := self._inputs.base):
            self._below, self._config = base.layers, replace(base.config, args=self._config.args)
            return
        series = bases.series_of(reference)
        self._in_base = True
        self._below = await self._layers.machine()
        if series:
            await self._add_python(series, plain_name=True)
        self._log.system(
            f"{reference} is this machine's root{f' with Python {self._config.python_version}' if series else ''}"
        )

    async def _add_python(self, series: str, *, plain_name: bool) -> None:
        python = await python_of_series(series)
        self._below = (*self._below, await self._layers.python(python, plain_name=plain_name))
        self._config = replace(self._config, python_version=python.version)

    async def _attempt(self, instruction: Instruction, args: tuple[str, ...], config: ImageConfig) -> None:
        draft = await self._draft_of_this_image()
        try:
            await draft.run(self._command(args, config))
        except CommandError as error:
            raise instruction.refused(f"{error}\n{self._log.tail(20)}") from error

    def _command(self, args: tuple[str, ...], config: ImageConfig) -> Command:
        env = {**config.args, **self._inputs.secrets}
        return Command(args, config, env, self._inputs.volumes, self._in_base)

    async def _draft_of_this_image(self) -> Draft:
        if self._draft is None:
            self._draft = await self._layers.draft(self._name, self._below, self._log.output)
        return self._draft

    async def _copy(self, instruction: Instruction) -> None:
        copy = dockerfile.copy_of(instruction, self._config)
        if python := self._inputs.context.python:
            if self._draft:
                raise instruction.refused("A Python is copied before any other file changes.")
            await self._add_python(python[0], plain_name=python[1])
            return
        try:
            sources = await self._inputs.context.find(copy)
            draft = await self._draft_of_this_image()
            await draft.place(Placement(sources, copy.destination, copy.mode, copy.owner))
        except (ImageError, CommandError) as error:
            raise instruction.refused(f"{error}") from error
