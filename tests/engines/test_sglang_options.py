"""What a stack file may say of the engine `sglang`, and what its environment keeps away from a snapshot."""

import pytest
from pydantic import ValidationError

from spec.sglang import FLAGS, OURS, SWITCHES, SglangEngine, SglangOptions


@pytest.mark.parametrize("flag", [*FLAGS.values(), *SWITCHES.values()])
def test_an_argument_that_is_an_option_is_refused_and_the_option_named(flag):
    option = next(name for name, known in (FLAGS | SWITCHES).items() if known == flag)
    with pytest.raises(ValidationError, match=f"is the option {option}"):
        SglangOptions(arguments=(flag, "1"))


@pytest.mark.parametrize("flag", OURS)
def test_an_argument_that_the_engine_sets_itself_is_refused(flag):
    with pytest.raises(ValidationError, match="is set by the engine itself"):
        SglangOptions(arguments=(flag, "1"))


@pytest.mark.parametrize("argument", ["--admin-api", "--api-key=mine", "--hos", "--model", "--disable-x --port"])
def test_a_flag_is_known_by_its_beginning_and_before_an_equals_sign_as_the_server_knows_it(argument):
    with pytest.raises(ValidationError, match="is set by the engine itself"):
        SglangOptions(arguments=tuple(argument.split()))


def test_other_arguments_are_the_servers_to_judge():
    arguments = ("--chunked-prefill-size", "4096", "--dtype=bfloat16", "--log-requests-level", "0")
    assert SglangOptions(arguments=arguments).arguments == arguments


@pytest.mark.parametrize(
    "options", [{"context_length": 4}, {"mem_fraction_static": 1}, {"cuda_graph_max_bs": 0}, {"tp": 0}, {"n_ctx": 1}]
)
def test_what_cannot_work_is_refused_before_a_deploy(options):
    with pytest.raises(ValidationError):
        SglangOptions.model_validate(options)


def test_gpu_memory_is_given_back_and_weights_are_kept_unless_the_options_say_otherwise():
    engine = SglangEngine()
    assert (engine.gives_gpu_memory_back, engine.keeps_released_weights) == (True, True)
    without_backup = SglangEngine(options=SglangOptions(enable_weights_cpu_backup=False))
    assert (without_backup.gives_gpu_memory_back, without_backup.keeps_released_weights) == (True, False)
    without_saver = SglangEngine(options=SglangOptions(enable_memory_saver=False, enable_weights_cpu_backup=False))
    assert (without_saver.gives_gpu_memory_back, without_saver.keeps_released_weights) == (False, True)


@pytest.mark.parametrize(("quantization", "fp8"), [(None, False), ("awq", False), ("fp8", True), ("w8a8_fp8", True)])
def test_the_options_say_whether_they_ask_for_fp8(quantization, fp8):
    assert SglangEngine(options=SglangOptions(quantization=quantization)).fp8 is fp8


def test_the_environment_has_nothing_that_a_snapshot_cannot_hold():
    environment = SglangEngine.ENVIRONMENT
    off = ("NCCL_CUMEM_ENABLE", "NCCL_CUMEM_HOST_ENABLE", "SGLANG_USE_CUDA_IPC_TRANSPORT", "UV_USE_IO_URING")
    assert {environment[name] for name in off} == {"0"}
    assert environment["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
    assert environment["SGLANG_HOST_IP"] == "127.0.0.1"
    assert "SGLANG_MEMORY_SAVER_CUDA_GRAPH" not in environment
    assert "expandable_segments" not in str(environment)
