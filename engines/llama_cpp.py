"""The engine `llama_cpp`: llama.cpp in this process, through llama-cpp-python."""

from __future__ import annotations

import ctypes
import logging
import random
import secrets
from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import llama_cpp
import numpy as np
from jinja2 import TemplateError
from llama_cpp.llama_chat_format import ChatFormatterResponse, Jinja2ChatFormatter
from llama_cpp.llama_grammar import LlamaGrammar

from engines.cores import usable_cores
from engines.engine import WeightsError
from engines.errors import ApiError
from engines.http import api_key
from engines.openai_api import OpenAiApi
from engines.prompts import FIRST_ANSWER_TOKENS, FIRST_REQUEST, WARM_UP_ANSWER_TOKENS, WARM_UP_TEXT, repeated
from engines.speech import style_of
from engines.stops import StopScanner
from engines.text_model import Piece, Prompt, Sampling, TokenLogprob
from engines.turns import Turns
from spec.gpu import asks_for_gpu
from spec.llama_cpp import LlamaCppEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from threading import Event

    from starlette.types import ASGIApp

    from engines.text_model import Schema
    from spec.deployment import Definition

log = logging.getLogger("coldsnap.llama_cpp")

PLAIN_CHAT = """\
{%- for message in messages %}{{ message.role | capitalize }}: {{ message.content | trim }}

{% endfor %}Assistant:"""
"""The conversation as a written dialogue, for weights that were never trained on a chat template and carry none."""

PLAIN_STOPS = ("\nUser:", "\nSystem:")

FIRST_ANSWER = Sampling(max_tokens=FIRST_ANSWER_TOKENS, temperature=0.0, stop=("\n",))

_LOG_LEVEL_ERROR = 4  # GGML_LOG_LEVEL_ERROR in ggml.h; the numbers in llama-cpp-python's own logger are outdated


class LlamaCpp:
    """One `Llama`, all of whose work is done in one thread."""

    packages: ClassVar[tuple[str, ...]] = ("llama-cpp-python", "numpy")

    def __init__(self, definition: Definition, weights: Path) -> None:
        assert isinstance(definition.engine, LlamaCppEngine)
        self._definition = definition
        self._engine = definition.engine
        self._options = definition.engine.options
        self._weights = weights
        self._turns = Turns()
        self.name = definition.service

    def load(self) -> None:
        """Read the weights, and the chat template that they carry."""
        self._random = random.Random(self._seed())  # noqa: S311 - sampling, not secrets
        self._llama = self._turns.run(self._open)
        self.n_ctx = min(self._options.n_ctx, self._llama.n_ctx())  # llama.cpp rounds up, its wrapper does not
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._template = self._options.chat_template or self._llama.metadata.get("tokenizer.chat_template")
        self.knows_tools = "tools" in (self._template or "")
        self.style = style_of(self._template or "")
        self._marks = self._mark_tokens()
        self._render = self._chat_formatter()

    def _seed(self) -> int:
        return secrets.randbits(64) if self._options.seed is None else self._options.seed

    def _open(self) -> llama_cpp.Llama:
        if not self._weights.is_file():
            raise WeightsError(f"{self._weights}: there is no such file in the image; were the weights put there?")
        try:
            return llama_cpp.Llama(str(self._weights), **self._arguments(), verbose=False)
        except (ValueError, RuntimeError) as error:
            size = self._weights.stat().st_size
            raise WeightsError(f"{self._weights} ({size:,} bytes): {_complaints.text() or error}") from error

    def _arguments(self) -> dict[str, Any]:
        options, on_gpu = self._options, asks_for_gpu(self._definition.gpu)
        threads = options.n_threads or self._cores()
        return {
            "n_ctx": options.n_ctx,
            "n_batch": options.n_batch,
            "n_threads": threads,
            "n_threads_batch": threads,
            "n_gpu_layers": options.gpu_layers(on_gpu=on_gpu),
            "flash_attn": on_gpu if options.flash_attn is None else options.flash_attn,
            # A mapped file stays out of the snapshot, and its pages are shared by all containers of a machine.
            "use_mmap": self._engine.maps_weights(on_gpu=on_gpu),
        }

    def _cores(self) -> int:
        return round(self._definition.cpu or 0) or usable_cores()

    def _chat_formatter(self) -> Callable[..., ChatFormatterResponse]:
        piece = self._llama.detokenize
        return Jinja2ChatFormatter(
            template=self._template or PLAIN_CHAT,
            bos_token=piece([self._llama.token_bos()], special=True).decode(),
            eos_token=piece([self._llama.token_eos()], special=True).decode(),
        )

    def warm_up(self) -> None:
        """Answer a prompt of each length that the definition names, each from an empty cache."""
        text = self._llama.tokenize(WARM_UP_TEXT.encode(), add_bos=False)
        for length in self._definition.prompt_tokens:
            self._turns.run(partial(self._answer_and_forget, repeated(text, length, self.n_ctx)))

    def _answer_and_forget(self, tokens: list[int]) -> None:
        for _ in islice(self._llama.generate(tokens, temp=0.0), WARM_UP_ANSWER_TOKENS):
            pass
        self._forget()

    def _forget(self) -> None:
        self._llama.reset()  # type: ignore[no-untyped-call]
        memory = llama_cpp.llama_get_memory(self._llama.ctx)
        llama_cpp.llama_memory_clear(memory, True)  # noqa: FBT003 - its data too, not only the book-keeping

    def release(self) -> None:
        """Empty the KV cache. It stays allocated: as pages that a snapshot maps it costs a restore nothing."""
        self._turns.run(self._forget)

    def resume(self) -> None:
        """Seed the random state anew: two copies of one snapshot must not say the same."""
        self._random.seed(self._seed())

    def serve(self) -> ASGIApp:
        """The OpenAI-compatible API."""
        created = self._weights.stat().st_mtime
        return OpenAiApi(self, self._turns, created).app(api_key(self._definition))

    def stop(self) -> None:
        """Free the model, and end its thread."""
        if hasattr(self, "_llama"):
            self._turns.run(self._llama.close)
        self._turns.close()

    async def first_answer(self) -> str:
        """A short answer, the likeliest one, by the way that every request goes."""
        prompt = self.text_prompt(FIRST_REQUEST)
        pieces = self._turns.stream(lambda hung_up: self.generate(prompt, FIRST_ANSWER, hung_up))
        return "".join([piece.text async for piece in pieces]).strip()

    def text_prompt(self, text: str) -> Prompt:
        """The text's tokens, with the beginning mark if the model knows one."""
        return Prompt(self._llama.tokenize(text.encode(), add_bos=True, special=True))

    def chat_prompt(
        self,
        messages: Sequence[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        *,
        begin: str = "",
        **settings: Any,
    ) -> Prompt:
        """The conversation in the model's chat template."""
        try:
            text = self._render(messages=messages, tools=tools, **settings).prompt + begin
        except TemplateError as error:
            raise ValueError(f"This model's chat template refuses the messages: {error}") from error
        plain = self._template is None
        tokens = self._llama.tokenize(text.encode(), add_bos=plain, special=not plain)
        return Prompt(tokens, stop=PLAIN_STOPS if plain else (), text=text, trim=plain)

    def generate(self, prompt: Prompt, sampling: Sampling, hung_up: Event) -> Iterator[Piece]:
        """The answer, token by token; in the model's thread."""
        scanner = StopScanner(sampling.stop + prompt.stop, trim=prompt.trim)
        for count, token in enumerate(self._tokens(prompt.tokens, sampling, hung_up), start=1):
            if hung_up.is_set():
                return
            if llama_cpp.llama_vocab_is_eog(self._vocabulary, token):
                yield Piece(scanner.rest(), finish="stop", counts=False)
                return
            piece = self._piece(token, scanner, sampling, last=count == sampling.max_tokens)
            yield piece
            if piece.finish:
                return

    def _piece(self, token: int, scanner: StopScanner, sampling: Sampling, *, last: bool) -> Piece:
        text = scanner.feed(self._bytes(token))
        logprob = None if sampling.logprobs is None else self._logprob(token, sampling.logprobs)
        if scanner.stopped:
            return Piece(text, logprob, finish="stop")
        return Piece(text + scanner.rest(), logprob, finish="length") if last else Piece(text, logprob)

    def _tokens(self, prompt: list[int], sampling: Sampling, hung_up: Event) -> Iterator[int]:
        """Tokens without an end. The prompt is read batch by batch, so that a hang-up is noticed in between."""
        llama, batch = self._llama, self._llama.n_batch
        if sampling.seed is None:
            llama.set_seed(self._random.getrandbits(32))
        else:
            # The same seed must say the same, and what a prompt's tokens round to depends on how it is split.
            llama.reset()  # type: ignore[no-untyped-call]
            llama.set_seed(sampling.seed)
        known = llama.longest_token_prefix(llama.input_ids[: llama.n_tokens].tolist(), prompt)
        for end in range(known + batch, len(prompt), batch):
            if hung_up.is_set():
                return
            next(llama.generate(prompt[:end], temp=0.0))
        yield from llama.generate(prompt, **self._sampler(sampling))

    def _sampler(self, sampling: Sampling) -> dict[str, Any]:
        return {
            "temp": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repeat_penalty": sampling.repeat_penalty,
            "grammar": None if sampling.held_to is None else _grammar(sampling.held_to),
        }

    def _logprob(self, token: int, top: int) -> TokenLogprob:
        """How likely the token was, by the model itself: before temperature, penalties and the like."""
        pointer = llama_cpp.llama_get_logits_ith(self._llama.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, (self._llama.n_vocab(),)).astype(np.float64)
        logprobs = logits - np.logaddexp.reduce(logits)
        likeliest = np.argsort(logprobs)[::-1][:top]
        others = tuple(TokenLogprob(self._bytes(int(other)), float(logprobs[other])) for other in likeliest)
        return TokenLogprob(self._bytes(token), float(logprobs[token]), others)

    def _mark_tokens(self) -> dict[int, bytes]:
        """Marks that are one token each: some models have them as control tokens, which otherwise say nothing."""
        tokenize = self._llama.tokenize
        marks = {mark: tokenize(mark.encode(), add_bos=False, special=True) for mark in self.style.marks}
        return {tokens[0]: mark.encode() for mark, tokens in marks.items() if len(tokens) == 1}

    def _bytes(self, token: int) -> bytes:
        text: bytes = self._marks.get(token) or self._llama.detokenize([token])
        return text


def _grammar(schema: Schema) -> LlamaGrammar:
    try:
        return LlamaGrammar.from_json_schema(schema.text, verbose=False)
    except Exception as error:  # whatever its converter trips over: the schema is the client's
        message = f"Invalid schema for '{schema.param}': {type(error).__name__}: {error}"
        raise ApiError(400, message, param=schema.param, code="invalid_value") from error


class _Complaints:
    """llama.cpp's last errors: it says what is wrong with a file to its log only.

    One for the process, and never dropped: llama.cpp keeps calling it, also while a model is freed.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=3)
        self._callback = llama_cpp.llama_log_callback(self._note)
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _note(self, level: int, text: bytes, _: Any) -> None:
        if level == _LOG_LEVEL_ERROR:
            self._lines.append(text.decode("utf-8", "replace").strip())

    def text(self) -> str:
        """What it complained of, in one line."""
        return "; ".join(self._lines)


_complaints = _Complaints()
