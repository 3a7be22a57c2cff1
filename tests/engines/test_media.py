"""What a proxy lets through to its server of images and sounds, as the calls of OpenAI and Anthropic have them."""

import pytest

from engines.errors import ApiError
from engines.media import check_media

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def chat(*parts):
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "https://a"}, *parts]}]}


TEXT = [
    chat(),
    {"messages": [{"role": "user", "content": "data:"}]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"image": "https://a"}'}}]}]},
    {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"image_url": "https://a"}}]}]},
    {"input": "https://a", "metadata": {"image_url": "https://a"}},
    {"input": ["https://a"]},
    {"prompt": "a"},
    {"messages": 5},
]

INSIDE = [
    (chat({"type": "image_url", "image_url": {"url": PIXEL}}), "messages[0].content[1]"),
    (chat({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}), "messages[0].content[1]"),
    (chat({"type": "image", "source": {"type": "base64", "data": "AAAA"}}), "messages[0].content[1]"),
    (chat({"type": "tool_result", "content": [{"type": "image", "source": {}}]}), "messages[0].content[1].content[0]"),
    ({"input": [{"content": [{"type": "input_image", "image_url": PIXEL}]}]}, "input[0].content[0]"),
    ({"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": PIXEL}]}]},
     "input[0].output[0]"),
    ({"input": [{"text": "a", "image": PIXEL}]}, "input[0]"),
]  # fmt: skip

ELSEWHERE = [
    chat({"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}),
    chat({"type": "image_url", "image_url": {"url": "file:///proc/self/environ"}}),
    chat({"type": "image_url", "image_url": "/weights/secret.png"}),
    chat({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
    chat({"type": "video_url", "video_url": {"url": "https://a/b.mp4"}}),
    chat({"type": "text", "text": "a", "image_url": {"url": "https://a"}}),
    {"input": [{"content": [{"type": "input_image", "image_url": "https://a/b.png"}]}]},
    {"input": [{"image": "https://a/b.png"}]},
]


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("asked", TEXT, ids=str)
def test_text_is_let_through_whatever_it_says(asked, taken):
    check_media(asked, taken=taken)


@pytest.mark.parametrize(("asked", "place"), INSIDE, ids=str)
def test_what_is_in_the_request_is_for_models_that_take_it(asked, place):
    check_media(asked, taken=True)
    with pytest.raises(ApiError, match="reads text alone") as refused:
        check_media(asked, taken=False)
    assert refused.value.body["error"]["param"] == place


@pytest.mark.parametrize("asked", ELSEWHERE, ids=str)
def test_nothing_is_fetched_or_opened_for_a_client(asked):
    with pytest.raises(ApiError, match="nothing is fetched here"):
        check_media(asked, taken=True)
