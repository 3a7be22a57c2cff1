"""What a user writes: the frozen models of a service, its engine, image, weights, scaling and snapshot."""

from spec.service import (
    Image,
    Scaling,
    ServiceSpec,
    Snapshot,
    Warmup,
)
from spec.weights import Weights

__all__ = ["Image", "Scaling", "ServiceSpec", "Snapshot", "Warmup", "Weights"]
