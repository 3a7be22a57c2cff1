"""The flags of one build of `llama-server`: they come, go and change their form, so each build is asked for its own."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from spec.llama_server import LlamaServerOptions

HELP_SECONDS = 60

_NAMES = re.compile(r"--?[A-Za-z][\w-]*")
_ROW = re.compile(r"(?P<names>--?[A-Za-z][\w-]*(?:,\s*--?[A-Za-z][\w-]*)*)(?P<value>\s\S)?")
"""The names of a flag, and whether a value follows: it stands one blank behind them, a description further off."""

_ALL_LAYERS = "999"
"""More than any model has: the word `all` is not in every build."""


class UnknownFlagError(Exception):
    """A build that cannot be told what a service needs."""


class Flags:
    """What a build understands, as its help says."""

    def __init__(self, help_text: str) -> None:
        rows = [row for line in help_text.splitlines() if (row := _ROW.match(line.strip()))]
        self._takes_value = {name: bool(row["value"]) for row in rows for name in _NAMES.findall(row["names"])}

    @classmethod
    def of(cls, program: Path) -> Flags:
        """The flags of the program in this image."""
        done = subprocess.run(
            [program, "--help"], capture_output=True, text=True, errors="replace", timeout=HELP_SECONDS, check=False
        )
        flags = cls(done.stdout + done.stderr)
        if "--model" not in flags:
            said = (done.stdout + done.stderr).strip()[-500:]
            raise UnknownFlagError(f"{program} --help ended with {done.returncode} and names no --model: {said}")
        return flags

    def __contains__(self, flag: object) -> bool:
        """Whether the build knows a flag."""
        return flag in self._takes_value

    def takes_value(self, flag: str) -> bool:
        """Whether a flag wants a value behind it."""
        return self._takes_value.get(flag, False)

    def if_known(self, flag: str, *value: str) -> list[str]:
        """The flag for a build that has it: one that does not behaves that way anyhow."""
        return [flag, *value] if flag in self else []


def for_options(flags: Flags, options: LlamaServerOptions, *, gpu_layers: int, mapped: bool) -> list[str]:
    """What the options come to for this build."""
    return [
        *("--ctx-size", str(options.n_ctx * options.slots)),
        *("--parallel", str(options.slots)),
        *("--batch-size", str(options.n_batch)),
        *("--ubatch-size", str(options.n_ubatch)),
        *("--n-gpu-layers", _ALL_LAYERS if gpu_layers < 0 else str(gpu_layers)),
        *_flash_attention(flags, options.flash_attn),
        *_load_mode(flags, mapped=mapped),
        *flags.if_known("--no-kv-unified"),
        *flags.if_known("--fit", "off"),
        *flags.if_known("--cache-ram", str(options.cache_ram)),
        *flags.if_known("--offline"),
        *flags.if_known("--jinja"),
        *(flags.if_known("--no-ui") or flags.if_known("--no-webui")),
        *flags.if_known("--slots"),
        "--metrics",
    ]


def for_images(flags: Flags, mmproj: Path, *, on_gpu: bool) -> list[str]:
    """What lets this build read images by a file beside the model's; it goes to the GPU where the model does."""
    if "--mmproj" not in flags:
        raise UnknownFlagError(
            f"this llama-server has no --mmproj, so it reads no images: leave {mmproj.name} out of weights.files"
        )
    return ["--mmproj", str(mmproj), *([] if on_gpu else flags.if_known("--no-mmproj-offload"))]


def _flash_attention(flags: Flags, wanted: str) -> list[str]:
    """Builds before autumn 2025 have a switch, which is off where it is not named, and no `auto`."""
    if flags.takes_value("--flash-attn"):
        return ["--flash-attn", wanted]
    return ["--flash-attn"] if wanted == "on" else []


def _load_mode(flags: Flags, *, mapped: bool) -> list[str]:
    """`--no-mmap` is gone from builds that have `--load-mode`."""
    if "--load-mode" in flags:
        return ["--load-mode", "mmap" if mapped else "none"]
    if mapped:
        return []
    if "--no-mmap" in flags:
        return ["--no-mmap"]
    raise UnknownFlagError("this llama-server has neither --load-mode nor --no-mmap, so weights would stay mapped")
