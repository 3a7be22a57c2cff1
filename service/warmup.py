"""Operation: makes a deployed version's snapshot, and proves that cold containers are restored from it.

0. No container is kept warm meanwhile: one that never starts could not be met cold.
1. Cold containers, one after the other: each answers the same first request and ends itself, until one was restored.
   One that fails is told from its log: what may pass is tried again, and what cannot ends the warm-up at once.
2. One cold start of the twin without a snapshot, under the same request: the honest "before".
3. Restored containers, one after the other, until as many in a row as asked for.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import modal

from engines.boots import BootRecord, StartReport
from engines.names import SERVICE, TWIN
from service import boots, container_logs, protocol
from service.autoscale import scaled_to_zero
from service.failure import Failure
from service.failure_kinds import Moment, Retry
from service.failures import Patience, recognise
from service.process import serve
from service.proof import Proof, Start, figures, speedup
from spec import Scaling, Warmup

if TYPE_CHECKING:
    from collections.abc import Collection

    from service.container_logs import ContainerLog
    from service.failures import Known
    from service.progress import Progress

_POLL_S = 0.05
_LOG_LINES = 20
_MORE_ROOM = "To give it more room, raise warmup.max_starts or warmup.timeout."
_LOOK_S = 15.0
"""While an answer is waited for, the log is looked at as often: the service itself restores again and again."""
_NO_USE = {
    Retry.NEVER: "Another start would end alike.",
    Retry.REBUILD: "Another snapshot was no better.",
    Retry.AGAIN: "It has not passed by itself.",
}
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


class _ContainerFailedError(Exception):
    """A container could not answer; the message is the client's."""


class Starter:
    """Starts containers of one version, one at a time, and collects what they prove."""

    def __init__(self, app_name: str, warmup: Warmup, definition: str, progress: Progress) -> None:
        self.app_name = app_name
        self.warmup = warmup
        self.proof = Proof(definition, warmup.restores_in_a_row)
        self._began = datetime.now(UTC)
        self._deadline = time.monotonic() + warmup.timeout
        self._progress = progress
        self._patience = Patience()
        self._judged: set[str] = set()
        """Containers whose failure is counted."""

    def prove(self, wanted: int) -> None:
        """Starts containers of the service until `wanted` in a row were restored; Failure at the limits."""
        while self.proof.in_a_row < wanted:
            number = len(self.proof.starts) + 1
            if number > self.warmup.max_starts:
                raise self._gives_up(f"not enough restores within {self.warmup.max_starts} starts", self._what_helps())
            self._progress.status(f"start {number} of at most {self.warmup.max_starts} ({self.proof.so_far()})")
            self.proof.add(self.start(SERVICE))

    def start(self, class_name: str) -> Start:
        """One container's start, felt from here; another one's where it failed in a way that may pass."""
        while True:
            began = datetime.now(UTC)
            try:
                start = self._start(class_name, began)
            except _ContainerFailedError as error:
                self._bear(f"a container failed: {error}", self._recognised(class_name, began, error=str(error)))
            else:
                if class_name == SERVICE and not start.restored:
                    self._look_for_a_failed_snapshot(began)
                return start

    def _look_for_a_failed_snapshot(self, began: datetime) -> None:
        """A restore that failed costs no answer: the next container starts cold instead, and only the log tells."""
        if known := self._recognised(SERVICE, began, {Moment.SNAPSHOT, Moment.RESTORE}):
            self._bear(f"the snapshot failed: {known.line}", known)

    def _bear(self, reason: str, known: Known | None) -> None:
        """Goes on after a failure that may pass; Failure after one that will not, or that nobody knows."""
        if known is None:
            raise self._gives_up(reason)
        if not self._patience.bears(known):
            raise self._gives_up(reason, str(known), _NO_USE[known.kind.retry])
        self._progress.warn(f"{self.app_name}: {reason.splitlines()[0]} {known}")

    def _recognised(
        self, class_name: str, began: datetime, moments: Collection[Moment] = tuple(Moment), error: str = ""
    ) -> Known | None:
        """What a container since then, or the error that the client got, tells of a failure that is not counted yet."""
        for log in container_logs.since(self.app_name, began):
            known, name = recognise(log.lines), log.container or str(began)
            if known and known.moment in moments and name not in self._judged:
                self._judged.add(name)
                self._keep(class_name, log, known)
                return known
        return recognise(error.splitlines())

    def _keep(self, class_name: str, log: ContainerLog, known: Known) -> None:
        """A container that was killed or crashed has left no boot record."""
        record = BootRecord(
            id=log.container,
            service=self.app_name,
            definition=self.proof.definition,
            role="service" if class_name == SERVICE else "twin",
            kind="restored" if known.moment is Moment.RESTORE else "cold",
            started_at=log.began.timestamp(),
            ready_at=None,
            phases={},
            gpu=None,
            versions={},
            error=known.line,
        )
        if log.container:
            boots.add(self.app_name, record)

    def _start(self, class_name: str, began: datetime) -> Start:
        """The request, its answer, and the container's end."""
        requested_at = time.time()
        call = modal.Cls.from_name(self.app_name, class_name)().start.spawn(last=True)
        report = StartReport.model_validate(self._answer(call, class_name, began))
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

    def _answer(self, call: modal.FunctionCall[Any], class_name: str, began: datetime) -> object:
        """The call's answer; Failure, and no container left of it, once it is not worth waiting for."""
        try:
            while True:
                try:
                    return call.get(timeout=min(_LOOK_S, self._seconds_left()))
                except TimeoutError:
                    self._look_meanwhile(class_name, began)
        except Failure:
            call.cancel(terminate_containers=True)
            raise
        except Exception as error:
            raise _ContainerFailedError(str(error)) from error

    def _look_meanwhile(self, class_name: str, began: datetime) -> None:
        """A container that loads may say much that ends well; one that failed to be restored may not."""
        if not self._seconds_left():
            known = self._recognised(class_name, began)
            reason = f"a container did not answer within {self.warmup.timeout:g} s"
            raise self._gives_up(reason, str(known) if known else _MORE_ROOM)
        if known := self._recognised(class_name, began, {Moment.RESTORE}):
            self._bear(f"the snapshot failed: {known.line}", known)

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
        logs = container_logs.since(self.app_name, self._began)
        return [line for log in logs for line in log.lines][-_LOG_LINES:]


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
