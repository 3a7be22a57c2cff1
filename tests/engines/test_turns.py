import asyncio
import json
import threading
import time

import httpx
import pytest
from serving import serving

from engines.openai_api import OpenAiApi
from engines.places import BusyError
from engines.text_model import Piece, Sampling
from engines.turns import Turns


@pytest.fixture
def turns():
    turns = Turns(waiting=1, wait_seconds=0.2)
    yield turns
    turns.close()


class Gate:
    """Work that lasts until it is let go, and then yields."""

    def __init__(self):
        self.began = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, hung_up):
        self.began.set()
        while not (self.let_go.is_set() or hung_up.is_set()):
            time.sleep(0.005)
        yield from ([] if hung_up.is_set() else [1, 2])


async def read(stream):
    return [item async for item in stream]


async def test_requests_are_answered_in_the_order_in_which_they_came():
    turns, order, first = Turns(), [], Gate()

    def note(name):
        def work(_):
            order.append(name)
            yield name

        return work

    waiting = [asyncio.create_task(read(turns.stream(first)))]
    await asyncio.to_thread(first.began.wait)
    for name in "abc":
        waiting.append(asyncio.create_task(read(turns.stream(note(name)))))
        await asyncio.sleep(0)
    first.let_go.set()
    assert await asyncio.gather(*waiting) == [[1, 2], ["a"], ["b"], ["c"]]
    assert order == ["a", "b", "c"]
    turns.close()


async def test_who_waits_too_long_is_told_when_to_come_back(turns):
    gate = Gate()
    running = asyncio.create_task(read(turns.stream(gate)))
    await asyncio.to_thread(gate.began.wait)
    with pytest.raises(BusyError) as busy:
        await read(turns.stream(gate))
    assert busy.value.status == 429
    assert int(busy.value.headers["Retry-After"]) >= 1
    gate.let_go.set()
    assert await running == [1, 2]


async def test_who_finds_no_place_to_wait_is_told_at_once(turns):
    gate = Gate()
    running = asyncio.create_task(read(turns.stream(gate)))
    await asyncio.to_thread(gate.began.wait)
    waiting = asyncio.create_task(read(turns.stream(gate)))
    await asyncio.sleep(0.01)
    with pytest.raises(BusyError, match="1 requests are waiting"):
        await read(turns.stream(gate))
    gate.let_go.set()
    assert await asyncio.gather(running, waiting) == [[1, 2], [1, 2]]


async def test_who_gives_up_waiting_leaves_the_queue(turns):
    gate = Gate()
    running = asyncio.create_task(read(turns.stream(gate)))
    await asyncio.to_thread(gate.began.wait)
    waiting = asyncio.create_task(read(turns.stream(gate)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    next_one = asyncio.create_task(read(turns.stream(gate)))  # the one place is free again
    await asyncio.sleep(0.01)
    gate.let_go.set()
    assert await asyncio.gather(running, next_one) == [[1, 2], [1, 2]]


async def test_a_failure_reaches_the_one_who_asked_and_frees_the_turn(turns):
    def fail(_):
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await read(turns.stream(fail))
    gate = Gate()
    gate.let_go.set()
    assert await read(turns.stream(gate)) == [1, 2]


class Endless:
    """The real engine, but for answers without an end, whose tokens are counted."""

    def __init__(self, engine):
        self._engine = engine
        self.name = engine.name
        self.n_ctx = engine.n_ctx
        self.text_prompt = engine.text_prompt
        self.begun = self.ended = self.tokens = 0

    def generate(self, _prompt, _sampling, hung_up):
        self.begun += 1
        try:
            while not hung_up.is_set():
                self.tokens += 1
                yield Piece("word ")
                time.sleep(0.01)
        finally:
            self.ended += 1


@pytest.fixture
def endless(engine):
    model, turns = Endless(engine), Turns(waiting=1, wait_seconds=0.3)
    with serving(OpenAiApi(model, turns, 0).app(None)) as url:
        yield model, url
    turns.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
async def test_who_hangs_up_ends_the_answer(endless, stream):
    model, url = endless
    async with httpx.AsyncClient() as client:
        ask = client.post(f"{url}/v1/completions", json={"prompt": "a", "stream": stream, "max_tokens": 200})
        asking = asyncio.create_task(ask)
        await until(lambda: model.tokens > 3)
        asking.cancel()
        await until(lambda: model.ended == 1)
    assert model.begun == 1


async def test_who_hangs_up_while_waiting_never_begins(endless):
    model, url = endless
    async with httpx.AsyncClient() as one, httpx.AsyncClient() as other:
        body = {"prompt": "a", "max_tokens": 200}
        first = asyncio.create_task(one.post(f"{url}/v1/completions", json=body))
        await until(lambda: model.begun == 1)
        second = asyncio.create_task(other.post(f"{url}/v1/completions", json=body))
        await asyncio.sleep(0.1)
        second.cancel()
        await asyncio.sleep(0.1)
        first.cancel()
        await until(lambda: model.ended == 1)
        await asyncio.sleep(0.1)
    assert model.begun == 1


async def test_too_many_requests_get_429_and_a_time_to_come_back(endless):
    model, url = endless
    async with httpx.AsyncClient() as client:
        body = {"prompt": "a", "max_tokens": 200}
        asking = asyncio.create_task(client.post(f"{url}/v1/completions", json=body))
        await until(lambda: model.begun == 1)
        refused = await client.post(f"{url}/v1/completions", json={**body, "stream": True})
        asking.cancel()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["Retry-After"]) >= 1


def test_many_requests_at_once_are_all_answered(url):
    async def ask_all():
        async with httpx.AsyncClient(timeout=120) as client:
            bodies = [{"prompt": f"{number}, ", "max_tokens": 3, "stream": number % 2 == 0} for number in range(12)]
            return await asyncio.gather(*[client.post(f"{url}/v1/completions", json=body) for body in bodies])

    answers = asyncio.run(ask_all())
    assert [answer.status_code for answer in answers] == [200] * 12


def test_a_hang_up_while_a_long_prompt_is_read_stops_between_two_batches(engine):
    hung_up = threading.Event()
    hung_up.set()
    prompt = engine.text_prompt("word " * 200)
    evaluated = engine._llama.n_tokens
    assert list(engine.generate(prompt, Sampling(max_tokens=5), hung_up)) == []
    assert engine._llama.n_tokens in {evaluated, 0}


def test_a_fault_in_the_middle_of_a_stream_is_an_event(engine):
    class Broken(Endless):
        def generate(self, *_):
            yield Piece("word ")
            raise RuntimeError("secret detail")

    turns = Turns()
    with serving(OpenAiApi(Broken(engine), turns, 0).app(None)) as url:
        streamed = httpx.post(f"{url}/v1/completions", json={"prompt": "a", "stream": True}).text
        whole = httpx.post(f"{url}/v1/completions", json={"prompt": "a"})
    turns.close()
    last = json.loads(streamed.strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["error"]["type"] == "server_error"
    assert (whole.status_code, whole.json()["error"]["type"]) == (500, "server_error")
    assert "secret detail" not in streamed + whole.text
