"""A service's outputs say what it costs."""

from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from components.snapshotted_gpu_service import _price
from service.economics import Hardware
from spec import ServiceSpec

SERVICE = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "a==1"}, "gpu": "L40S", "cpu": 4}


async def priced(**measured: Any) -> dict[str, Any]:
    warmup = SimpleNamespace(**{name: pulumi.Output.from_input(value) for name, value in measured.items()})
    price = _price(pulumi.Output.from_input(ServiceSpec.model_validate(SERVICE)), warmup)
    return {name: await value.future() for name, value in price.items()}


async def test_a_measured_service_is_priced_start_by_start() -> None:
    price = await priced(cold={"ready_s": 48.0}, restored={"ready_s": 2.0}, container_seconds=90.4)
    hardware = Hardware("L40S", cores=4, mib=0)
    expected = {"cold_start": 48, "restored_start": 2, "snapshot": 90.4, "idle_minute": 60}
    assert {name: price[name] for name in expected} == {
        name: pytest.approx(hardware.usd(seconds), abs=1e-6) for name, seconds in expected.items()
    }


async def test_a_service_without_a_snapshot_has_a_price_of_its_cold_start_alone() -> None:
    price = await priced(cold={"ready_s": 48.0}, restored=None, container_seconds=50.0)
    assert price["cold_start"]
    assert price["restored_start"] is None
