"""Reads the Dockerfile lines of an image. What is not understood is refused by name, with its line."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dockerfile_parse.parser import DockerfileParser
from dockerfile_parse.util import WordSplitter, extract_key_values

from localmodal.images.config import ImageConfig, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HEREDOC = re.compile(r"(?:^|\s)\d*<<-?[\"']?[A-Za-z_]")
_NOTED_ONLY = frozenset({"LABEL", "EXPOSE", "MAINTAINER", "STOPSIGNAL"})
"""Change nothing that a container here would see."""


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continued lines joined."""

    name: str
    value: str
    number: int
    """Of its first line, counted from 1."""

    def __str__(self) -> str:
        return f"{self.name} {self.value}"

    def refused(self, why: str) -> ImageError:
        """An error that shows this line."""
        return ImageError(f"line {self.number}: {self}\n{why}")


@dataclass(frozen=True)
class Copy:
    """A COPY instruction's words."""

    sources: tuple[str, ...]
    destination: str
    """Absolute; ends with a slash if the line says so."""
    image: str = ""
    """The image that the sources are taken from (`--from`); empty: the build's context."""
    mode: str = ""
    owner: str = ""
    """`user` or `user:group`."""


def parse(lines: Sequence[str]) -> list[Instruction]:
    """The instructions of an image's lines, in order; the first one is FROM, and the only one."""
    parser = DockerfileParser(fileobj=io.BytesIO())
    parser.content = "\n".join(lines)
    instructions = [
        Instruction(found["instruction"], found["value"], found["startline"] + 1)
        for found in parser.structure
        if found["instruction"] != "COMMENT"
    ]
    _check_stages(instructions)
    return instructions


def _check_stages(instructions: list[Instruction]) -> None:
    stages = [instruction for instruction in instructions if instruction.name == "FROM"]
    if len(stages) > 1:
        raise stages[1].refused("Several stages are not built locally: put each one in an image of its own.")
    before = [instruction.name for instruction in instructions[: instructions.index(stages[0])]] if stages else []
    if not stages or set(before) - {"ARG"}:
        raise ImageError("an image's lines begin with FROM")


def base_of(instruction: Instruction, config: ImageConfig) -> str:
    """The image that a FROM line names."""
    words = [word for word in split(instruction.value, config) if not word.startswith("--platform=")]
    if not words:
        raise instruction.refused("FROM needs the name of an image.")
    return words[0]


def command_of(run: Instruction, config: ImageConfig) -> tuple[str, ...]:
    """The program and its arguments that a RUN line means."""
    if run.value.startswith("--"):
        raise run.refused(f"{run.value.split()[0]} is not served by the local builder.")
    if _HEREDOC.search(run.value):
        raise run.refused("Here-documents are not served by the local builder: join the commands with &&.")
    if (words := _exec_form(run.value)) is not None:
        return words
    return (*config.shell, run.value)


def copy_of(instruction: Instruction, config: ImageConfig) -> Copy:
    """The words of a COPY line."""
    words = list(_exec_form(instruction.value) or split(instruction.value, config))
    flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    if unknown := flags.keys() - {"from", "chmod", "chown", "link"}:
        raise instruction.refused(f"--{min(unknown)} is not served by the local builder.")
    paths = [word for word in words if not word.startswith("--")]
    if len(paths) < 2:  # noqa: PLR2004 - at least one source and a destination
        raise instruction.refused("COPY needs at least one source and a destination.")
    into = paths[-1] if paths[-1] not in {".", "./"} else "./"
    destination = into if into.startswith("/") else f"{config.workdir.rstrip('/')}/{into.removeprefix('./')}"
    return Copy(tuple(paths[:-1]), destination, flags.get("from", ""), flags.get("chmod", ""), flags.get("chown", ""))


def split(value: str, config: ImageConfig) -> list[str]:
    """Words with quotes taken off and variables put in."""
    return list(WordSplitter(value, args=dict(config.args), envs=dict(config.env)).split())


def _exec_form(value: str) -> tuple[str, ...] | None:
    if not value.startswith("["):
        return None
    try:
        words = json.loads(value)
    except ValueError:
        return None
    return tuple(map(str, words))


def _words(instruction: Instruction, config: ImageConfig) -> tuple[str, ...]:
    exec_form = _exec_form(instruction.value)
    return (*config.shell, instruction.value) if exec_form is None else exec_form


def _pairs(instruction: Instruction, config: ImageConfig) -> dict[str, str]:
    try:
        return dict(extract_key_values(True, dict(config.args), dict(config.env), instruction.value))  # noqa: FBT003
    except (ValueError, IndexError) as error:
        raise instruction.refused(str(error)) from error


def _env(instruction: Instruction, config: ImageConfig) -> ImageConfig:
    return config.with_env(**_pairs(instruction, config))


def _workdir(instruction: Instruction, config: ImageConfig) -> ImageConfig:
    path = WordSplitter(instruction.value, args=dict(config.args), envs=dict(config.env)).dequote()
    return replace(config, workdir=path if path.startswith("/") else f"{config.workdir.rstrip('/')}/{path}")


def _user(instruction: Instruction, config: ImageConfig) -> ImageConfig:
    return replace(config, user=split(instruction.value, config)[0])


def _shell(instruction: Instruction, config: ImageConfig) -> ImageConfig:
    if (words := _exec_form(instruction.value)) is None:
        raise instruction.refused("SHELL takes a JSON list of words.")
    return replace(config, shell=words)


def _entrypoint(instruction: Instruction, config: ImageConfig) -> ImageConfig:
    return replace(config, entrypoint=_words(instruction, config))


def _cmd(instruction: Instruction, config: ImageConfig) -> ImageConfig:
    return replace(config, cmd=_words(instruction, config))


_STATE: Mapping[str, Callable[[Instruction, ImageConfig], ImageConfig]] = {
    "ENV": _env, "WORKDIR": _workdir, "USER": _user, "SHELL": _shell, "ENTRYPOINT": _entrypoint, "CMD": _cmd,
}  # fmt: skip


def configured(instruction: Instruction, config: ImageConfig, given: Mapping[str, str]) -> ImageConfig:
    """The state after an instruction that touches no file; refuses what it does not know. `given`: build arguments."""
    if instruction.name in _NOTED_ONLY:
        return config
    if instruction.name == "ARG":
        name, _, default = WordSplitter(instruction.value, dict(config.args), dict(config.env)).dequote().partition("=")
        return replace(config, args={**config.args, name: given.get(name, default)})
    if (change := _STATE.get(instruction.name)) is None:
        known = ", ".join(sorted({"FROM", "RUN", "COPY", "ARG", *_STATE, *_NOTED_ONLY}))
        raise instruction.refused(f"{instruction.name} is not served by the local builder; it knows {known}.")
    return change(instruction, config)
