"""Rules about the GPU: whether there is one, and whether the service can use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.preflight.rule import Machine, Rule, Severity, Violation
from service.sizes import cache_bytes, is_declared, weights_bytes
from spec.gpu import alternatives, asks_for_gpu, count_of, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spec import ServiceSpec

_DRIVERS_SHARE = 1 << 30
"""Bytes of GPU memory that the driver's context, kernels and library workspaces take beside weights and cache."""


def gpu_is_there(service: ServiceSpec, machine: Machine) -> Iterator[Violation]:
    """The container could never be started."""
    if asks_for_gpu(service.gpu) and not machine.has_gpu:
        gpu = ", ".join(alternatives(service.gpu))
        yield Violation(f'"{gpu}" is asked for, and {machine.place} has no GPU.')


def gpu_is_asked_for(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The engine ends at its start where it finds no GPU."""
    if service.engine.NEEDS_GPU and not asks_for_gpu(service.gpu):
        yield Violation(f"{service.engine.kind} runs on a GPU only, and none is asked for.")


def machine_has_as_many(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """All GPUs of a container are in one machine, which has eight at most, or four of A10."""
    for gpu in alternatives(service.gpu):
        if count_of(gpu) > (most := type_of(gpu).most):
            yield Violation(f'"{gpu}" is more than one container can have: {most}.', f"Ask for {most} or fewer.")


def one_gpu_in_a_snapshot(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Modal snapshots the memory of one GPU; what GPUs share with each other cannot be restored."""
    if service.snapshot.enabled and service.snapshot.gpu is not False:
        for gpu in alternatives(service.gpu):
            if count_of(gpu) > 1:
                yield Violation(f'"{gpu}" is {count_of(gpu)} GPUs, and a snapshot holds the memory of one.')


def gpus_share_the_model(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """GPUs above those that the engine shares the model over stand idle, and are paid for.

    Where there are fewer, it ends at its start.
    """
    for gpu in alternatives(service.gpu):
        if service.engine.uses_gpu and count_of(gpu) != service.engine.gpus:
            yield Violation(f'"{gpu}" is {count_of(gpu)}, and the engine shares the model over {service.engine.gpus}.')


def one_type_in_a_snapshot(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A snapshot is restored on the type of GPU that it was taken on.

    The others start cold until they have one of their own, which the warm-up cannot bring about: it does not choose
    what it is given.
    """
    types = alternatives(service.gpu)
    if service.snapshot.enabled and len(set(types)) > 1:
        yield Violation(f"each of {', '.join(types)} needs a snapshot of its own, and one of them is proved.")


def gpu_is_used(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A GPU is paid for by the second, whether anything runs on it or not."""
    if asks_for_gpu(service.gpu) and not service.engine.uses_gpu:
        gpu = ", ".join(alternatives(service.gpu))
        yield Violation(f'the options leave every layer on the CPU, and "{gpu}" idle.')


def gpu_has_fp8(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Tensor cores multiply FP8 from Ada on, compute capability 8.9.

    Before that an engine ends with an error, or widens every weight at each use and is slower than with weights of 16
    bits.
    """
    if service.engine.fp8 or "fp8" in service.weights.model_dump_json().lower():
        for gpu in alternatives(service.gpu):
            major, minor = type_of(gpu).capability
            if not type_of(gpu).has_fp8:
                yield Violation(f'"{gpu}" has no FP8: its compute capability is {major}.{minor}, and FP8 needs 8.9.')


def weights_fit(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Loading ends with "out of memory", after the image was built and the weights were copied.

    Nothing is said where the size of the weights is not known before a deploy.
    """
    size = weights_bytes(service)
    if size and service.engine.uses_gpu:
        for gpu in alternatives(service.gpu):
            memory = int(_memory(gpu) * service.engine.gpu_share)
            if size + _DRIVERS_SHARE > memory:
                source = " (as weights.size_gb declares)" if is_declared(service) else ""
                needed = f"weights of {_gib(size)}{source} and {_gib(_DRIVERS_SHARE)} for the driver"
                yield Violation(f'{needed} do not fit into the {_gib(memory)} of "{gpu}".')


def cache_fits(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The weights fit and the KV cache beside them does not.

    Loading ends with "out of memory" all the same. The cache is computed from the header of a GGUF file for the context
    that is asked for, at 16 bits and as if every layer looked at every token: layers with a sliding window take less.
    Nothing is said where the header is not at hand.
    """
    if not asks_for_gpu(service.gpu) or not service.engine.uses_gpu:
        return
    size, cache = weights_bytes(service), cache_bytes(service)
    if size and cache:
        for gpu in alternatives(service.gpu):
            rest = _memory(gpu) - size - _DRIVERS_SHARE
            if 0 <= rest < cache:
                needed = f"a KV cache of up to {_gib(cache)} for {service.engine.cache_tokens} tokens"
                beside = f"weights of {_gib(size)} and {_gib(_DRIVERS_SHARE)} for the driver"
                yield Violation(f'{needed} does not fit beside {beside} into the {_gib(_memory(gpu))} of "{gpu}".')


def _memory(gpu: str) -> int:
    return type_of(gpu).memory * count_of(gpu)


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


RULES = (
    Rule(
        "CS001",
        Severity.ERROR,
        "gpu",
        "a GPU where the service runs on one",
        gpu_is_there,
        "Set gpu: none, or coldsnap:backend: modal.",
    ),
    Rule(
        "CS008",
        Severity.ERROR,
        "gpu",
        "a GPU for an engine that needs one",
        gpu_is_asked_for,
        'Set gpu, such as gpu: "L40S".',
    ),
    Rule(
        "CS009",
        Severity.ERROR,
        "gpu",
        "no more GPUs than a container can have",
        machine_has_as_many,
        "Ask for fewer.",
    ),
    Rule(
        "CS010",
        Severity.ERROR,
        "gpu",
        "one GPU where its memory is snapshotted",
        one_gpu_in_a_snapshot,
        "Ask for one GPU with more memory, or set snapshot.enabled: false.",
    ),
    Rule(
        "CS011",
        Severity.WARNING,
        "gpu",
        "one type of GPU where its memory is snapshotted",
        one_type_in_a_snapshot,
        "Ask for one type, or expect cold starts on the others.",
    ),
    Rule(
        "CS012",
        Severity.WARNING,
        "gpu",
        "a GPU that the engine uses",
        gpu_is_used,
        "Put layers on it (engine.options.n_gpu_layers: -1), or set gpu: none.",
    ),
    Rule(
        "CS013",
        Severity.ERROR,
        "gpu",
        "a GPU that calculates in FP8, for weights that are FP8",
        gpu_has_fp8,
        "Ask for L4, L40S, H100, H200, B200 or RTX-PRO-6000, or serve other weights.",
    ),
    Rule(
        "CS014",
        Severity.ERROR,
        "gpu",
        "weights that fit into the GPU's memory",
        weights_fit,
        "Ask for a GPU with more memory, or serve a smaller quantisation.",
    ),
    Rule(
        "CS015",
        Severity.WARNING,
        "gpu",
        "room for the KV cache beside the weights",
        cache_fits,
        "Ask for a GPU with more memory, or for a shorter context.",
    ),
    Rule(
        "CS042",
        Severity.ERROR,
        "gpu",
        "as many GPUs as the engine shares the model over",
        gpus_share_the_model,
        "Ask for as many, or set the engine's option (sglang: tp).",
    ),
)
