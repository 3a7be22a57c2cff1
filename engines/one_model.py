"""What every API says of models: a service has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request


class OneModel:
    """The routes that list the model, and the check that a request means it."""

    def __init__(self, name: str, created: float) -> None:
        self.name = name
        self._card = {"id": name, "object": "model", "created": int(created), "owned_by": "coldsnap"}
        self.routes = [Route("/v1/models", self._all), Route("/v1/models/{name}", self._one)]

    def check(self, name: str | None) -> None:
        """Refuse a request that names another model."""
        if name not in {None, self.name}:
            message = f"The model '{name}' does not exist here. This service has one model: '{self.name}'."
            raise ApiError(404, message, param="model", code="model_not_found")

    async def _all(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card]})

    async def _one(self, request: Request) -> Response:
        self.check(request.path_params["name"])
        return JSONResponse(self._card)
