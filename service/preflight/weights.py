"""Rules about weights: whether they are there and whole, may be had, and lie where they should."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from service.gguf import NotWholeError, check_whole
from service.local_files import UnfitError, carried
from service.placement import ON_A_VOLUME_ABOVE_GB, placement
from service.preflight.rule import Machine, Rule, Severity, Violation
from service.sizes import weights_bytes
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spec import ServiceSpec

_GATED = re.compile(
    r"black-forest-labs/FLUX|meta-llama/|google/(gemma|paligemma|medgemma)|mistralai/|stabilityai/stable"
)
"""Repositories that are known to ask for an account which has agreed to their terms: there are more."""


def weights_are_there(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """They are read on the machine that deploys: a file, or all files of a folder.

    What a link in a folder leads to outside of it would not be there in the image.
    """
    if path := service.weights.path:
        try:
            carried(Path(path))
        except UnfitError as error:
            yield Violation(f"{error}.")


def weights_are_whole(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A GGUF file that is cut off, or is none, is copied into the image and then refused at every start."""
    for file in _local_files(service):
        if file.suffix != ".gguf":
            continue
        try:
            check_whole(file)
        except NotWholeError as error:
            yield Violation(f'"{file}" {error}.')


def _local_files(service: ServiceSpec) -> list[Path]:
    """None where they come from elsewhere, or are not there, which is another rule's matter."""
    path = service.weights.path
    with suppress(UnfitError):
        return list(carried(Path(path)).values()) if path else []
    return []


def gated_weights_have_a_token(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The Hub answers 401 to whoever has not agreed to the model's terms.

    Which repositories ask for that is not known before a download: this knows the most common ones.
    """
    repository = service.weights.huggingface or ""
    if _GATED.match(repository) and not service.weights.token_secret:
        yield Violation(f'"{repository}" is gated: the Hub gives it only to accounts that have agreed to its terms.')


def large_weights_are_not_baked(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """An image with more than 25 GB of weights takes minutes to build and to be pulled.

    It is built again for every change of a layer below them. A Volume is filled once.
    """
    size = weights_bytes(service)
    if placement(service).place == "image" and size and size > ON_A_VOLUME_ABOVE_GB * 1e9:
        yield Violation(f"{size / 1e9:.1f} GB of weights would be in the image.")


def size_is_known(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Neither the place of the weights nor whether they fit the GPU can be told without their size.

    A repository or an address does not show it before it is downloaded.
    """
    if asks_for_gpu(service.gpu) and service.weights.source in {"huggingface", "url"} and not weights_bytes(service):
        yield Violation("it is not declared, so nothing tells whether the weights fit the GPU.")


def memory_holds_the_weights(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Weights pass through the container's memory when they are loaded.

    They lie there as a whole while a snapshot of a GPU is taken. A container that has less is killed: exit code 137.
    """
    size, memory = weights_bytes(service), service.memory
    if size and memory and memory << 20 < size:
        yield Violation(f"{memory} MiB are less than the weights: {size >> 20} MiB.")


RULES = (
    Rule(
        "CS002",
        Severity.ERROR,
        "weights.path",
        "weights that are there",
        weights_are_there,
        "Give the path of the weights' file, or of a folder that has them.",
    ),
    Rule(
        "CS006",
        Severity.ERROR,
        "weights.path",
        "a file of weights that is whole",
        weights_are_whole,
        "Download it again, and compare its size.",
    ),
    Rule(
        "CS032",
        Severity.ERROR,
        "weights.token_secret",
        "a token for weights that are gated",
        gated_weights_have_a_token,
        "Agree to the terms on the model's page, make a Secret with HF_TOKEN, and give its name.",
    ),
    Rule(
        "CS033",
        Severity.WARNING,
        "weights.place",
        "weights above 25 GB on a Volume",
        large_weights_are_not_baked,
        "Set place: volume.",
    ),
    Rule(
        "CS034",
        Severity.WARNING,
        "weights.size_gb",
        "weights of a known size",
        size_is_known,
        "Add up the files that the model's page lists, in GB.",
    ),
    Rule(
        "CS035",
        Severity.WARNING,
        "memory",
        "memory for the weights",
        memory_holds_the_weights,
        "Ask for more, or leave it out.",
    ),
)
