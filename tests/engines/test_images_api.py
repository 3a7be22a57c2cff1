"""The images API over the real engine in miniature, asked by OpenAI's own client."""

import asyncio
import threading

import httpx
import openai
import pytest
from painting import SIZES, decoded, definition
from serving import serving

from engines.turns import Turns

pytest.importorskip("torch", reason="no torch here: test_in_the_image.py runs these where it is")

from engines.diffusers import Diffusers
from engines.image_model import Step
from engines.images_api import ImagesApi

ASKED = {"prompt": "A cat"}


@pytest.fixture(scope="module")
def painter(flux2):
    engine = Diffusers(definition(), flux2)
    engine.load()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def images_url(painter):
    with serving(painter.serve()) as url:
        yield url


@pytest.fixture(scope="module")
def images(images_url):
    with openai.OpenAI(base_url=f"{images_url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client.images


def test_an_image_is_made(images):
    answer = images.generate(model="images", **ASKED)
    image = decoded(answer.data[0].b64_json)
    assert (image.format, image.size) == ("PNG", (32, 32))
    assert (answer.size, answer.output_format, answer.background) == ("32x32", "png", "opaque")


@pytest.mark.parametrize("size", SIZES)
def test_every_size_that_is_served_is_made(images, size):
    answer = images.generate(size=size, **ASKED)
    assert answer.size == size
    assert decoded(answer.data[0].b64_json).size == tuple(map(int, size.split("x")))


@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
def test_an_image_comes_in_the_format_that_is_wanted(images, wanted):
    answer = images.generate(output_format=wanted, response_format="b64_json", **ASKED)
    assert decoded(answer.data[0].b64_json).format == wanted.upper()


def test_compression_makes_an_image_smaller(images):
    def length(compression):
        more = {"output_format": "jpeg", "output_compression": compression, "extra_body": {"seed": 1}}
        return len(images.generate(**more, **ASKED).data[0].b64_json)

    assert length(10) < length(100)


def test_the_same_seed_gives_the_same_image(images):
    def made():
        return images.generate(extra_body={"seed": 7}, **ASKED).data[0].b64_json

    assert made() == made()


def test_without_a_seed_images_differ_and_say_by_which_seed_they_come_again(images):
    one, other = (images.generate(**ASKED).data[0] for _ in range(2))
    assert one.b64_json != other.b64_json
    assert images.generate(extra_body={"seed": one.seed}, **ASKED).data[0].b64_json == one.b64_json


def test_several_images_differ_and_each_has_the_next_seed(images):
    several = images.generate(n=3, extra_body={"seed": 7}, **ASKED)
    assert [image.seed for image in several.data] == [7, 8, 9]
    assert len({image.b64_json for image in several.data}) == 3
    assert images.generate(extra_body={"seed": 8}, **ASKED).data[0].b64_json == several.data[1].b64_json


def test_usage_counts_the_prompt_once_and_every_image(images):
    usage = images.generate(n=2, size=SIZES[1], **ASKED).usage
    assert usage.input_tokens == usage.input_tokens_details.text_tokens == len("user: A cat\n")
    assert usage.output_tokens == 2 * (48 // 16) * (32 // 16)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_a_stream_tells_every_step_and_ends_with_the_image(images):
    events = list(images.generate(stream=True, extra_body={"seed": 7}, **ASKED))
    assert [event.type for event in events] == ["image_generation.in_progress"] * 4 + ["image_generation.completed"]
    assert [(event.step, event.steps) for event in events[:-1]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert events[-1].b64_json == images.generate(extra_body={"seed": 7}, **ASKED).data[0].b64_json
    assert events[-1].usage.output_tokens == 4


@pytest.mark.parametrize(("wanted", "steps"), [(0, []), (1, [2]), (2, [1, 3]), (3, [1, 2, 3])])
def test_a_stream_shows_as_many_partial_images_as_are_wanted(images, wanted, steps):
    events = list(images.generate(stream=True, partial_images=wanted, output_format="webp", **ASKED))
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partial] == list(range(wanted))
    assert [event.step for event in partial] == steps
    assert all(decoded(event.b64_json).size == (32, 32) for event in partial)
    assert {event.output_format for event in partial} <= {"webp"}


def test_an_events_name_is_its_type(images_url):
    text = httpx.post(f"{images_url}/v1/images/generations", json={**ASKED, "stream": True}, timeout=60).text
    last = text.strip().split("\n\n")[-1]
    assert last.startswith('event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":')


def refusal(url, **body):
    response = httpx.post(f"{url}/v1/images/generations", json=body)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["param"], error["code"], error["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_size_that_is_not_served_is_refused_with_those_that_are(images_url, stream):
    status, param, _, message = refusal(images_url, size="512x512", stream=stream, **ASKED)
    assert (status, param) == (400, "size")
    assert "'512x512' is not served here. Served: '32x32', '48x32'." in message


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_the_model_would_cut_off_is_refused(images_url, stream):
    status, param, code, message = refusal(images_url, prompt="word " * 200, stream=stream)
    assert (status, param, code) == (400, "prompt", "context_length_exceeded")
    assert "512 tokens. Yours has 10" in message


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": None}, "prompt", "invalid_type"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 11}, "n", "invalid_value"),
        ({"n": 2, "stream": True}, "n", "unsupported_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"seed": "1"}, "seed", "invalid_type"),
        ({"size": 32}, "size", "invalid_type"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"output_compression": 50}, "output_compression", "unsupported_value"),
        ({"response_format": "url"}, "response_format", "unsupported_value"),
        ({"background": "transparent"}, "background", "unsupported_value"),
        ({"partial_images": 4, "stream": True}, "partial_images", "invalid_value"),
        ({"steps": 8}, "steps", "unknown_parameter"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_by_its_place(images_url, body, param, code):
    status, got_param, got_code, message = refusal(images_url, **{**ASKED, **body})
    assert (status, got_param, got_code) == (400, param, code)
    assert len(message) > 10


def test_a_missing_prompt_is_named(images_url):
    assert refusal(images_url)[:3] == (400, "prompt", "missing_required_parameter")


def test_another_model_is_not_found(images_url):
    assert refusal(images_url, model="dall-e-3", **ASKED)[:3] == (404, "model", "model_not_found")


def test_health_and_models_are_as_everywhere(images_url):
    assert httpx.get(f"{images_url}/health").json() == {"status": "ok"}
    assert [card["id"] for card in httpx.get(f"{images_url}/v1/models").json()["data"]] == ["images"]


def test_a_key_is_asked_for_where_there_is_one(painter):
    with serving(ImagesApi(painter, painter._turns, 0).app("s3cret")) as url:
        assert httpx.post(f"{url}/v1/images/generations", json=ASKED).status_code == 401
        allowed = httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer s3cret"})
    assert allowed.status_code == 200


class Slow:
    """The real engine, in so many steps that there is time to hang up; its steps are counted."""

    def __init__(self, engine):
        self._engine = engine
        self.name, self.sizes, self.steps = engine.name, engine.sizes, engine.steps
        self.begun = self.done = 0
        self.ended = threading.Event()

    def paint(self, drawing, put, hung_up):
        self.begun += 1

        def count(item):
            self.done += isinstance(item, Step)
            put(item)

        self._engine.paint(drawing, count, hung_up)
        self.ended.set()


@pytest.fixture
def slow(flux2):
    engine = Diffusers(definition(steps=100), flux2)
    engine.load()
    model, turns = Slow(engine), Turns(waiting=1, wait_seconds=0.3)
    with serving(ImagesApi(model, turns, 0).app(None)) as url:
        yield model, f"{url}/v1/images/generations"
    turns.close()
    engine.stop()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("more", [{"stream": True}, {"n": 5}], ids=str)
async def test_who_hangs_up_ends_the_image_and_those_behind_it(slow, more):
    model, url = slow
    async with httpx.AsyncClient(timeout=120) as client:
        asking = asyncio.create_task(client.post(url, json={**ASKED, **more}))
        await until(lambda: model.done > 2)
        asking.cancel()
        await until(model.ended.is_set)
        assert model.done < 100
        assert (await client.post(url, json={**ASKED, "size": "1x1"})).status_code == 400  # it still answers
    assert model.begun == 1


async def test_too_many_requests_get_429_and_a_time_to_come_back(slow):
    model, url = slow
    async with httpx.AsyncClient(timeout=120) as client:
        asking = asyncio.create_task(client.post(url, json=ASKED))
        await until(lambda: model.begun == 1)
        refused = await client.post(url, json={**ASKED, "stream": True})
        asking.cancel()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_fault_says_nothing_of_its_inside(painter):
    class Broken(Slow):
        def paint(self, _drawing, put, _hung_up):
            put(Step(1))
            raise RuntimeError("secret detail")

    turns = Turns()
    with serving(ImagesApi(Broken(painter), turns, 0).app(None)) as url:
        streamed = httpx.post(f"{url}/v1/images/generations", json={**ASKED, "stream": True}).text
        whole = httpx.post(f"{url}/v1/images/generations", json=ASKED)
    turns.close()
    assert streamed.strip().split("\n\n")[-1].startswith('event: error\ndata: {"type":"error","error":{"message":')
    assert (whole.status_code, whole.json()["error"]["type"]) == (500, "server_error")
    assert "secret detail" not in streamed + whole.text
