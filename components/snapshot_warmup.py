"""The proved snapshot of one deployed version.

A resource of its own: where the proof fails, the deployment is there all the same, and the next `up` retries it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi.dynamic import Resource

from components.progress import StatusColumn
from components.provider import ServiceProvider, Values, run
from service.backend import forgive_snapshots, is_billed, missing_for_snapshots
from service.changes import WARMUP, Effect
from service.economics import Hardware, Measured, snapshot_in_words

if TYPE_CHECKING:
    import pulumi


class SnapshotWarmupProvider(ServiceProvider):
    """Proves the snapshot."""

    table = WARMUP
    results = ("state", "failure", "cold", "restored", "speedup", "restores", "containers_started", "container_seconds")

    def standing(self, old: Values) -> Values:
        """Where there could be no snapshot, none was asked for: once there can be one, that is a change."""
        could_not = old.get("state") == "none" and old.get("snapshot")
        return {**old, "snapshot": False} if could_not and not missing_for_snapshots(old["backend"]) else old

    def price(self, old: Values, new: Values) -> str:
        """Of the starts that make and prove a snapshot: as many seconds as the last time."""
        hardware = Hardware.of(new) if is_billed(new["backend"]) else None
        return snapshot_in_words(hardware, Measured.of(old)) if hardware else ""

    def apply(self, effect: Effect, inputs: Values) -> Values | None:
        """Starts containers until the snapshot is proved."""
        if effect is Effect.RECORD:
            return None
        from spec import Warmup  # noqa: PLC0415 - a preview's provider needs no models

        forgive_snapshots(inputs["backend"], inputs["app_name"])
        request = {
            "app_name": inputs["app_name"],
            "definition": inputs["definition"],
            "snapshot": inputs["snapshot"],
            "scaling": inputs["scaling"],
            "missing": missing_for_snapshots(inputs["backend"]),
            "warmup": {name: inputs[name] for name in Warmup.model_fields if name in inputs},
        }
        return run("warmup", inputs, request)

    def look(self, outputs: Values) -> Values | None:
        """Whether the snapshot that was proved still serves."""
        if outputs.get("state") not in {"verified", "failed"}:
            return outputs
        request = {"app_name": outputs["app_name"], "definition": outputs["definition"]}
        failure = run("snapshot_drift", outputs, request)["failure"]
        if failure:
            StatusColumn(outputs["urn"]).warn(f"{outputs['app_name']}: the snapshot has failed: {failure}")
        return {**outputs, "state": "failed" if failure else "verified", "failure": failure}


class SnapshotWarmup(Resource, module="coldsnap", name="SnapshotWarmup"):
    """A snapshot that cold containers are proved to be restored from, and how much faster they start."""

    state: pulumi.Output[str]
    failure: pulumi.Output[str | None]
    cold: pulumi.Output[dict[str, Any] | None]
    restored: pulumi.Output[dict[str, Any] | None]
    speedup: pulumi.Output[float | None]
    restores: pulumi.Output[int]
    containers_started: pulumi.Output[int]
    container_seconds: pulumi.Output[float]

    def __init__(self, name: str, inputs: Values, opts: pulumi.ResourceOptions) -> None:
        unknown = dict.fromkeys(SnapshotWarmupProvider.results)
        super().__init__(SnapshotWarmupProvider(), name, {**inputs, **unknown}, opts)
