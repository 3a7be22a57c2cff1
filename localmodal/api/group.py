"""What every group of calls shares: the control plane behind it and who is calling."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localmodal.plane import Plane


@dataclass(frozen=True)
class Caller:
    """Who makes a call: a client with the token, or the container behind one unix socket."""

    task_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


current_caller: ContextVar[Caller] = ContextVar("current_caller")


class Group:
    """A group of calls. A public method named like a call of `modal_proto` serves it.

    Unary calls are coroutines `request -> response`; streaming ones return an async iterator of responses.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    @property
    def task_id(self) -> str:
        """The calling container's task; PERMISSION_DENIED for any other caller."""
        if (task_id := current_caller.get().task_id) is None:
            raise GRPCError(Status.PERMISSION_DENIED, "only a container may make this call")
        return task_id
