"""How OpenAI's text API lays answers out: whole or as the parts of a stream, as a chat or as a completion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from engines.text_model import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engines.text_model import Finish, TokenLogprob
    from engines.tool_calls import ToolCall


@dataclass
class Answer:
    """An answer while it grows."""

    prompt_tokens: int
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    tokens: int = 0
    finish: Finish = "stop"

    def add(self, piece: Piece) -> None:
        """Take in one more piece."""
        self.texts.append(piece.text)
        self.thoughts.append(piece.thought)
        self.calls.extend(piece.calls)
        self.tokens += piece.counts
        self.finish = piece.finish or self.finish
        if piece.logprob:
            self.logprobs.append(piece.logprob)

    def whole(self) -> Piece:
        """All of it as one piece."""
        text, thought = "".join(self.texts), "".join(self.thoughts)
        return Piece(text, finish=self.finish, thought=thought, calls=tuple(self.calls))

    def usage(self) -> dict[str, int]:
        """Tokens of the prompt and of the answer so far."""
        total = self.prompt_tokens + self.tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total}


class Shape(Protocol):
    """How one call's answer is laid out; a stream's parts are numbered, so each call has its own."""

    prefix: str
    """Of the answer's id."""
    whole: str
    """The kind of object that a whole answer is."""
    part: str
    """The kind of object that a part of a stream is."""

    def opening(self) -> dict[str, Any] | None:
        """The first choice of a stream, before there is any text."""

    def choice(self, answer: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """The whole answer's choice."""

    def delta(self, piece: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """A piece's choice."""


class ChatShape:
    """/v1/chat/completions."""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self) -> None:
        self._calls = 0

    def opening(self) -> dict[str, Any]:
        """Whose words follow."""
        return {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}

    def choice(self, answer: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """The message; without content where it is nothing but calls."""
        text = answer.text if answer.text.strip() or not answer.calls else None
        message = {"role": "assistant", "content": text, "refusal": None, **self._beside(answer)}
        return {"index": 0, "message": message, "logprobs": self._logprobs(logprobs), "finish_reason": answer.finish}

    def delta(self, piece: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """What a piece adds to the message."""
        delta = {**({"content": piece.text} if piece.text else {}), **self._beside(piece)}
        for call in delta.get("tool_calls", ()):
            call["index"], self._calls = self._calls, self._calls + 1
        return {"index": 0, "delta": delta, "logprobs": self._logprobs(logprobs), "finish_reason": piece.finish}

    def _beside(self, piece: Piece) -> dict[str, Any]:
        """What is no text; OpenAI has no field for thoughts, and this name is what others call it."""
        thought = {"reasoning_content": piece.thought} if piece.thought else {}
        return {**thought, "tool_calls": [self._call(call) for call in piece.calls]} if piece.calls else thought

    def _call(self, call: ToolCall) -> dict[str, Any]:
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

    def _logprobs(self, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        return None if logprobs is None else {"content": [self._token(one) for one in logprobs], "refusal": None}

    def _token(self, one: TokenLogprob) -> dict[str, Any]:
        return {**self._bare(one), "top_logprobs": [self._bare(other) for other in one.top]}

    def _bare(self, one: TokenLogprob) -> dict[str, Any]:
        return {"token": _text(one.token), "logprob": one.logprob, "bytes": list(one.token)}


class CompletionShape:
    """/v1/completions."""

    prefix, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(self) -> None:
        self._offset = 0

    def opening(self) -> None:
        """There is none."""

    def choice(self, answer: Piece, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """The text; a part of it is laid out alike."""
        return {"text": answer.text, "index": 0, "logprobs": self._logprobs(logprobs), "finish_reason": answer.finish}

    delta = choice

    def _logprobs(self, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        if logprobs is None:
            return None
        return {
            "tokens": [_text(one.token) for one in logprobs],
            "token_logprobs": [one.logprob for one in logprobs],
            "top_logprobs": [{_text(other.token): other.logprob for other in one.top} for one in logprobs],
            "text_offset": [self._next_offset(_text(one.token)) for one in logprobs],
        }

    def _next_offset(self, text: str) -> int:
        offset, self._offset = self._offset, self._offset + len(text)
        return offset


def _text(token: bytes) -> str:
    return token.decode("utf-8", "replace")
