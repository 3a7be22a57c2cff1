"""A model's words, told apart, in the ways of writing of several models."""

import json

import pytest

from engines.speech import SpeechReader, Style, style_of
from engines.tool_calls import read_call, types_of

QWEN = "{{ '<think>\n' }} ... <tool_call> ... </tool_call> ... </think>"
GEMMA = "<|channel>thought\n<channel|> ... <|tool_call>call: ... <tool_call|>"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
]
TYPES = types_of(TOOLS)


def read(template, text, *, prompt="", step=1):
    """Thoughts, words and calls of an answer that comes in pieces of some letters."""
    reader = SpeechReader(style_of(template), TYPES, prompt)
    said = [one for at in range(0, len(text), step) for one in reader.feed(text[at : at + step])] + reader.rest()
    calls = [(one.call.name, json.loads(one.call.arguments)) for one in said if one.call]
    return "".join(one.thought for one in said), "".join(one.text for one in said), calls


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_thoughts_words_and_calls_are_told_apart_however_they_are_cut(step):
    text = (
        '<think>\nRain?</think>\n\nI look.<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>'
    )
    assert read(QWEN, text, step=step) == ("Rain?", "I look.", [("weather", {"city": "Ulm"})])


def test_a_thought_that_the_template_has_begun_is_one():
    assert read(QWEN, "Hm.\n</think>\n\nYes.", prompt="<|im_start|>assistant\n<think>\n") == ("Hm.\n", "Yes.", [])


def test_a_thought_that_the_template_has_ended_is_none():
    assert read(QWEN, "Yes.", prompt="<think>\n\n</think>\n\n") == ("", "Yes.", [])


def test_text_without_marks_is_all_that_is_said():
    assert read("no marks", "a <think> b") == ("", "a <think> b", [])
    assert style_of("no marks") == Style()


def test_what_only_looks_like_a_mark_is_text():
    assert read(QWEN, "1 <thin 2 <tool 3") == ("", "1 <thin 2 <tool 3", [])


def test_nothing_is_held_back_that_can_be_no_mark():
    reader = SpeechReader(style_of(QWEN), TYPES, "")
    assert [one.text for one in reader.feed("a < b")] == ["a < b"]
    assert reader.feed("<too") == []
    assert [one.text for one in reader.feed("t")] == ["<toot"]


def test_glm_names_the_function_and_then_pairs():
    text = "<tool_call>weather<arg_key>city</arg_key><arg_value>42</arg_value>"
    text += "<arg_key>days</arg_key><arg_value>3</arg_value></tool_call>"
    assert read(QWEN, text)[2] == [("weather", {"city": "42", "days": 3})]


def test_a_call_without_arguments_is_one():
    assert read(QWEN, "<tool_call>weather</tool_call>")[2] == [("weather", {})]


def test_qwen_3_5_writes_functions_and_parameters():
    text = "<tool_call>\n<function=weather>\n<parameter=city>\nBad\nUrach\n</parameter>\n"
    text += "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>"
    assert read(QWEN, text)[2] == [("weather", {"city": "Bad\nUrach", "days": 2})]


def test_gemma_4_has_marks_and_quotes_of_its_own():
    text = "<|channel>thought\nHm.<channel|>So:<|tool_call>call:weather"
    text += '{city:<|"|>Ulm, {old}<|"|>,days:3,near:[<|"|>a<|"|>,<|"|>b<|"|>],deep:{x:true}}<tool_call|>'
    arguments = {"city": "Ulm, {old}", "days": 3, "near": ["a", "b"], "deep": {"x": True}}
    assert read(GEMMA, text) == ("Hm.", "So:", [("weather", arguments)])


def test_two_calls_are_two():
    call = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
    assert len(read(QWEN, f"{call}\n{call}")[2]) == 2


def test_a_call_that_makes_no_sense_is_shown_as_it_was_written():
    assert read(QWEN, "<tool_call>{oh no</tool_call>.") == ("", "<tool_call>{oh no</tool_call>.", [])


def test_a_call_that_breaks_off_is_shown_as_it_was_written():
    assert read(QWEN, 'x<tool_call>{"name"') == ("", 'x<tool_call>{"name"', [])


def test_a_thought_that_breaks_off_is_a_thought():
    assert read(QWEN, "<think>I was about to <") == ("I was about to <", "", [])


@pytest.mark.parametrize("text", ["call:f{a:", '{"arguments": {}}', "two words", "[1]", ""])
def test_what_is_no_call_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_call(text, {})


def test_every_call_has_a_name_of_its_own():
    once, again = (read_call('{"name": "weather"}', {}) for _ in range(2))
    assert once == again
    assert once.id != again.id
