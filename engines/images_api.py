"""An OpenAI-compatible HTTP API over a model that paints: images, whole or as events step by step."""

from __future__ import annotations

import asyncio
import io
import json
import time
from base64 import b64encode
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.errors import ApiError, broken
from engines.http import EventStream, api
from engines.image_model import Painting
from engines.images_requests import ImageRequest
from engines.metrics import Metrics, meter_of
from engines.one_model import OneModel
from engines.parsing import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from threading import Event

    from PIL.Image import Image
    from starlette.applications import Starlette
    from starlette.requests import Request

    from engines.image_model import Drawing, ImageModel, Step
    from engines.metrics import Meter
    from engines.turns import Turns

PREFIX = "image_generation"
"""Of the events of a stream: `completed` and `partial_image` as OpenAI has them, `in_progress` beside them.

An OpenAI client passes over events that it does not know; OpenAI itself says nothing of a step without a preview.
"""


@dataclass(frozen=True)
class _Call:
    """One call: what is painted, and how it is handed over."""

    model: ImageModel
    turns: Turns
    asked: ImageRequest
    drawings: list[Drawing]
    meter: Meter
    created: int = field(default_factory=lambda: int(time.time()))

    def items(self) -> AsyncIterator[Step | Painting]:
        """Every step and painting, when it is this call's turn.

        Several images are painted one after another: a batch would have shapes that no warm-up has seen.
        """
        return self.turns.pushed(self._paint_all)

    def _paint_all(self, put: Callable[[Step | Painting], None], hung_up: Event) -> None:
        for drawing in self.drawings:
            self.model.paint(drawing, put, hung_up)
            if hung_up.is_set():
                return

    async def encoded(self, image: Image) -> str:
        """The image as the caller wants it; made in another thread, while the model goes on."""
        return await asyncio.to_thread(_encoded, image, self.asked)

    def described(self) -> dict[str, Any]:
        """What is said of every image."""
        return {"background": "opaque", "output_format": self.asked.format, "size": self.drawings[0].size}

    async def datum(self, painting: Painting) -> dict[str, Any]:
        """A finished image."""
        self.meter.count(painting.prompt_tokens, painting.image_tokens)
        return {"b64_json": await self.encoded(painting.image), "seed": painting.seed}


def _encoded(image: Image, asked: ImageRequest) -> str:
    file, quality = io.BytesIO(), 100 if asked.output_compression is None else asked.output_compression
    image.save(file, format=asked.format, **({} if asked.format == "png" else {"quality": quality}))
    return b64encode(file.getvalue()).decode()


def _usage(paintings: list[Painting]) -> dict[str, Any]:
    text, image = paintings[0].prompt_tokens, sum(painting.image_tokens for painting in paintings)
    details = {"text_tokens": text, "image_tokens": 0}
    return {"input_tokens": text, "input_tokens_details": details, "output_tokens": image, "total_tokens": text + image}


async def _whole(call: _Call) -> Response:
    paintings, data = [], []
    async with aclosing(call.items()) as items:  # type: ignore[type-var]
        async for item in items:
            if isinstance(item, Painting):
                paintings.append(item)
                data.append(await call.datum(item))
    return JSONResponse({"created": call.created, "data": data, **call.described(), "usage": _usage(paintings)})


async def _streamed(call: _Call) -> Response:
    items = call.items()
    first = await anext(items)  # before the response begins: a refusal must still be a status
    return EventStream(_events(call, first, items))


async def _events(call: _Call, first: Step | Painting, items: AsyncIterator[Step | Painting]) -> AsyncIterator[str]:
    previews = count()
    async with aclosing(items):  # type: ignore[type-var]
        try:
            yield await _event(call, first, previews)
            async for item in items:
                yield await _event(call, item, previews)
        except Exception as error:  # noqa: BLE001 - the status is sent; an event is all that is left to say it with
            yield _line("error", broken(error).body)


async def _event(call: _Call, item: Step | Painting, previews: count[int]) -> str:
    rest = {"created_at": call.created, "quality": "auto", **call.described()}
    if isinstance(item, Painting):
        return _line(f"{PREFIX}.completed", {**await call.datum(item), **rest, "usage": _usage([item])})
    rest = {"step": item.number, "steps": call.model.steps, **rest}
    if item.preview is None:
        return _line(f"{PREFIX}.in_progress", rest)
    image = {"b64_json": await call.encoded(item.preview), "partial_image_index": next(previews)}
    return _line(f"{PREFIX}.partial_image", {**image, **rest})


def _line(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, separators=(',', ':'))}\n\n"


class ImagesApi:
    """The routes, over one model."""

    def __init__(self, model: ImageModel, turns: Turns, created: float) -> None:
        self._model = model
        self._turns = turns
        self._one = OneModel(model.name, created)

    def app(self, key: str | None) -> Starlette:
        """The API as an ASGI application."""
        routes = [*self._one.routes, Route("/v1/images/generations", self.generations, methods=["POST"])]
        return api(routes, key, metrics=Metrics(lambda: self._turns.waiting))

    async def generations(self, request: Request) -> Response:
        """POST /v1/images/generations."""
        asked = parse(ImageRequest, await request.body())
        self._one.check(asked.model)
        asked.check()
        drawings = asked.drawings(self._size(asked.size), self._model.steps)
        call = _Call(self._model, self._turns, asked, drawings, meter_of(request))
        return await (_streamed(call) if asked.stream else _whole(call))

    def _size(self, size: str | None) -> str:
        if size in {None, "auto"}:
            return self._model.sizes[0]
        if size not in self._model.sizes:
            served = ", ".join(f"'{one}'" for one in self._model.sizes)
            message = f"Invalid value for 'size': '{size}' is not served here. Served: {served}."
            raise ApiError(400, message, param="size", code="invalid_value")
        return size
