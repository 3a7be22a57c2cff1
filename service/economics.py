"""Pure: what a service's containers cost on Modal, by the prices of `prices.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

_FILE = Path(__file__).with_name("prices.toml")
_MIB_PER_GIB = 1024
_MINUTE_S = 60
_CENT = 0.01


@dataclass(frozen=True)
class Prices:
    """US dollars, as they were on a day."""

    source: str
    """Address of the page that has them."""
    seen_on: date
    gpu_second: Mapping[str, float]
    core_second: float
    gib_second: float
    least_cores: float
    """What a container has, and is billed for, that asks for less."""
    least_mib: int


@cache
def prices() -> Prices:
    """What the data file holds."""
    import tomllib  # noqa: PLC0415 - takes as long as the rest of a preview's provider, which seldom asks for a price

    table = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return Prices(
        source=table["source"],
        seen_on=table["seen_on"],
        gpu_second=table["gpu_second"],
        core_second=table["cpu"]["core_second"],
        gib_second=table["memory"]["gib_second"],
        least_cores=table["cpu"]["least_cores"],
        least_mib=table["memory"]["least_mib"],
    )


@dataclass(frozen=True)
class Hardware:
    """What each of a service's containers asks for."""

    gpu: str | None
    """`TYPE` or `TYPE:COUNT`; none: it runs on the CPU."""
    cores: float
    mib: float

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> Hardware | None:
        """The hardware of a service's `gpu`, `cpu` and `memory`; none while a preview does not know them.

        Of several GPU types it is the first, which Modal tries first: another one has another price.
        """
        choice = asked.get("gpu")
        gpu = choice[0] if isinstance(choice, list | tuple) else choice
        cores, mib = asked.get("cpu") or 0.0, asked.get("memory") or 0.0
        if not (isinstance(gpu, str | None) and isinstance(cores, int | float) and isinstance(mib, int | float)):
            return None
        return cls(None if gpu == "none" else gpu, float(cores), float(mib))

    def __str__(self) -> str:
        return self.gpu or "CPU"

    @property
    def usd_per_second(self) -> float:
        """Of one container, with what it asks for; one that uses more CPU or memory is billed for that."""
        known = prices()
        cpu = known.core_second * max(self.cores, known.least_cores)
        return self._gpu_second() + cpu + known.gib_second * max(self.mib, known.least_mib) / _MIB_PER_GIB

    def _gpu_second(self) -> float:
        if self.gpu is None:
            return 0.0
        kind, _, count = self.gpu.partition(":")
        return prices().gpu_second[kind] * int(count or 1)

    def usd(self, seconds: float) -> float:
        """Of one container that lives so long, whether it starts, answers or is idle."""
        return seconds * self.usd_per_second

    @property
    def usd_per_idle_minute(self) -> float:
        """Of one container that waits for requests."""
        return self.usd(_MINUTE_S)


@dataclass(frozen=True)
class Measured:
    """Seconds of a version's starts, as its warm-up measured them; none: not measured yet."""

    cold_s: float | None
    """Until a container without a snapshot takes its first request."""
    restored_s: float | None
    """Until a restored one does."""
    snapshot_s: float | None
    """Of all the containers that made and proved the snapshot, one after the other."""

    @classmethod
    def of(cls, warmup: Mapping[str, Any]) -> Measured:
        """What a warm-up has left in the stack's state."""
        cold, restored = warmup.get("cold") or {}, warmup.get("restored") or {}
        return cls(cold.get("ready_s"), restored.get("ready_s"), warmup.get("container_seconds"))


def standing_price(hardware: Hardware) -> dict[str, Any]:
    """What is known before anything is measured, for a stack's outputs: and whose prices of which day they are."""
    known = prices()
    priced = {"hardware": str(hardware), "source": known.source, "seen_on": known.seen_on.isoformat()}
    return {"idle_minute": _rounded(hardware.usd_per_idle_minute), **priced}


def measured_price(hardware: Hardware, measured: Measured) -> dict[str, float | None]:
    """What starts and a snapshot cost, for a stack's outputs: US dollars; none where it is not measured."""
    parts = {"cold_start": measured.cold_s, "restored_start": measured.restored_s, "snapshot": measured.snapshot_s}
    return {name: None if seconds is None else _rounded(hardware.usd(seconds)) for name, seconds in parts.items()}


def snapshot_in_words(hardware: Hardware, measured: Measured) -> str:
    """What a new snapshot, or a new proof of one, costs: `about 90 s of L40S = $0.05`."""
    if measured.snapshot_s is None:
        minute = dollars(hardware.usd_per_idle_minute)
        return f"the snapshot's seconds are not measured yet, a minute of {hardware} = {minute}"
    return f"about {measured.snapshot_s:.0f} s of {hardware} = {dollars(hardware.usd(measured.snapshot_s))}"


def idle_in_words(hardware: Hardware) -> str:
    """What waiting costs: `an idle minute of L40S = $0.03`."""
    return f"an idle minute of {hardware} = {dollars(hardware.usd_per_idle_minute)}"


def dollars(amount: float) -> str:
    """To the cent, and what is less than one to two digits that count: $12.30, $0.05, $0.0012."""
    decimals = 1 - floor(log10(amount)) if 0 < amount < _CENT else 2
    return f"${amount:.{decimals}f}"


def _rounded(amount: float) -> float:
    """Six digits behind the point: a start on the CPU costs millionths."""
    return round(amount, 6)
