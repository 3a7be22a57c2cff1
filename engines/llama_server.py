"""The engine `llama_server`: llama.cpp's own server as a child process, behind a proxy."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, ClassVar

from starlette.routing import Route

from engines.child import Child, free_port, own_environment
from engines.child_api import ChildApi
from engines.cores import usable_cores
from engines.engine import LOAD_SECONDS
from engines.http import api, api_key
from engines.llama_files import mmproj_in, model_in
from engines.llama_flags import Flags, for_images, for_options
from engines.one_model import OneModel
from engines.places import Places
from engines.prompts import WARM_UP_ANSWER_TOKENS, WARM_UP_TEXT, repeated
from engines.proxy import Proxy
from spec.gpu import asks_for_gpu
from spec.llama_server import LlamaServerEngine

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from spec.deployment import Definition

ASKED = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/responses",
    "/v1/messages",
    "/tokenize",
    "/detokenize",
    "/apply-template",
)
"""What of the server is served: nothing that changes it, reads files or fetches addresses for a client."""

LOOKED_AT = ("/slots", "/props")

RESUME_SECONDS = 60
"""How long a restored server may take to answer."""

PROGRAM = "llama-server"
_IN_ITS_OWN_IMAGE = Path("/app", PROGRAM)
"""Where llama.cpp's images have it, which is not on their PATH."""

log = logging.getLogger("coldsnap.llama_server")


class ServerError(Exception):
    """An image that has no server to start."""


class LlamaServer:
    """One server, alive from load to stop, in as many copies as there are restored containers."""

    packages: ClassVar[tuple[str, ...]] = ("aiohttp",)

    def __init__(self, definition: Definition, weights: Path) -> None:
        assert isinstance(definition.engine, LlamaServerEngine)
        self._definition = definition
        self._engine = definition.engine
        self._options = definition.engine.options
        self._weights = weights
        self._key = secrets.token_urlsafe(32)
        self.name = definition.service

    def load(self) -> None:
        """Start the server, and wait until the weights are read."""
        self._model = model_in(self._weights, self._options.model, self._options.mmproj)
        self._mmproj = mmproj_in(self._weights, self._options.mmproj)
        program = program_in_image(self._options.server)
        port = free_port()
        command = [str(program), *self._arguments(Flags.of(program), port)]
        log.info("%s", " ".join(command))
        # Its key is not on the command line, which every process of the container may read.
        self._child = Child(PROGRAM, command, own_environment() | {"LLAMA_API_KEY": self._key}, port)
        self._api = ChildApi(self._child, self._key)
        self._child.start()
        self._child.wait_until(self._is_ready, LOAD_SECONDS)

    def _is_ready(self) -> bool:
        return self._api.is_ok("/health")

    def _arguments(self, flags: Flags, port: int) -> list[str]:
        options = self._options
        on_gpu = asks_for_gpu(self._definition.gpu)
        threads = options.n_threads or round(self._definition.cpu or 0) or usable_cores()
        gpu_layers = options.gpu_layers(on_gpu=on_gpu)
        template = ["--chat-template", options.chat_template] if options.chat_template else []
        # Slots are erased only where they could be saved too; nobody is let near enough to save one.
        return [
            *("--model", str(self._model), "--alias", self.name, "--host", "127.0.0.1", "--port", str(port)),
            *("--threads", str(threads), "--slot-save-path", mkdtemp(prefix="slots-")),
            *for_options(flags, options, gpu_layers=gpu_layers, mapped=self._engine.maps_weights(on_gpu=on_gpu)),
            *(for_images(flags, self._mmproj, on_gpu=gpu_layers != 0) if self._mmproj else []),
            *(*template, *options.arguments),
        ]

    def warm_up(self) -> None:
        """Answer a prompt of each length that the definition names in each slot, and one conversation."""
        text = json.loads(self._api.post("/tokenize", {"content": WARM_UP_TEXT}))["tokens"]
        for length in self._definition.prompt_tokens:
            for slot in range(self._options.slots):
                self._warm_up(slot, repeated(text, length, self._options.n_ctx))
        message = {"role": "user", "content": WARM_UP_TEXT}
        self._api.post("/v1/chat/completions", {"messages": [message], "max_tokens": WARM_UP_ANSWER_TOKENS})

    def _warm_up(self, slot: int, tokens: list[int]) -> None:
        prompt = {"prompt": tokens, "n_predict": WARM_UP_ANSWER_TOKENS, "cache_prompt": False, "id_slot": slot}
        self._api.post("/completion", {**prompt, "temperature": 0})

    def release(self) -> None:
        """Empty the slots, and see every connection closed: one that a snapshot finds open is broken after it."""
        for slot in range(self._options.slots):
            self._api.post(f"/slots/{slot}?action=erase", {})
        self._child.hang_up()

    def resume(self) -> None:
        """See that the server came back with us. It draws the seed of each answer from the system, so copies differ."""
        self._child.wait_until(self._is_ready, RESUME_SECONDS)

    def serve(self) -> ASGIApp:
        """The server's API; from now on its death is the container's."""
        self._child.guard()
        one = OneModel(self.name, self._model.stat().st_mtime)
        places = Places(self._options.slots)
        self._proxy = Proxy(self._child.url, self._key, one, places, takes_media=self._mmproj is not None)
        asked = [Route(path, self._proxy.answer, methods=["POST"]) for path in ASKED]
        looked_at = [Route(path, self._proxy.look) for path in LOOKED_AT]
        routes, key = [*one.routes, *asked, *looked_at], api_key(self._definition)
        return api(routes, key, self._proxy.is_healthy, self._proxy.metrics)

    def stop(self) -> None:
        """End the server, with all that it started."""
        if hasattr(self, "_child"):
            self._child.stop()

    async def first_answer(self) -> str:
        """A short answer, the likeliest one, by the way that every request goes."""
        return await self._proxy.first_answer()


def program_in_image(named: str | None) -> Path:
    """The server's program: the one that is named, or the image's."""
    if named:
        return _existing(Path(named))
    found = shutil.which(PROGRAM) or shutil.which(_IN_ITS_OWN_IMAGE)
    if found is None:
        raise ServerError(
            f"the image has no {PROGRAM}. Take one that has it, such as image.base: {LlamaServerEngine.CUDA_BASE}, "
            f"or put a build of yours there: image.files: {{/usr/local/bin/{PROGRAM}: <path on your machine>}}"
        )
    return Path(found)


def _existing(program: Path) -> Path:
    if not program.is_file():
        raise ServerError(f"{program}: there is no such program in the image (options.server)")
    if not os.access(program, os.X_OK):  # a file that was put there may have lost it on the way
        program.chmod(program.stat().st_mode | 0o111)
    return program
