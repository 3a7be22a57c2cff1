"""A model's words, told apart: what it thinks, what it says, and which tools it wants called.

Models write all of it in one text, with marks between; the chat template says which. Text is read as it comes, and
held back only while it may be the beginning of a mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from engines.stops import undecided
from engines.tool_calls import ToolCall, Types, read_call

if TYPE_CHECKING:
    from collections.abc import Iterator

Marks = tuple[str, str]
"""Where something begins and where it ends."""


@dataclass(frozen=True)
class Style:
    """The marks that a model uses."""

    thought: Marks | None = None
    call: Marks | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """All of them."""
        return (*(self.thought or ()), *(self.call or ()))


STYLES = (
    Style(("<|channel>thought\n", "<channel|>"), ("<|tool_call>", "<tool_call|>")),  # Gemma 4
    Style(("<think>", "</think>"), ("<tool_call>", "</tool_call>")),  # Qwen, GLM, Hermes
    Style(None, ("<start_function_call>", "<end_function_call>")),  # FunctionGemma
)


def style_of(template: str) -> Style:
    """The marks that a chat template names; none of them: the text is all that the model says."""
    for style in STYLES:
        thought = style.thought if style.thought and style.thought[1] in template else None
        call = style.call if style.call and style.call[0] in template else None
        if thought or call:
            return Style(thought, call)
    return Style()


@dataclass(frozen=True)
class Said:
    """What a piece of text adds."""

    text: str = ""
    thought: str = ""
    call: ToolCall | None = None


class Reader(Protocol):
    """Reads one answer."""

    def feed(self, text: str) -> list[Said]:
        """What is certain after some more text."""

    def rest(self) -> list[Said]:
        """What was held back, now that no more comes."""


class CallReader:
    """Reads an answer that is held to be one call, and nothing else."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> list[Said]:
        """Nothing: half a call is none."""
        self._held += text
        return []

    def rest(self) -> list[Said]:
        """The call; its text where the answer was cut off before its end."""
        try:
            return [Said(call=read_call(self._held, {}))]
        except ValueError:
            return [Said(text=self._held)]


class SpeechReader:
    """Reads an answer in which a model thinks, speaks and calls as it likes."""

    def __init__(self, style: Style, types: Types, prompt: str) -> None:
        self._style = style
        self._types = types
        self._held = ""
        self._inside: Literal["text", "thought", "call"] = "text"
        if style.thought and prompt.rstrip().endswith(style.thought[0].rstrip()):
            self._inside = "thought"  # the template has begun it
        self._trim = self._inside == "thought"

    def feed(self, text: str) -> list[Said]:
        """What is certain after some more text."""
        self._held += text
        said = list(self._read())
        certain = len(self._held) - undecided(self._held, self._expected())
        return said + self._release(0 if self._inside == "call" else certain)

    def rest(self) -> list[Said]:
        """What was held back, now that no more comes; a call that breaks off is text."""
        opened = self._style.call[0] if self._inside == "call" and self._style.call else ""
        if opened:
            self._held, self._inside = opened + self._held, "text"
        return self._release(len(self._held))

    def _read(self) -> Iterator[Said]:
        """Whatever ends with a mark."""
        while found := self._first_mark():
            place, mark = found
            content = self._held[:place]
            if self._inside == "call":
                yield self._called(content)
            else:
                yield from self._release(place)
            self._held = self._held[place + len(mark) :] if self._inside == "call" else self._held[len(mark) :]
            self._enter(mark)

    def _enter(self, mark: str) -> None:
        thought, call = self._style.thought, self._style.call
        opens_thought, opens_call = bool(thought and mark == thought[0]), bool(call and mark == call[0])
        self._inside = "thought" if opens_thought else "call" if opens_call else "text"
        self._trim = True  # the blank lines beside a mark belong to neither side

    def _expected(self) -> tuple[str, ...]:
        """The marks that may come next."""
        thought, call = self._style.thought, self._style.call
        if self._inside == "thought" and thought:
            return (thought[1],)
        if self._inside == "call" and call:
            return (call[1],)
        return tuple(marks[0] for marks in (thought, call) if marks)

    def _first_mark(self) -> tuple[int, str] | None:
        found = [(place, mark) for mark in self._expected() if (place := self._held.find(mark)) >= 0]
        return min(found, default=None)

    def _called(self, content: str) -> Said:
        try:
            return Said(call=read_call(content, self._types))
        except ValueError:  # the client sees what the model made of it
            opened, closed = self._style.call or ("", "")
            return Said(text=f"{opened}{content}{closed}")

    def _release(self, length: int) -> list[Said]:
        content, self._held = self._held[:length], self._held[length:]
        if self._trim:
            content = content.lstrip("\n")
            self._trim = not content
        if not content:
            return []
        return [Said(thought=content) if self._inside == "thought" else Said(text=content)]
