"""No containers: who needs one is told that there are none here, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from localmodal.home import RECORD
from localmodal.tasks.scheduler import Scheduler
from localmodal.worker.container import ContainerError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from localmodal.tasks.calls import Input
    from localmodal.tasks.tasks import Task

_REFUSAL = (
    "this control plane records; nothing is built or runs here. `coldsnap local recorded` shows what has arrived. "
    f"To call it, deploy to Modal, or to the local control plane: without {RECORD}."
)


class NoContainers:
    """See the protocol `Launcher`."""

    async def prepare(self, definition: api_pb2.Function) -> None:
        """Whatever it asks for, a GPU that this machine lacks too, is written down by its name."""

    async def launch(self, task: Task) -> NoReturn:
        """ContainerError."""
        raise ContainerError(_refusal(task.function.tag))

    def discard(self, task: Task) -> None:
        """Nothing was set up."""

    def lost_faith(self, task: Task, reason: str) -> None:
        """There are no snapshots."""

    def keep_snapshots(self, function_ids: Collection[str]) -> None:
        """There are none."""


class RecordingScheduler(Scheduler):
    """Has no pools: calls are refused, and what would be kept warm is not."""

    def pool(self, function_id: str) -> NoReturn:
        """FAILED_PRECONDITION, by name."""
        raise GRPCError(Status.FAILED_PRECONDITION, _refusal(self._functions.get(function_id).tag))

    def enqueue(self, inputs: Sequence[Input]) -> None:
        """Answers inputs that were not refused before, as those of web requests, with the reason."""
        for one in inputs:
            reason = _refusal(self._functions.get(one.call.function_id).tag)
            self._calls.fail(one, api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE, reason)

    def rescale(self, function_id: str) -> None:
        """The numbers are written down; there is nothing to scale."""

    def version_changed(self, app_id: str, *, restart: bool) -> None:
        """No container follows."""

    def settings_changed(self, app_id: str) -> None:
        """As `rescale`."""


def _refusal(tag: str) -> str:
    return f"{tag}: {_REFUSAL}"
