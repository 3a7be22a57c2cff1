"""The one thin shell between Pulumi's dynamic providers and `service/`.

Pulumi pickles a provider by reference to its class, into every resource's state: subclasses stay where they are, at
their module's top, and hold nothing. One instance serves four threads.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pulumi.dynamic import (
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from components.progress import StatusColumn, end_with_the_engine
from service import operations
from service.changes import Change, Effect, Table, change
from service.failure import Failure

Values = dict[str, Any]

_OWN_KEY = "__provider"


class ServiceProvider(ResourceProvider):
    """CRUD of one kind of resource. A subclass says what a change means, and which operations make it so."""

    serialize_as_secret_always = False

    table: ClassVar[Table]
    """What a change of each input does."""
    results: ClassVar[tuple[str, ...]]
    """The outputs that are no inputs: a change that runs no operation keeps them."""

    def apply(self, effect: Effect, inputs: Values) -> Values | None:
        """Makes the inputs true; the results, or none where nothing had to be run."""
        raise NotImplementedError

    def price(self, old: Values, new: Values) -> str:  # noqa: ARG002 - most resources cost nothing
        """What a change from the old to the new values costs, in words; empty where that is nothing."""
        return ""

    def look(self, outputs: Values) -> Values | None:
        """What is live now, as outputs; none if the resource is gone."""
        return outputs

    def standing(self, old: Values) -> Values:
        """What of the stored values still stands, for a comparison with the new ones."""
        return old

    def remove(self, outputs: Values) -> None:
        """Removes what the resource stands for."""

    def configure(self, req: ConfigureRequest) -> None:
        """Once a process. Pulumi shows an exception with its traceback, of which only the message is for users."""
        del req
        sys.tracebacklimit = 0
        end_with_the_engine()

    def check(self, _olds: Values, news: Values) -> CheckResult:
        """Takes the inputs as they are: the program has validated them all, and knows the path of each.

        Of a resource that is to be made Pulumi asks for no diff, so what it costs is shown here.
        """
        inputs = plain(news)
        if not _olds:
            _show(inputs["urn"], self.price({}, inputs))
        return CheckResult(inputs, [])

    def diff(self, _id: str, _olds: Values, _news: Values) -> DiffResult:
        """What the change does, by the table; also shown in the status column."""
        old, new = plain(_olds), plain(_news)
        happening = change(self.table, self.standing(old), new)
        if happening.effect:
            costs = self.price(old, new) if happening.effect > Effect.RECORD else ""
            _show(new["urn"], str(happening), costs)
        return DiffResult(changes=bool(happening.effect), replaces=happening.replaces, delete_before_replace=False)

    def create(self, props: Values) -> CreateResult:
        """Makes the resource, or adopts what an interrupted create has left."""
        inputs = plain(props)
        return CreateResult(name_of(inputs["urn"]), self._made(Change(max(Effect), ()), {}, inputs))

    def update(self, _id: str, _olds: Values, _news: Values) -> UpdateResult:
        """Makes the change, or only records it."""
        old, new = plain(_olds), plain(_news)
        return UpdateResult(self._made(change(self.table, self.standing(old), new), old, new))

    def read(self, id_: str, props: Values) -> ReadResult:
        """The stored inputs stay as they are: the next diff compares them with what is live."""
        live = _guarded(self.look, plain(props))
        return ReadResult("", {}) if live is None else ReadResult(id_, live)

    def delete(self, _id: str, _props: Values) -> None:
        """Removes the resource."""
        _guarded(self.remove, plain(_props))

    def _made(self, happening: Change, old: Values, inputs: Values) -> Values:
        results = _guarded(self.apply, happening.effect, inputs)
        kept = {name: old.get(name) for name in self.results}
        return {**inputs, **(kept if results is None else results)}


def run(
    operation: operations.Operation,
    inputs: Values,
    request: Mapping[str, Any],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Values:
    """Runs an operation for a resource, with its status in the resource's column."""
    return operations.run(
        operation,
        request,
        backend=inputs["backend"],
        environment=inputs.get("environment", ""),
        progress=StatusColumn(inputs["urn"]),
        variables=variables,
    )


def _show(urn: Any, *words: str) -> None:
    """In the status column of a resource, whose URN a preview may not know yet."""
    if isinstance(urn, str) and (text := "; ".join(filter(None, words))):
        StatusColumn(urn).status(text)


def name_of(urn: str) -> str:
    """The resource's name, with which its URN ends."""
    return urn.rpartition("::")[2]


def plain(values: Mapping[str, Any]) -> Values:
    """Values as they were declared: on their way Pulumi makes floats of whole numbers and drops what is None."""
    return {key: _plain(value) for key, value in values.items() if value is not None and key != _OWN_KEY}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _guarded(call: Any, *arguments: Any) -> Any:
    """A mistake of ours keeps its traceback, which `configure` has switched off for the sake of messages to users."""
    try:
        return call(*arguments)
    except Failure:
        raise
    except Exception as error:
        sys.tracebacklimit = 1000
        raise RuntimeError(traceback.format_exc()) from error
