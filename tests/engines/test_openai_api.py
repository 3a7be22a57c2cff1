import openai
import pytest

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def chat(client, **rest):
    return client.chat.completions.create(**{"model": "chat", "messages": QUESTION, "temperature": 0, **rest})


def complete(client, prompt, **rest):
    return client.completions.create(**{"model": "chat", "prompt": prompt, "temperature": 0, **rest})


def test_the_one_model_is_listed(client):
    assert [model.id for model in client.models.list()] == ["chat"]
    assert client.models.retrieve("chat").object == "model"


def test_a_chat_is_answered(client):
    answer = chat(client)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion"


def test_usage_counts_the_tokens_of_prompt_and_answer(client):
    answer = complete(client, "One two three", max_tokens=5)
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens == 4  # three words and the mark of the beginning
    assert answer.usage.total_tokens == 9


def test_a_stream_says_the_same_as_a_whole_answer(client):
    whole = chat(client, max_tokens=12).choices[0].message.content
    parts = [chunk.choices[0] for chunk in chat(client, max_tokens=12, stream=True)]
    assert parts[0].delta.role == "assistant"
    assert "".join(part.delta.content or "" for part in parts) == whole
    assert [part.finish_reason for part in parts][-1] is not None
    assert all(part.finish_reason is None for part in parts[:-1])


def test_a_streams_last_chunk_holds_the_usage_if_asked_for(client):
    chunks = list(complete(client, "One two", max_tokens=3, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_holds_no_usage_if_not_asked_for(client):
    assert all(chunk.usage is None for chunk in complete(client, "One two", max_tokens=2, stream=True))


def test_an_answer_ends_before_the_stop_sequence(client):
    answer = complete(client, "Question: What is the capital of France?\nAnswer:", max_tokens=8, stop="\n")
    assert answer.choices[0].text == " Paris"
    assert answer.choices[0].finish_reason == "stop"


def test_a_stream_ends_before_the_stop_sequence_too(client):
    chunks = complete(client, "1, 2, 3, 4,", max_tokens=12, stop=["7"], stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == " 5, 6, "


def test_an_answer_that_is_cut_says_so(client):
    assert chat(client, max_tokens=1).choices[0].finish_reason == "length"
    assert chat(client, max_completion_tokens=1).usage.completion_tokens == 1


def test_a_completion_has_sixteen_tokens_unless_told_otherwise(client):
    assert complete(client, "1, 2, 3, 4,").usage.completion_tokens == 16


def test_the_same_seed_says_the_same_and_another_one_something_else(client):
    def drawn(seed):
        return complete(client, "Once upon a time", max_tokens=12, temperature=1.5, seed=seed).choices[0].text

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_without_a_seed_two_answers_differ(client):
    texts = {complete(client, "Once upon a time", max_tokens=12, temperature=1.5).choices[0].text for _ in range(3)}
    assert len(texts) > 1


def test_log_probabilities_name_the_likeliest_tokens(client):
    answer = chat(client, max_tokens=2, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 2
    assert [len(token.top_logprobs) for token in tokens] == [3, 3]
    assert tokens[0].token == tokens[0].top_logprobs[0].token  # temperature 0 takes the likeliest
    assert tokens[0].logprob <= 0


def test_a_completions_log_probabilities_have_their_own_shape(client):
    logprobs = complete(client, "1, 2, 3,", max_tokens=3, logprobs=2).choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == 3
    assert logprobs.text_offset[0] == 0
    assert logprobs.text_offset[1] == len(logprobs.tokens[0])


def test_an_answer_is_held_to_a_json_schema(client):
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    answer = chat(client, max_tokens=24, response_format=response_format)
    assert answer.choices[0].message.content.replace(" ", "").replace("\n", "").startswith('{"city":"')


def test_letters_of_several_tokens_come_whole(client):
    chunks = complete(client, "🙂🙃🙂🙃🙂🙃🙂", max_tokens=8, stream=True)
    text = "".join(chunk.choices[0].text for chunk in chunks)
    assert "\ufffd" not in text.rstrip("\ufffd")


def test_a_message_may_come_in_parts(client):
    parts = [{"type": "text", "text": "What is the capital "}, {"type": "text", "text": "of France?"}]
    whole = chat(client, max_tokens=6)
    assert chat(client, max_tokens=6, messages=[{"role": "user", "content": parts}]).choices == whole.choices


def test_the_developers_message_reaches_the_prompt(client):
    longer = chat(client, max_tokens=1, messages=[{"role": "developer", "content": "Be brief."}, *QUESTION])
    assert longer.usage.prompt_tokens > chat(client, max_tokens=1).usage.prompt_tokens


def test_parameters_of_openais_own_service_are_taken_without_effect(client):
    assert chat(client, max_tokens=1, user="u", store=False, metadata={"a": "b"}).choices


def test_null_is_the_same_as_leaving_it_out(client):
    extra = {"stop": None, "seed": None, "n": None, "logit_bias": None, "temperature": None}
    assert chat(client, max_tokens=1, extra_body=extra).choices


def test_a_prompt_that_leaves_no_room_is_too_long(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        chat(client, messages=[{"role": "user", "content": "word " * 600}])
    assert refusal.value.code == "context_length_exceeded"
    assert refusal.value.param == "messages"
    assert "maximum context length is 256 tokens" in refusal.value.message


def test_an_answer_that_cannot_fit_is_too_long(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        complete(client, "word", max_tokens=600)
    assert refusal.value.code == "context_length_exceeded"


def test_an_answer_may_fill_the_context_to_the_last_token(client, engine):
    tokens = complete(client, "1, 2, 3,", max_tokens=1).usage.prompt_tokens
    answer = complete(client, "1, 2, 3,", max_tokens=engine.n_ctx - tokens)
    assert answer.usage.total_tokens <= engine.n_ctx
