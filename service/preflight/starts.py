"""Rules about starts: what is warmed up, what the proof takes, how long containers live, and who may ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.preflight.rule import Machine, Rule, Severity, Violation
from spec.gpu import asks_for_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spec import ServiceSpec

_ANSWER_TOKENS = 16
"""Room that an answer needs beside the longest warm-up prompt."""


def prompts_fit(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The engine refuses a prompt for which there is no room, and the start fails."""
    longest, context = _longest_prompt(service), service.engine.context
    if context and longest + _ANSWER_TOKENS > context:
        yield Violation(f"a prompt of {longest} tokens and its answer do not fit into a context of {context}.")


def prompts_cover_what_is_served(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Kernels and graphs are made for the sizes that are met first.

    One that no warm-up met is made while a user waits, in every container anew, since it is not in the snapshot.
    """
    longest, largest = _longest_prompt(service), service.engine.largest_batch
    if asks_for_gpu(service.gpu) and largest and longest + _ANSWER_TOKENS < largest:
        yield Violation(
            f"the longest has {longest} tokens, and the engine reads prompts in batches of up to {largest}.",
            f"Add one of {largest - _ANSWER_TOKENS} tokens.",
        )


def _longest_prompt(service: ServiceSpec) -> int:
    return max(service.warmup.prompt_tokens, default=0)


def proof_is_possible(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """The first start makes the snapshot, so it proves nothing."""
    wanted, allowed = service.warmup.restores_in_a_row, service.warmup.max_starts
    if service.snapshot.enabled and allowed <= wanted:
        yield Violation(
            f"{allowed} starts cannot prove {wanted} restores in a row, since the first one makes the snapshot.",
            f"Set {wanted + 1} or more.",
        )


def proof_has_time(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A warm-up waits for two cold starts at least.

    One makes the snapshot, the other is what it is compared with. Where its time is over before, it fails although
    nothing is wrong.
    """
    seconds = 2 * service.engine.COLD_START_S
    if asks_for_gpu(service.gpu) and service.warmup.timeout < seconds:
        yield Violation(
            f"{service.warmup.timeout:g} s, and two cold starts of {service.engine.kind} take about {seconds:g} s.",
            f"Set {2 * seconds:g} or more.",
        )


def nobody_is_always_warm(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A container that is kept warm is never met cold, so none is kept while a version's starts are measured."""
    if always := service.scaling.min_containers:
        yield Violation(
            f"{always} kept warm, but none while a version's starts are measured: requests may meet a start then."
        )


def snapshot_has_a_point(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Where as many containers are always warm as there may be, no request meets a start.

    A snapshot is made and proved at every deploy for nothing.
    """
    scaling = service.scaling
    if service.snapshot.enabled and scaling.min_containers == scaling.max_containers:
        yield Violation(f"all {scaling.max_containers} containers are always warm: a snapshot serves nobody.")


def idle_is_worth_a_start(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """A container that ends sooner than another one starts is bought back by the next request.

    That waits for it as well, and the start costs more than the idle time would have.
    """
    window, start = service.scaling.scaledown_window, service.engine.COLD_START_S
    if asks_for_gpu(service.gpu) and not service.snapshot.enabled and window < start:
        yield Violation(
            f"a container ends after {window} idle seconds, and without a snapshot a start takes about {start:g} s.",
            f"Set {start:g} or more, or snapshot.enabled: true.",
        )


def callers_are_known(service: ServiceSpec, machine: Machine) -> Iterator[Violation]:
    """The address of a deployed service is public. Whoever finds it lets the model answer at the owner's cost."""
    if not machine.local and service.api_key_secret is None:
        yield Violation("none is set, so everybody who finds the address can use the model.")


def administration_is_guarded(service: ServiceSpec, _: Machine) -> Iterator[Violation]:
    """Without a key of their own, calls that unload or replace the weights are open to whoever reaches the port."""
    if not service.engine.guards_administration:
        yield Violation("the engine's administrative calls ask for no key.")


RULES = (
    Rule(
        "CS003",
        Severity.ERROR,
        "warmup.prompt_tokens",
        "warm-up prompts that fit into the context",
        prompts_fit,
        "Raise the context in engine.options, or warm up with shorter prompts.",
    ),
    Rule(
        "CS004",
        Severity.ERROR,
        "warmup.max_starts",
        "as many starts as the proof takes",
        proof_is_possible,
        "Set one more than warmup.restores_in_a_row, or more.",
    ),
    Rule(
        "CS007",
        Severity.WARNING,
        "scaling.min_containers",
        "containers that start when they are needed",
        nobody_is_always_warm,
        "Silence this rule if that is fine, or set 0 and leave it to the snapshot.",
    ),
    Rule(
        "CS036",
        Severity.WARNING,
        "warmup.prompt_tokens",
        "warm-up prompts as long as what is served",
        prompts_cover_what_is_served,
        "Add one as long as the engine's batch.",
    ),
    Rule(
        "CS037",
        Severity.WARNING,
        "warmup.timeout",
        "time for the starts that a proof takes",
        proof_has_time,
        "Give it the time of four cold starts.",
    ),
    Rule(
        "CS038",
        Severity.WARNING,
        "scaling.min_containers",
        "a snapshot that somebody meets",
        snapshot_has_a_point,
        "Lower min_containers, or set snapshot.enabled: false.",
    ),
    Rule(
        "CS039",
        Severity.WARNING,
        "scaling.scaledown_window",
        "idle containers that live as long as a start takes",
        idle_is_worth_a_start,
        "Raise it, or let a snapshot be taken.",
    ),
    Rule(
        "CS040",
        Severity.WARNING,
        "api_key_secret",
        "a key for the service's API",
        callers_are_known,
        "Make a Secret with API_KEY, and give its name: modal secret create NAME API_KEY=...",
    ),
    Rule(
        "CS041",
        Severity.ERROR,
        "engine.options",
        "a key for administrative calls",
        administration_is_guarded,
        "Give the engine its administrative key.",
    ),
)
