"""How an API says no: OpenAI's envelope, whatever has gone wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

log = logging.getLogger("coldsnap.http")


class ApiError(Exception):
    """A refusal in OpenAI's envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the envelope's own word
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}

    def response(self) -> Response:
        """The refusal as it goes out."""
        return JSONResponse(self.body, self.status, self.headers)


def broken(error: Exception) -> ApiError:
    """What a client hears of a fault of ours: nothing of its inside."""
    log.error("request failed", exc_info=error)
    return ApiError(500, "The server had an error while processing your request.", type="server_error")
