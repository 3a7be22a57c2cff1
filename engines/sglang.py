"""The engine `sglang`: SGLang's server, a tree of child processes, behind a proxy.

The GPU's memory is released before a snapshot, all of it, and taken back after: SGLang allocates it through CUDA's
virtual memory, which no snapshot holds. Between the two the server must be asked for nothing else.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

from starlette.routing import Route

from engines import deep_gemm
from engines.child import Child, free_port, own_environment
from engines.child_api import ChildApi, RefusedError
from engines.engine import LOAD_SECONDS, WeightsError
from engines.http import api, api_key
from engines.one_model import OneModel
from engines.places import Places
from engines.prompts import WARM_UP_ANSWER_TOKENS, WARM_UP_TEXT, repeated
from engines.proxy import Proxy
from spec.sglang import FLAGS, SWITCHES, SglangEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from spec.deployment import Definition

ASKED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/responses")
"""What of the server is served to users: nothing that changes it, or shows its settings with their keys."""

IDLE_SECONDS = 60
"""How long the server may take to end what it works on before its memory is released."""

STIRS = 32
"""How many tokens, at most, a restored copy draws for nobody."""

log = logging.getLogger("coldsnap.sglang")


class Sglang:
    """One server, alive from load to stop, in as many copies as there are restored containers."""

    packages: ClassVar[tuple[str, ...]] = ("sglang", "sglang-kernel", "torch", "transformers", "torch-memory-saver")

    def __init__(self, definition: Definition, weights: Path) -> None:
        assert isinstance(definition.engine, SglangEngine)
        self._definition = definition
        self._options = definition.engine.options
        self._weights = weights
        # In hexadecimal digits: argparse takes a value that begins with a hyphen for a flag.
        self._key, self._admin_key = secrets.token_hex(32), secrets.token_hex(32)
        self._released = False
        self.name = definition.service

    def load(self) -> None:
        """Start the server, and wait until it can answer."""
        if not (self._weights / "config.json").is_file():
            raise WeightsError(f"{self._weights}: there is no config.json in it; were the weights put there?")
        if deep_gemm.is_asked_for(self._weights):
            deep_gemm.compile_ahead(self._weights, self._model_arguments(), own_environment())
        with self._keys_in_a_file() as keys:
            self._child = self._server(keys)
            self._api, self._administration = ChildApi(self._child, self._key), ChildApi(self._child, self._admin_key)
            self._child.start()
            self._child.wait_until(lambda: self._api.is_ok("/health"), LOAD_SECONDS)

    def _server(self, keys: Path) -> Child:
        port = free_port()
        command = [sys.executable, "-m", "sglang.launch_server", *self.arguments(port, keys)]
        log.info("%s", " ".join(command))
        return Child("sglang", command, own_environment(), port)

    def arguments(self, port: int, keys: Path) -> list[str]:
        """The server's command line behind its name."""
        options = self._options
        return [
            *("--model-path", str(self._weights), *self._model_arguments()),
            *("--host", "127.0.0.1", "--port", str(port), "--config", str(keys)),
            *(flag for name, flag in SWITCHES.items() if self._definition.snapshot.enabled and getattr(options, name)),
            # The CUDA IPC of a weight cache is nothing that a snapshot holds.
            *("--weight-cache-mode", "off"),
            # Phase 2 warms up, and the twin is not to.
            "--skip-server-warmup",
            "--enable-metrics",
            # One of its lines of the level `info` is all its settings, with the keys.
            *("--log-level", "warning"),
        ]

    def _model_arguments(self) -> list[str]:
        """What decides which kernels there are: a compilation ahead is told the same."""
        options, at_once = self._options, self._definition.concurrency
        values = {name: getattr(options, name) for name in FLAGS} | {
            "cuda_graph_max_bs": options.cuda_graph_max_bs or at_once
        }
        given = [word for name, value in values.items() if value is not None for word in (FLAGS[name], str(value))]
        ours = ("--served-model-name", self.name, "--max-running-requests", str(at_once))
        return [*ours, *given, *options.arguments]

    @contextmanager
    def _keys_in_a_file(self) -> Iterator[Path]:
        """The keys where only the server finds them: a command line can be read by every process of the container.

        The server reads `--config` once, as it starts; afterwards, and in a snapshot, there is no such file.
        """
        with TemporaryDirectory(prefix="sglang-") as folder:
            keys = Path(folder, "keys.yaml")
            keys.touch(mode=0o600)
            keys.write_text(json.dumps({"api-key": self._key, "admin-api-key": self._admin_key}), encoding="utf-8")
            yield keys

    def warm_up(self) -> None:
        """Answer a prompt of each length that the definition names, each from an empty cache, and one conversation."""
        tokenized = json.loads(self._api.post("/v1/tokenize", {"model": self.name, "prompt": WARM_UP_TEXT}))
        for length in self._definition.prompt_tokens:
            prompt = repeated(tokenized["tokens"], length, tokenized["max_model_len"])
            sampling = {"max_new_tokens": WARM_UP_ANSWER_TOKENS, "temperature": 0, "ignore_eos": True}
            self._api.post("/generate", {"input_ids": prompt, "sampling_params": sampling})
            self._forget()
        message = {"role": "user", "content": WARM_UP_TEXT}
        asked = {"model": self.name, "messages": [message], "max_tokens": WARM_UP_ANSWER_TOKENS}
        with suppress(RefusedError):  # weights that were never trained on conversations have no template for one
            self._api.post("/v1/chat/completions", asked)
        self._forget()

    def _forget(self) -> None:
        """Empty its caches, once it is idle."""
        self._administration.post(f"/flush_cache?timeout={IDLE_SECONDS}", {})

    def release(self) -> None:
        """Release all of the GPU's memory (no tags: all), and see every connection closed.

        A server that is busy would not refuse: its scheduler ends on an assertion, and all its tree with it.
        """
        self._forget()
        if self._options.enable_memory_saver:
            self._administration.post("/release_memory_occupation", {})
            self._released = True
        self._child.hang_up()

    def resume(self) -> None:
        """Take it all back, and draw a number of tokens that only this copy knows.

        SGLang has no call that seeds its generator anew: the copies of one snapshot would all draw the same tokens.
        """
        if self._released:
            self._administration.post("/resume_memory_occupation", {})
            self._released = False
        sampling = {"max_new_tokens": 1 + secrets.randbelow(STIRS), "temperature": 1, "ignore_eos": True}
        self._api.post("/generate", {"text": WARM_UP_TEXT, "sampling_params": sampling})

    def serve(self) -> ASGIApp:
        """The server's API; from now on its death is the container's."""
        self._child.guard()
        one = OneModel(self.name, self._weights.stat().st_mtime)
        self._proxy = Proxy(self._child.url, self._key, one, Places(self._definition.concurrency))
        asked = [Route(path, self._proxy.answer, methods=["POST"]) for path in ASKED]
        return api([*one.routes, *asked], api_key(self._definition), self.is_healthy, self._proxy.metrics)

    async def is_healthy(self) -> bool:
        """Whether it can answer; while its memory is released it cannot, and is not asked."""
        return not self._released and await self._proxy.is_healthy()

    def stop(self) -> None:
        """End the server, with all that it started."""
        if hasattr(self, "_child"):
            self._child.stop()

    async def first_answer(self) -> str:
        """A short answer, the likeliest one, by the way that every request goes."""
        return await self._proxy.first_answer()
