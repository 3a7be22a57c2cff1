"""Data: the GPU types that a service may ask for, as Modal names them, and what rules must know of each.

Names and how many a container may have: https://modal.com/docs/guide/gpu. Memory as the driver reports it
(`nvidia-smi --query-gpu=memory.total`), which is what there is to fill. Compute capability:
https://developer.nvidia.com/cuda-gpus.
"""

from typing import NamedTuple

FIRST_WITH_FP8 = (8, 9)
"""Compute capability of Ada, the first whose tensor cores multiply FP8."""


class GpuType(NamedTuple):
    """One type of GPU."""

    memory_mib: int
    capability: tuple[int, int]
    most: int = 8
    """How many of them one container may have."""

    @property
    def memory(self) -> int:
        """Bytes."""
        return self.memory_mib << 20

    @property
    def has_fp8(self) -> bool:
        """Whether it calculates in FP8."""
        return self.capability >= FIRST_WITH_FP8


TYPES = {
    "T4": GpuType(15360, (7, 5)),
    "L4": GpuType(23034, (8, 9)),
    "A10": GpuType(23028, (8, 6), most=4),
    "L40S": GpuType(46068, (8, 9)),
    "A100-40GB": GpuType(40960, (8, 0)),
    "A100-80GB": GpuType(81920, (8, 0)),
    "RTX-PRO-6000": GpuType(97887, (12, 0)),
    "H100": GpuType(81559, (9, 0)),
    "H100!": GpuType(81559, (9, 0)),
    "H200": GpuType(143771, (9, 0)),
    "B200": GpuType(183359, (10, 0)),
    "B200+": GpuType(183359, (10, 0)),
}
"""`H100!` is never upgraded to an H200; `B200+` may be any Blackwell or newer, and is at least this."""
