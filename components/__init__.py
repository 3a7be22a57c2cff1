"""What a Pulumi program declares: `SnapshottedGpuService`, and the resources that it is made of."""

from components.arguments import ServiceArgs
from components.snapshotted_gpu_service import SnapshottedGpuService

__all__ = ["ServiceArgs", "SnapshottedGpuService"]
