"""Puts the groups of calls together into one gRPC service: served, or UNIMPLEMENTED by name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from modal_proto.api_grpc import ModalClientBase

from localmodal.api.group import Caller, Group, current_caller

if TYPE_CHECKING:
    from grpclib.server import Stream

log = logging.getLogger(__name__)

_PREFIX = "/modal.client.ModalClient/"

Authorize = Callable[[Caller, str], None]
"""Raises GRPCError UNAUTHENTICATED when the caller may not make the call of that name."""


@cache
def calls_of_the_client() -> dict[str, Handler]:
    """Every call that the installed `modal` client knows, by its bare name."""
    ModalClientBase.__abstractmethods__ = frozenset()  # only the table of names and types is wanted
    base = ModalClientBase()  # type: ignore[abstract]
    return {path.rsplit("/", 1)[1]: handler for path, handler in base.__mapping__().items()}


def served_calls(groups: list[Group]) -> dict[str, Callable[..., Any]]:
    """The calls that a group serves, by name. Two groups serving the same one is a mistake of ours."""
    known, served = calls_of_the_client(), {}
    for group in groups:
        for name in known.keys() & set(dir(group)):
            assert name not in served, f"{name} is served twice"
            served[name] = getattr(group, name)
    return served


class Service:
    """What `grpclib.server.Server` takes: the whole client API for one kind of caller."""

    def __init__(self, groups: list[Group], authorize: Authorize) -> None:
        self._served = served_calls(groups)
        self._authorize = authorize
        self._task_id: str | None = None

    def of_task(self, task_id: str) -> Self:
        """The same for one container: cheap, since every start of a container needs one."""
        service = copy.copy(self)
        service._task_id = task_id  # noqa: SLF001 (its own)
        return service

    def __mapping__(self) -> dict[str, Handler]:
        return {
            _PREFIX + name: Handler(
                partial(self._handle, name), known.cardinality, known.request_type, known.reply_type
            )
            for name, known in calls_of_the_client().items()
        }

    async def _handle(self, name: str, stream: Stream[Any, Any]) -> None:
        caller = Caller(self._task_id, {key: str(value) for key, value in (stream.metadata or {}).items()})
        current_caller.set(caller)
        self._authorize(caller, name)
        request = await stream.recv_message()
        if (call := self._served.get(name)) is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not served by the local control plane")
        try:
            if calls_of_the_client()[name].cardinality is Cardinality.UNARY_STREAM:
                async for message in call(request):
                    await stream.send_message(message)
            else:
                await stream.send_message(await call(request))
        except GRPCError:
            raise
        except Exception as error:
            log.exception("%s failed", name)
            raise GRPCError(Status.INTERNAL, f"{name}: {error!r}") from error
