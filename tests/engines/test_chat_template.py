import pytest
from serving import deployment

from engines.llama_cpp import LlamaCpp

TEMPLATE = """\
{%- if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif -%}
{%- for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor -%}
{%- if tools %}<tools>{{ tools | tojson }}{% endif -%}"""
TOOLS = [{"type": "function", "function": {"name": "look_up"}}]
HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture(scope="module")
def templated(weights):
    engine = LlamaCpp(deployment(options={"chat_template": TEMPLATE}).definition, weights)
    engine.load()
    yield engine
    engine.stop()


def text(engine, messages, tools=None):
    return engine._llama.detokenize(engine.chat_prompt(messages, tools).tokens, special=True).decode()


def test_the_services_own_template_is_used(templated):
    assert text(templated, [HELLO]) == "<user>Hello"


def test_tools_reach_a_template_that_has_a_place_for_them(templated, engine):
    assert templated.knows_tools
    assert "look_up" in text(templated, [HELLO], TOOLS)
    assert not engine.knows_tools


def test_what_the_template_refuses_is_the_clients_mistake(templated):
    with pytest.raises(ValueError, match="no system role here"):
        templated.chat_prompt([{"role": "system", "content": "Be brief."}, HELLO], None)


def test_weights_without_a_template_get_a_written_dialogue(engine):
    messages = [{"role": "system", "content": "Be brief. "}, HELLO]
    assert text(engine, messages) == "<bos>System: Be brief.\n\nUser: Hello\n\nAssistant:"


def test_nobody_speaks_for_the_user_in_a_written_dialogue(engine):
    assert "\nUser:" in engine.chat_prompt([HELLO], None).stop


def test_a_users_words_are_no_special_tokens_in_a_written_dialogue(engine):
    prompt = engine.chat_prompt([{"role": "user", "content": "<eos>"}], None)
    assert engine._llama.token_eos() not in prompt.tokens
