"""Short-lived tokens for servers (`@app.server`) that are not `unauthenticated`."""

from __future__ import annotations

from urllib.parse import urlsplit

from modal_proto import api_pb2

from localmodal.api.group import Group
from localmodal.errors import not_found
from localmodal.web.urls import addressed


class Access(Group):
    """Gives tokens out; `web/access.py` looks at them."""

    async def FunctionGetFlashAuthToken(
        self, request: api_pb2.FunctionGetFlashAuthTokenRequest
    ) -> api_pb2.FunctionGetFlashAuthTokenResponse:
        """Gives the client a token for one server."""
        function_id = self.plane.functions.get(request.function_id).id
        return api_pb2.FunctionGetFlashAuthTokenResponse(token=self.plane.server_tokens.issue(function_id))

    async def CurlGetAuthToken(self, request: api_pb2.CurlAuthTokenRequest) -> api_pb2.CurlAuthTokenResponse:
        """The same for `modal curl`, which knows the server by its address."""
        parts = urlsplit(request.url)
        named = addressed(parts.netloc, parts.path)
        if named is None or (target := self.plane.web_names.labels.find(named.label)) is None:
            raise not_found("Server", request.url)
        return api_pb2.CurlAuthTokenResponse(token=self.plane.server_tokens.issue(target.function_id))
