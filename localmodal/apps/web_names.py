"""Gives web functions their addresses: who claims which label when, and what the client is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.web.labels import Label, Labels, Target, label_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localmodal.apps.apps import App
    from localmodal.apps.functions import Function
    from localmodal.objects.environments import Environments
    from localmodal.web.urls import Urls


@dataclass(frozen=True)
class WebNames:
    """The web addresses of all functions."""

    labels: Labels
    urls: Urls
    environments: Environments

    def fill_in(self, app: App, function: api_pb2.Function) -> None:
        """Writes into a function, and its methods, the addresses that it will have."""
        for method, one in _web_parts(function):
            label = self._label(app, function, method, one)
            one.web_url = self.urls.by_name(label.text)
            one.web_url_info.truncated = label.truncated

    def claim(self, app: App, function_id: str, function: api_pb2.Function) -> None:
        """Takes those addresses for the function; ALREADY_EXISTS if another app has one of them."""
        for method, one in _web_parts(function):
            self.labels.claim(self._label(app, function, method, one), Target(app.id, function_id, method))

    def named(self, function: Function) -> api_pb2.Function:
        """A published function's definition with the addresses that it has now."""
        definition = api_pb2.Function()
        definition.CopyFrom(function.definition)
        for method, one in _web_parts(definition):
            if label := self.labels.of(function.base_id or function.id, method):
                one.web_url = self.urls.by_name(label)
        return definition

    def _label(
        self, app: App, function: api_pb2.Function, method: str, one: api_pb2.Function | api_pb2.MethodDefinition
    ) -> Label:
        served = app.state == api_pb2.APP_STATE_EPHEMERAL
        return label_for(
            app.name or app.description,
            function.function_name,
            method,
            custom=one.webhook_config.requested_suffix,
            environment=self.environments.get(app.environment).web_suffix,
            suffix=(one.webhook_config.ephemeral_suffix or "dev") if served else "",
        )


def _web_parts(function: api_pb2.Function) -> Iterator[tuple[str, api_pb2.Function | api_pb2.MethodDefinition]]:
    """What of a function answers on the web: itself under the empty name, and its web methods."""
    if function.webhook_config.type or function.is_server:
        yield "", function
    for name, method in function.method_definitions.items():
        if method.webhook_config.type:
            yield name, method
