"""Tool calls and thoughts over HTTP, as OpenAI's own client reads them.

The small model of these tests was taught neither, so what is written here stands in for its words: everything else,
the chat template of a larger model included, is what runs.
"""

import json

import openai
import pytest
from serving import deployment, serving

from engines.llama_cpp import LlamaCpp
from engines.openai_api import OpenAiApi
from engines.text_model import Piece
from engines.turns import Turns

TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>{{ call.function.name }}
{%- for key, value in call.function.arguments.items() %}<arg_key>{{ key }}</arg_key><arg_value>{{ value }}</arg_value>
{%- endfor %}</tool_call>{% endfor %}<|im_end|>
{% endfor -%}
{%- if tools %}<tools>{{ tools | tojson }}</tools>{% endif -%}
<|im_start|>assistant
{{ '<think>\n\n</think>\n\n' if enable_thinking is defined and not enable_thinking else '<think>\n' }}"""
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": WEATHER}]
QUESTION = [{"role": "user", "content": "Will it rain in Ulm?"}]
CALL = "<tool_call>weather<arg_key>city</arg_key><arg_value>Ulm</arg_value></tool_call>"


class Scripted:
    """The real engine, but for the words of its answers."""

    def __init__(self, engine):
        self._engine = engine
        self.says = ""
        self.asked = ""

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def generate(self, prompt, _sampling, _hung_up):
        self.asked = prompt.text
        yield from (Piece(letter) for letter in self.says)
        yield Piece("", finish="stop", counts=False)


@pytest.fixture(scope="module")
def model(weights):
    engine = LlamaCpp(deployment(options={"chat_template": TEMPLATE, "n_ctx": 512}).definition, weights)
    engine.load()
    yield Scripted(engine)
    engine.stop()


@pytest.fixture(scope="module")
def client(model):
    turns = Turns()
    with (
        serving(OpenAiApi(model, turns, 0).app(None)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client,
    ):
        yield client
    turns.close()


def ask(client, **rest):
    return client.chat.completions.create(**{"model": "chat", "messages": QUESTION, "tools": TOOLS, **rest})


def test_a_call_comes_as_a_call_and_not_as_text(client, model):
    model.says = f"I need to look.</think>\n\n{CALL}"
    (choice,) = ask(client).choices
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Ulm"})
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.reasoning_content == "I need to look."


def test_a_streamed_call_comes_whole_and_with_its_number(client, model):
    model.says = f"Hm.</think>\n\nI look.{CALL}{CALL}"
    chunks = [chunk.choices[0] for chunk in ask(client, stream=True)]
    calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert [call.index for call in calls] == [0, 1]
    assert {json.loads(call.function.arguments)["city"] for call in calls} == {"Ulm"}
    assert "".join(chunk.delta.content or "" for chunk in chunks) == "I look."
    assert "".join(getattr(chunk.delta, "reasoning_content", "") or "" for chunk in chunks) == "Hm."
    assert chunks[-1].finish_reason == "tool_calls"


def test_thoughts_count_as_tokens_of_the_answer(client, model):
    model.says = "ab</think>c"
    answer = ask(client)
    assert answer.choices[0].message.content == "c"
    assert answer.usage.completion_tokens == len("ab</think>c")


def test_an_answer_without_marks_is_its_text(client, model):
    model.says = "Yes."
    (choice,) = ask(client, extra_body={"chat_template_kwargs": {"enable_thinking": False}}).choices
    assert choice.message.content == "Yes."
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"


def test_earlier_calls_reach_the_template_with_their_arguments_read(client, model):
    model.says = "</think>It will."
    function = {"name": "weather", "arguments": '{"city": "Ulm"}'}
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": function}],
    }
    ask(client, messages=[*QUESTION, called, {"role": "tool", "tool_call_id": "1", "content": "rain"}])
    assert CALL in model.asked
    assert "rain" in model.asked


def test_arguments_that_cannot_be_read_are_the_clients_mistake(client):
    function = {"name": "weather", "arguments": "{"}
    called = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    with pytest.raises(openai.BadRequestError, match="chat template"):
        ask(client, messages=[*QUESTION, called])


def test_an_answer_held_to_a_schema_is_not_preceded_by_thoughts(client, model):
    model.says = "{}"
    ask(client, response_format={"type": "json_object"})
    assert model.asked.endswith("<think>\n\n</think>\n\n")


def test_no_tool_is_told_of_where_none_is_to_be_called(client, model):
    model.says = "</think>No."
    ask(client, tool_choice="none")
    assert "<tools>" not in model.asked


@pytest.fixture(scope="module")
def free(model):
    """A client of the same engine, whose words are its own."""
    engine = model._engine
    with (
        serving(OpenAiApi(engine, engine._turns, 0).app(None)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client,
    ):
        yield client


CITY = {"type": "string", "enum": ["Ulm", "Rome"]}
NAMED = {"type": "function", "function": {"name": "weather"}}
PLACES = {
    "type": "object",
    "properties": {"place": {"$ref": "#/$defs/City"}, "days": {"type": "integer"}},
    "required": ["place"],
    "additionalProperties": False,
    "$defs": {"City": CITY},
}
TRAVEL = [
    {"type": "function", "function": {"name": "weather", "parameters": PLACES}},
    {"type": "function", "function": {"name": "train", "parameters": {**PLACES, "$defs": {"City": {"const": "Bonn"}}}}},
    {"type": "function", "function": {"name": "stop"}},
]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_demanded_is_made_by_a_model_that_never_learnt_to_call(free, stream):
    answer = ask(free, tools=TRAVEL, tool_choice=NAMED, max_tokens=60, temperature=0, stream=stream)
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    messages = [choice.delta if stream else choice.message for choice in choices]
    ((call,),) = [message.tool_calls for message in messages if message.tool_calls]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["place"] in {"Ulm", "Rome"}
    assert not any(message.content for message in messages)
    assert choices[-1].finish_reason == "tool_calls"


def test_each_tool_keeps_its_own_definitions(free):
    (call,) = ask(free, tools=TRAVEL[1:2], tool_choice="required", max_tokens=60).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)["place"]) == ("train", "Bonn")


def test_a_demanded_call_may_be_that_of_any_tool(free):
    answers = [ask(free, tools=TRAVEL, tool_choice="required", max_tokens=60, temperature=2) for _ in range(2)]
    calls = [call for answer in answers for call in answer.choices[0].message.tool_calls]
    assert {call.function.name for call in calls} <= {"weather", "train", "stop"}
    assert len(calls) == 2


def test_a_demanded_call_begins_as_the_model_would_begin_one(client, model):
    model.says = '{"name": "weather", "arguments": {"city": "Ulm"}}'
    ask(client, tool_choice="required")
    assert model.asked.endswith("<think>\n\n</think>\n\n<tool_call>")


def test_a_demanded_call_that_is_cut_off_is_text(free):
    (choice,) = ask(free, tool_choice="required", max_tokens=2).choices
    assert choice.message.tool_calls is None
    assert choice.message.content
    assert choice.finish_reason == "length"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": None}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "nothing"}}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "https://x/y"}}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "odd"}}}]}, "tools"),
    ],
    ids=["no tools", "an unknown tool", "a schema elsewhere", "a type that is none"],
)
def test_a_call_that_cannot_be_made_is_not_demanded(free, change, param):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(free, **{"tool_choice": "required", **change})
    assert refused.value.param == param


def test_marks_that_are_control_tokens_are_read_too(model):
    """As in Gemma 4, whose tokenizer would otherwise leave them out; this model has a mark of its own."""
    engine = model._engine
    style = engine.style
    token = engine._llama.tokenize(b"<end_of_turn>", add_bos=False, special=True)
    assert len(token) == 1
    assert engine._bytes(token[0]) == b""
    engine.style = type(style)(call=("<start_of_turn>", "<end_of_turn>"))
    marks, engine._marks = engine._marks, engine._mark_tokens()
    assert engine._bytes(token[0]) == b"<end_of_turn>"
    engine.style, engine._marks = style, marks
