"""What the OpenAI-compatible API needs of a model that answers in text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from engines.speech import Style
    from engines.tool_calls import ToolCall

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Prompt:
    """A prompt in the model's own tokens."""

    tokens: list[int]
    stop: tuple[str, ...] = ()
    """Stop sequences that the chat template needs, beside those that the request names."""
    text: str = ""
    """What the tokens say: its end tells whether the answer begins inside a thought."""
    trim: bool = False
    """Whether the answer's first word comes with a space that belongs to the prompt."""


@dataclass(frozen=True)
class Schema:
    """A JSON schema that an answer is held to."""

    text: str
    param: str
    """The part of the request that it is made from, for who hears that it cannot be followed."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. The defaults are OpenAI's, and llama.cpp's where OpenAI has none."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 40
    min_p: float = 0.05
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    """How many of the likeliest tokens to name beside each token; none: no log-probabilities at all."""
    held_to: Schema | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """How likely one token was."""

    token: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What one token added to the answer: perhaps no text yet, while a letter or a stop sequence is incomplete."""

    text: str
    logprob: TokenLogprob | None = None
    finish: Finish | None = None
    counts: bool = True
    """Whether it stands for a token of the answer; the end mark does not."""
    thought: str = ""
    """What is no part of the answer: the model thinks first, and marks what is thought."""
    calls: tuple[ToolCall, ...] = ()


class TextModel(Protocol):
    """A loaded model."""

    name: str
    n_ctx: int
    style: Style
    """How it marks thoughts and tool calls in what it writes."""
    knows_tools: bool
    """Whether the chat template has a place for tools."""

    def text_prompt(self, text: str) -> Prompt:
        """The prompt of a plain text."""

    def chat_prompt(
        self,
        messages: Sequence[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        *,
        begin: str = "",
        **settings: Any,
    ) -> Prompt:
        """The prompt of a conversation, with the words that the answer begins with.

        `ValueError` where the chat template refuses it. Settings are the template's own.
        """

    def generate(self, prompt: Prompt, sampling: Sampling, hung_up: Event) -> Iterator[Piece]:
        """The answer, in the model's thread; ends within a token (or a batch of the prompt) when nobody listens."""
