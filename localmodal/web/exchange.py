"""One web request, or one websocket, as the call of a function: what goes in, what comes out, how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.web.asgi import from_bytes, to_chunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localmodal.objects.blobs import Blobs
    from localmodal.tasks.calls import Call, Calls
    from localmodal.web.asgi import Message, Receive

FIRST_MESSAGE_WITHIN = 1.0
"""Seconds after which the app is told of a request whose body has not begun: the container gives up on one that it
hears nothing of for 5 s (modal._runtime.asgi.FIRST_MESSAGE_TIMEOUT_SECONDS)."""
DISCONNECT_GRACE = 5.0
"""Seconds that an app has, after it was told that its client hung up, before its input is cancelled."""


class Exchange:
    """The call of a web function."""

    def __init__(self, calls: Calls, blobs: Blobs, function_id: str, message: api_pb2.FunctionInput) -> None:
        self._calls = calls
        self._blobs = blobs
        self._seen = 0
        self.taking = asyncio.Lock()
        """Held by whoever takes the response: a result that is asked for twice is not handed out in halves."""
        self.fed = False
        """The whole request has been passed on."""
        self.abandoned = False
        """The client has hung up."""
        self.answered = False
        """The whole response has been taken: what the app still does is its own business."""
        # Not durable: whoever asked is gone when the daemon is, and a request is not repeated behind their back.
        self._call: Call = calls.open(function_id, durable=False)
        calls.submit(self._call, [api_pb2.FunctionPutInputsItem(input=message)])

    @property
    def id(self) -> str:
        """The function call's id."""
        return self._call.id

    @property
    def begun(self) -> bool:
        """Some of the response has been taken."""
        return self._seen > 0

    async def feed(self, receive: Receive) -> None:
        """Passes on what the client sends, until it hangs up."""
        message = await self._first(asyncio.ensure_future(receive()))
        while not message["type"].endswith(".disconnect"):
            await self._pass_on(message)
            message = await receive()
        self.abandoned = True
        await self._pass_on(message)
        if not self.answered:
            asyncio.get_running_loop().call_later(DISCONNECT_GRACE, self.cancel)

    async def _first(self, first: asyncio.Future[Message]) -> Message:
        done, _ = await asyncio.wait({first}, timeout=FIRST_MESSAGE_WITHIN)
        if not done:
            await self._pass_on({"type": "http.request", "body": b"", "more_body": True})
        return await first

    async def _pass_on(self, message: Message) -> None:
        await self._call.data_in.append(to_chunk(message))
        self.fed = self.fed or not message.get("more_body")

    async def messages(self) -> AsyncGenerator[Message]:
        """What the app sends, as it comes; ends when the call does. Can be taken up again after a cancellation."""
        async for chunk in self._call.data_out.read(after=self._seen):
            data = await self._blobs.read(chunk.data_blob_id) if chunk.data_blob_id else chunk.data
            self._seen = chunk.index
            if chunk.data_format == api_pb2.DATA_FORMAT_ASGI and (message := from_bytes(data)):
                yield message

    async def result(self) -> api_pb2.GenericResult:
        """How the call ended."""
        return (await self._call.output()).result

    def cancel(self) -> None:
        """Ends the call if it has not ended."""
        if self._call.unfinished:
            self._calls.cancel(self._call, reason="The client hung up")
