"""How many tokens an answer took, as the server that gave it says at its end."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

TAIL = 16 * 2**10
"""Bytes of a stream's end in which its counts stand."""

_NAMES = (("usage", "prompt_tokens", "completion_tokens"), ("usage", "input_tokens", "output_tokens"))
"""OpenAI's older calls, and its newer ones."""

_TIMINGS = "timings"
"""llama.cpp's own, in the last event of every stream, where nobody has asked for OpenAI's."""


def usage_in(end: bytes) -> tuple[int, int]:
    """Tokens of the prompt and of the answer, of a whole answer or by a stream's end; none in one that was cut off."""
    for line in reversed(end.splitlines()):
        if counts := _counts(line.removeprefix(b"data: ")):
            return counts
    return 0, 0


def _counts(text: bytes) -> tuple[int, int] | None:
    try:
        answer = from_json(text)
    except ValueError:
        return None
    answer = answer.get("response", answer) if isinstance(answer, dict) else {}
    return _usage(answer) or _timings(answer)


def _usage(answer: dict[str, Any]) -> tuple[int, int] | None:
    for field, read, wrote in _NAMES:
        said = answer.get(field)
        if isinstance(said, dict) and read in said:
            return int(said[read]), int(said.get(wrote) or 0)
    return None


def _timings(answer: dict[str, Any]) -> tuple[int, int] | None:
    said = answer.get(_TIMINGS)
    if not isinstance(said, dict):
        return None
    return int(said.get("prompt_n") or 0) + int(said.get("cache_n") or 0), int(said.get("predicted_n") or 0)
