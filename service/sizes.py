"""What of a service's memory is known before anything is deployed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from service.gguf import NotWholeError, numbers
from service.local_files import UnfitError, size_of

if TYPE_CHECKING:
    from spec import ServiceSpec

_BYTES_OF_A_NUMBER = 2
"""Of a KV cache as engines make it where nothing else is asked for: 16 bits."""


def weights_bytes(service: ServiceSpec) -> int | None:
    """Of a file or folder of this machine, else what the service declares; none where it declares nothing."""
    declared = service.weights.size_gb
    if path := service.weights.path:
        with suppress(UnfitError):  # which is a rule's matter
            return size_of(Path(path))
    return int(declared * 1e9) if declared else None


def is_declared(service: ServiceSpec) -> bool:
    """Whether the size of the weights is only what the service says of it."""
    return service.weights.path is None


def cache_bytes(service: ServiceSpec) -> int | None:
    """Of the KV cache, if every layer looks at every token.

    It is the most that it takes. None where the header is not here, or describes each layer by itself.
    """
    tokens, per_token = service.engine.cache_tokens, _cache_bytes_of_a_token(service)
    return tokens * per_token if tokens and per_token else None


def _cache_bytes_of_a_token(service: ServiceSpec) -> int | None:
    header = _header(service)
    try:
        layers, heads = header["block_count"], header["attention.head_count_kv"]
        key = header.get("attention.key_length") or header["embedding_length"] // header["attention.head_count"]
    except KeyError:
        return None
    return layers * heads * (key + header.get("attention.value_length", key)) * _BYTES_OF_A_NUMBER


def _header(service: ServiceSpec) -> dict[str, int]:
    """The model's own numbers, without the architecture's name that each key begins with."""
    file = _local_file(service)
    try:
        return {key.partition(".")[2]: value for key, value in numbers(file).items()} if file else {}
    except NotWholeError:  # which is another rule's matter
        return {}


def _local_file(service: ServiceSpec) -> Path | None:
    path = Path(service.weights.path) if service.weights.path else None
    return path if path and path.is_file() else None
