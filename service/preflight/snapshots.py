"""Rules about what a snapshot cannot hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from service.preflight.rule import Machine, Rule, Severity, Violation
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spec import ServiceSpec

_ALLOCATORS = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The older and the newer name of torch's variable."""
_SHARES_GPU_MEMORY = ("NCCL_CUMEM_ENABLE", "NCCL_CUMEM_HOST_ENABLE", "SGLANG_USE_CUDA_IPC_TRANSPORT")
"""Variables that make processes share memory through CUDA when they are on."""
_OFF = {"", "0", "false", "no", "off"}
_UNDUMPABLE = re.compile(r"io_?uring|liburing|userfaultfd", re.IGNORECASE)


def snapshots_gpu(service: ServiceSpec) -> bool:
    """Whether GPU memory is to be in a snapshot."""
    return service.snapshot.enabled and service.snapshot.gpu is not False and asks_for_gpu(service.gpu)


def no_mapped_weights(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The mapped file is read into the GPU and stays mapped beside it.

    The snapshot holds the weights twice, or is restored where the file is no longer, and ends at the first touch.
    """
    if snapshots_gpu(service) and service.engine.maps_weights(on_gpu=True):
        yield Violation("the weights' file stays mapped into a process whose GPU memory is snapshotted.")


def gpu_memory_is_released(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """What the engine allocates through CUDA's virtual memory does not survive a snapshot.

    Only its memory saver can release it before and bring it back after.
    """
    if snapshots_gpu(service) and not service.engine.gives_gpu_memory_back:
        yield Violation("without its memory saver the engine cannot release its GPU memory before a snapshot.")


def released_weights_come_back(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Released GPU memory comes back with whatever was in it.

    Without a copy in the host's memory the restored engine answers with garbage, and reports no error.
    """
    if snapshots_gpu(service) and not service.engine.keeps_released_weights:
        yield Violation("the weights are released before the snapshot, and no copy of them is kept.")


def no_compile_workers(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """TorchInductor's compile workers inherit the GPU's open handles.

    A snapshot then ends with "out of memory" or with a handle that cannot be saved. With one thread there are none.
    """
    threads = service.image.env.get("TORCHINDUCTOR_COMPILE_THREADS", "1")
    if service.snapshot.enabled and threads != "1":
        yield Violation(f'"{threads}" makes TorchInductor start compile workers, which a snapshot cannot hold.')


def no_expandable_segments(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Expandable segments are CUDA's virtual memory, which does not survive a snapshot."""
    for name in _ALLOCATORS:
        if snapshots_gpu(service) and "expandable_segments:true" in service.image.env.get(name, "").lower():
            yield Violation("expandable_segments:True does not survive a snapshot.", where=f"image.env.{name}")


def no_shared_gpu_memory(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Processes that share GPU memory (CUDA IPC, NCCL's cuMem) hold handles of the driver.

    These are gone after a restore.
    """
    for name in _SHARES_GPU_MEMORY:
        value = service.image.env.get(name, "")
        if snapshots_gpu(service) and value.lower() not in _OFF:
            yield Violation(f'"{value}" shares GPU memory between processes.', where=f"image.env.{name}")


def nothing_undumpable(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A process that holds an io_uring or a userfaultfd cannot be snapshotted.

    All its starts are cold. This looks for their names in the recipe; what a library opens by itself shows only in the
    log of the first start.
    """
    image = service.image
    names = [name for name, value in image.env.items() if value.lower() not in _OFF]
    said = {"apt": image.apt, "pip": image.pip, "run": image.run, "env": names}
    for part, lines in said.items():
        for line in filter(_UNDUMPABLE.search, lines):
            if service.snapshot.enabled:
                yield Violation(f'"{line}" is for what no snapshot can hold.', where=f"image.{part}")


def load_meets_a_gpu(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A snapshot of the CPU's memory alone is taken on a machine without a GPU.

    The engine, which is loaded before it, finds none, and CUDA stays unusable for the process and for all its copies.
    """
    if service.snapshot.enabled and service.snapshot.gpu is False and asks_for_gpu(service.gpu):
        yield Violation("without GPU memory in the snapshot, the engine is loaded where there is no GPU.")


RULES = (
    Rule(
        "CS016",
        Severity.ERROR,
        "engine.options",
        "no mapped weights in a snapshot of a GPU",
        no_mapped_weights,
        "Set use_mmap: false, or leave it out.",
    ),
    Rule(
        "CS017",
        Severity.ERROR,
        "engine.options",
        "GPU memory that can be released before a snapshot",
        gpu_memory_is_released,
        "Leave enable_memory_saver on.",
    ),
    Rule(
        "CS018",
        Severity.ERROR,
        "engine.options",
        "a copy of weights that are released",
        released_weights_come_back,
        "Leave enable_weights_cpu_backup on.",
    ),
    Rule(
        "CS019",
        Severity.ERROR,
        "image.env.TORCHINDUCTOR_COMPILE_THREADS",
        "no compile workers in a snapshot",
        no_compile_workers,
        'Set "1", or leave it out.',
    ),
    Rule(
        "CS020",
        Severity.ERROR,
        "image.env",
        "no expandable segments in a snapshot of a GPU",
        no_expandable_segments,
        "Take it out of the variable.",
    ),
    Rule(
        "CS021",
        Severity.ERROR,
        "image.env",
        "no GPU memory that is shared between processes in a snapshot",
        no_shared_gpu_memory,
        'Set "0", or leave it out.',
    ),
    Rule(
        "CS022",
        Severity.WARNING,
        "image",
        "no io_uring and no userfaultfd in a snapshot",
        nothing_undumpable,
        "Take it out of the recipe, or set snapshot.enabled: false.",
    ),
    Rule(
        "CS023",
        Severity.ERROR,
        "snapshot.gpu",
        "a GPU in the snapshot of an engine that runs on one",
        load_meets_a_gpu,
        "Set snapshot.gpu: auto.",
    ),
)
