"""The server's HTTP manners, as in sglang 0.5.17, files below `sglang/srt`:

- health: entrypoints/http_server.py, `health_generate`: 503 while it starts; then a token is generated, except where
  SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION is off.
- keys: utils/auth.py, `decide_request_auth`: /health and /metrics are open, administrative calls take the admin key
  alone, all else the other one; 401 and {"error": "Unauthorized"}.
- release and resume: entrypoints/http_server.py (a JSON body is a must: 400), then
  managers/scheduler_components/weight_updater.py: 200 and `null`, or an assertion which ends the scheduler and with it
  the whole server, where it is busy or not released.
- /flush_cache: waits up to `timeout` for what runs, then 400.
- generating while released touches memory that is not there: it ends, as CUDA's illegal access ends the real one.

Every call is noted in the file that STAND_IN_JOURNAL names.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

LOOKS_WHILE_IT_STARTS = 2
"""How many looks at its health meet a server that is starting."""
CONTEXT = 64
ADMINISTRATIVE = {"/flush_cache", "/release_memory_occupation", "/resume_memory_occupation"}
OPEN = ("/health", "/metrics")

VALUES = (
    *("model-path", "served-model-name", "host", "port", "config", "api-key", "admin-api-key", "log-level"),
    *("context-length", "mem-fraction-static", "cuda-graph-max-bs-decode", "tp-size", "max-running-requests"),
    *("quantization", "reasoning-parser", "tool-call-parser", "weight-cache-mode"),
)
SWITCHES = ("enable-memory-saver", "enable-weights-cpu-backup", "skip-server-warmup", "enable-metrics")


def add_arguments(parser):
    for name in VALUES:
        parser.add_argument(f"--{name}")
    for name in SWITCHES:
        parser.add_argument(f"--{name}", action="store_true")


def parsed(argv):
    """As `prepare_server_args`: what the file says comes first, and is read once."""
    parser = argparse.ArgumentParser(prog="sglang serve")
    add_arguments(parser)
    at = argv.index("--config")
    keys = Path(argv[at + 1])
    note("keys", mode=oct(keys.stat().st_mode & 0o777))
    said = [word for name, value in json.loads(keys.read_text()).items() for word in (f"--{name}", str(value))]
    return parser.parse_args([*said, *argv[:at], *argv[at + 2 :]])


def note(call, **rest):
    with Path(os.environ["STAND_IN_JOURNAL"]).open("a") as journal:
        journal.write(json.dumps({"call": call, **rest}) + "\n")


def refusal(message):
    """As entrypoints/openai/serving_base.py, `create_error_response`: no envelope around it."""
    said = {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}
    return JSONResponse(said, 400)


def end_of_the_tree():
    """As the real server's reaction to a scheduler that ended."""
    os.write(2, b"AssertionError: the scheduler hit an exception\n")
    os.killpg(0, signal.SIGKILL)


class Server:
    def __init__(self, args):
        self.args = args
        self.looks = 0
        self.running = 0
        self.released = False

    async def health(self, _):
        note("/health")
        self.looks += 1
        if self.looks <= LOOKS_WHILE_IT_STARTS:
            return PlainTextResponse("", 503)
        if os.environ.get("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION", "1") == "1":
            await self.generated(1)
        return PlainTextResponse("")

    async def generated(self, tokens):
        if self.released:
            end_of_the_tree()
        self.running += 1
        await asyncio.sleep(0.01 * tokens)
        self.running -= 1

    async def generate(self, request):
        asked = await request.json()
        note("/generate", **asked)
        await self.generated(asked["sampling_params"]["max_new_tokens"])
        return JSONResponse({"text": "said"})

    async def tokenize(self, request):
        tokens = list((await request.json())["prompt"].encode())
        return JSONResponse({"tokens": tokens, "count": len(tokens), "max_model_len": CONTEXT})

    async def completions(self, request):
        asked = await request.json()
        note(request.url.path, **asked)
        if asked.get("max_tokens", 0) > CONTEXT:
            return refusal("too long")
        if "messages" in asked and "STAND_IN_HAS_NO_TEMPLATE" in os.environ:
            return refusal("no chat template")
        await self.generated(asked.get("max_tokens", 1))
        if asked.get("stream"):
            return StreamingResponse(self.events(), media_type="text/event-stream")
        message = {"role": "assistant", "content": "Paris."}
        return JSONResponse({"choices": [{"text": " Paris.\n", "message": message}]})

    async def events(self):
        for word in ("Pa", "ris."):
            yield f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n"
        yield "data: [DONE]\n\n"

    async def flush(self, request):
        note("/flush_cache")
        until = time.monotonic() + float(request.query_params.get("timeout", 0))
        while self.running and time.monotonic() < until:
            await asyncio.sleep(0.01)
        return PlainTextResponse("Flush cache failed.", 400) if self.running else PlainTextResponse("Cache flushed.")

    async def release(self, request):
        body = await request.body()
        note("/release_memory_occupation", body=body.decode())
        if not body:
            return JSONResponse({"object": "error", "message": "Field required", "type": "Bad Request"}, 400)
        if self.running or self.released:
            end_of_the_tree()
        self.released = self.args.enable_memory_saver
        return JSONResponse(None)

    async def resume(self, request):
        note("/resume_memory_occupation", body=(await request.body()).decode())
        if not self.released:
            end_of_the_tree()
        self.released = False
        return JSONResponse(None)

    async def metrics(self, _):
        return PlainTextResponse("sglang:num_running_reqs 0\n")

    async def settings(self, _):
        return JSONResponse(vars(self.args))


def keyed(app, args):
    async def guarded(scope, receive, send):
        path = scope.get("path", "")
        if scope["type"] == "http" and not path.startswith(OPEN):
            key = args.admin_api_key if path in ADMINISTRATIVE else args.api_key
            if dict(scope["headers"]).get(b"authorization") != f"Bearer {key}".encode():
                await JSONResponse({"error": "Unauthorized"}, 401)(scope, receive, send)
                return
        await app(scope, receive, send)

    return guarded


def main():
    args = parsed(sys.argv[1:])
    scheduler = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note("started", scheduler=scheduler.pid)
    server = Server(args)
    routes = [
        Route("/health", server.health),
        Route("/generate", server.generate, methods=["POST"]),
        Route("/v1/tokenize", server.tokenize, methods=["POST"]),
        Route("/v1/completions", server.completions, methods=["POST"]),
        Route("/v1/chat/completions", server.completions, methods=["POST"]),
        Route("/flush_cache", server.flush, methods=["GET", "POST"]),
        Route("/release_memory_occupation", server.release, methods=["GET", "POST"]),
        Route("/resume_memory_occupation", server.resume, methods=["GET", "POST"]),
        Route("/metrics", server.metrics),
        Route("/server_info", server.settings),
    ]
    uvicorn.run(keyed(Starlette(routes=routes), args), host=args.host, port=int(args.port), log_level="warning")


if __name__ == "__main__":
    main()
