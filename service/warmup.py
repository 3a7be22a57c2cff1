"""Operation: makes a deployed version's snapshot, and proves that cold containers are restored from it.

0. No container is kept warm meanwhile: one that never starts could not be met cold.
1. Cold containers, one after the other: each answers the same first request and ends itself, until one was restored.
2. One cold start of the twin without a snapshot, under the same request: the honest "before".
3. Restored containers, one after the other, until as many in a row as asked for.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import modal

from engines.boots import StartReport
from engines.names import SERVICE, TWIN
from service import protocol
from service.autoscale import scaled_to_zero
from service.failure import Failure
from service.process import serve
from service.proof import Proof, Start, figures, speedup
from spec import Scaling, Warmup

if TYPE_CHECKING:
    from service.progress import Progress

_POLL_S = 0.05
_LOG_LINES = 20
_MORE_ROOM = "To give it more room, raise warmup.max_starts or warmup.timeout."
_NO_SNAPSHOT = "The last container took no snapshot, so more starts would not help: see the log for the reason."


def warm_up(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The snapshot's state and the figures before and after."""
    starter = Starter(request["app_name"], Warmup.model_validate(request["warmup"]), request["definition"], progress)
    with scaled_to_zero(starter.app_name, Scaling.model_validate(request["scaling"]), progress):
        if not _takes_snapshots(request, progress):
            return _outcome("none", cold=[starter.start(SERVICE)], proof=starter.proof)
        starter.prove(wanted=1)
        progress.status("one start without a snapshot, to compare with")
        cold = starter.start(TWIN)
        starter.prove(wanted=starter.warmup.restores_in_a_row)
        return _outcome("verified", cold=[cold], proof=starter.proof)


def _takes_snapshots(request: dict[str, Any], progress: Progress) -> bool:
    if lacks := request["missing"]:
        missing = "; ".join(lacks)
        progress.warn(f"{request['app_name']}: no memory snapshot here, every start is cold. Missing: {missing}")
    return request["snapshot"] and not lacks


class Starter:
    """Starts containers of one version, one at a time, and collects what they prove."""

    def __init__(self, app_name: str, warmup: Warmup, definition: str, progress: Progress) -> None:
        self.app_name = app_name
        self.warmup = warmup
        self.proof = Proof(definition, warmup.restores_in_a_row)
        self._began = datetime.now(UTC)
        self._deadline = time.monotonic() + warmup.timeout
        self._progress = progress

    def prove(self, wanted: int) -> None:
        """Starts containers of the service until `wanted` in a row were restored; Failure at the limits."""
        while self.proof.in_a_row < wanted:
            number = len(self.proof.starts) + 1
            if number > self.warmup.max_starts:
                raise self._gives_up(f"not enough restores within {self.warmup.max_starts} starts", self._what_helps())
            self._progress.status(f"start {number} of at most {self.warmup.max_starts} ({self.proof.so_far()})")
            self.proof.add(self.start(SERVICE))

    def start(self, class_name: str) -> Start:
        """One container's start, felt from here: the request, its answer, and the container's end."""
        requested_at = time.time()
        call = modal.Cls.from_name(self.app_name, class_name)().start.spawn(last=True)
        report = StartReport.model_validate(self._answer(call))
        answered_at = time.time()
        return Start(
            boot=report.boot,
            said=self._ended(report.boot.id).kind,
            requested_at=requested_at,
            taken_at=report.taken_at,
            answered_at=answered_at,
            first=report.first,
        )

    def _what_helps(self) -> str:
        """More starts do not, where none of them takes a snapshot any more."""
        last = self.proof.starts[-1].boot
        return _NO_SNAPSHOT if last.kind == "cold" and "snapshot" not in last.phases else _MORE_ROOM

    def _answer(self, call: modal.FunctionCall[Any]) -> object:
        try:
            return call.get(timeout=self._seconds_left())
        except TimeoutError:
            call.cancel(terminate_containers=True)
            raise self._gives_up(f"a container did not answer within {self.warmup.timeout:g} s", _MORE_ROOM) from None
        except Exception as error:
            raise self._gives_up(f"a container failed: {error}") from error

    def _ended(self, task_id: str) -> protocol.Container:
        """Waits for the container's end: the next request would else wait for it too, where only one may run."""
        while self._seconds_left():
            container: protocol.Container = protocol.container(task_id)
            if container.ended:
                return container
            time.sleep(_POLL_S)
        raise self._gives_up(f"container {task_id} did not end after its answer", _MORE_ROOM)

    def _seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _gives_up(self, reason: str, *hints: str) -> Failure:
        log = self._log()
        lines = [
            f"{self.app_name}: the snapshot is not proved: {reason}",
            f"Starts so far: {self.proof.so_far()}.",
            "The deployment stays live. `pulumi up` tries the warm-up again, and nothing else.",
            *hints,
            "The last lines of the containers' log:" if log else "The containers wrote nothing to their log.",
            *(f"  {line}" for line in log),
        ]
        return Failure("\n".join(lines))

    def _log(self) -> list[str]:
        """Of the containers since the warm-up began: what an earlier version's said is of no help."""
        entries = modal.App.lookup(self.app_name).logs.tail(_LOG_LINES)
        said = "".join(entry.message for entry in entries if entry.timestamp >= self._began)
        return said.splitlines()[-_LOG_LINES:]


def _outcome(snapshot: str, *, cold: list[Start], proof: Proof) -> dict[str, Any]:
    before, after, all_starts = figures(cold), figures(proof.restored), [*cold, *proof.starts]
    return {
        "state": snapshot,
        "failure": None,
        "cold": before,
        "restored": after,
        "speedup": speedup(before, after),
        "restores": proof.in_a_row,
        "containers_started": len(all_starts),
        "container_seconds": round(sum(start.first_answer_s for start in all_starts), 1),
    }


if __name__ == "__main__":
    serve(warm_up)
