"""Commands of a recipe that change the system, on a machine where images are only environments.

They need root, and the system is not the image's to change. Such a command is named and skipped if what it would
bring is there already; else it fails and says what is missing.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import TYPE_CHECKING

from localmodal.images.layers import CommandError

if TYPE_CHECKING:
    from localmodal.images.layers import Command
    from localmodal.worker.container import Output

_SYSTEM_PROGRAMS = frozenset({
    "add-apt-repository", "apt", "apt-get", "apt-key", "debconf-set-selections", "dpkg", "groupadd", "ldconfig",
    "useradd",
})  # fmt: skip
_PART = re.compile(r"""(?P<before>&&|;|^)\s*(?P<command>(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|(?<!&)&(?!&)|[^\\;&])+)""")
"""A simple command of a line and what stands before it: separators within quotes separate nothing."""


async def without_system_commands(command: Command, output: Output) -> tuple[str, ...] | None:
    """What is left of a command's words; None if nothing is."""
    *shell, line = command.args
    parts = [(part["before"], part["command"].strip()) for part in _PART.finditer(line)]
    others = [(before, part) for before, part in parts if not _changes_the_system(part)]
    if len(others) == len(parts):
        return command.args
    for part in (part for _, part in parts if _changes_the_system(part)):
        await _require(part, output, in_base=command.in_base)
    left = " ".join(f"{before} {part}" for before, part in others).lstrip("&; ")
    return (*shell, left) if left else None


def _changes_the_system(part: str) -> bool:
    return any(_program(piped) in _SYSTEM_PROGRAMS for piped in part.split("|"))


def _program(text: str) -> str:
    """The program that a simple command starts, without variables set for it and without its folder."""
    words = (word for word in _words(text) if "=" not in word and word != "sudo")
    return next(words, "").rpartition("/")[2]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


async def _require(part: str, output: Output, *, in_base: bool) -> None:
    packages = _packages(part)
    missing = [package for package in packages if not await _installed(package)]
    if missing and not in_base:
        raise CommandError(
            f"{', '.join(missing)} must be installed on this machine first (apt-get install {' '.join(missing)}):"
            " without containers an image cannot bring packages of the system"
        )
    why = f"not here, and not needed by everyone: {', '.join(missing)}" if missing else "what it brings is there"
    output(2, f"skipped, since there are no containers ({why}): {part}\n".encode())


def _packages(part: str) -> list[str]:
    words = _words(part)
    if "install" not in words:
        return []
    named = [word for word in words[words.index("install") + 1 :] if not word.startswith("-")]
    return [name.partition("=")[0] for name in named]


async def _installed(package: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            "dpkg-query", "-W", "-f=${db:Status-Status}", package,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return False
    output, _ = await process.communicate()
    return output.strip() == b"installed"
