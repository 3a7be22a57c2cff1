"""DeepGEMM's kernels, compiled ahead: the compiler is a stand-in's command, the GPU a driver's tool that says so."""

import json
import os
from pathlib import Path

import pytest
from sglang_service import engine

from engines import deep_gemm
from engines.deep_gemm import compile_ahead, is_asked_for

STAND_IN = Path(__file__).parent / "sglang_stand_in"
IN_BLOCKS = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
ARGUMENTS = ("--tp-size", "1")


@pytest.fixture
def capability(tmp_path, monkeypatch):
    """Puts a driver's tool on the PATH that tells this compute capability."""

    def put(said):
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\necho {said}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")

    return put


@pytest.fixture
def weights(tmp_path):
    def write(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return write


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "deep_gemm"
    folder.mkdir()
    monkeypatch.setenv(deep_gemm.CACHE, str(folder))
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("STAND_IN_COMPILED", str(tmp_path / "compiled"))
    return folder


def compiled(cache):
    return (cache.parent / "compiled").read_text().count("once")


@pytest.mark.parametrize(
    ("said", "config", "asked"),
    [
        ("9.0", IN_BLOCKS, True),
        ("10.3", IN_BLOCKS, True),
        ("8.9", IN_BLOCKS, False),
        ("12.0", IN_BLOCKS, False),
        ("9.0", {}, False),
        ("9.0", {"quantization_config": {"quant_method": "awq"}}, False),
        ("9.0", {"quantization_config": {"quant_method": "fp8"}}, False),
    ],
    ids=["H100", "B300", "L40S", "RTX-PRO-6000", "bf16", "awq", "fp8 by tensor"],
)
def test_it_is_for_weights_in_fp8_blocks_on_a_gpu_that_has_the_kernels(said, config, asked, capability, weights, cache):
    capability(said)
    assert is_asked_for(weights(config)) is asked


def test_it_is_not_for_a_service_that_keeps_no_caches(capability, weights, monkeypatch):
    monkeypatch.delenv(deep_gemm.CACHE, raising=False)
    capability("9.0")
    assert not is_asked_for(weights(IN_BLOCKS))


def test_it_is_not_for_a_machine_without_a_driver(weights, cache, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert not is_asked_for(weights(IN_BLOCKS))


def test_it_is_done_once_for_a_model_and_arguments_wherever_the_model_is(cache, weights, tmp_path):
    here = weights(IN_BLOCKS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "config.json").write_text(json.dumps(IN_BLOCKS))
    compile_ahead(here, ARGUMENTS, os.environ)
    compile_ahead(elsewhere, ARGUMENTS, os.environ)
    assert compiled(cache) == 1


@pytest.mark.parametrize(
    ("config", "arguments"),
    [(IN_BLOCKS, (*ARGUMENTS, "--quantization", "fp8")), (IN_BLOCKS | {"hidden_size": 64}, ARGUMENTS)],
    ids=["arguments", "model"],
)
def test_it_is_done_again_for_another(config, arguments, cache, weights):
    compile_ahead(weights(IN_BLOCKS), ARGUMENTS, os.environ)
    compile_ahead(weights(config), arguments, os.environ)
    assert compiled(cache) == 2


def test_a_failure_is_told_and_tried_again_by_the_next_start(cache, weights, monkeypatch, caplog):
    model = weights(IN_BLOCKS)
    monkeypatch.setenv("STAND_IN_COMPILE_FAILS", "3")
    compile_ahead(model, ARGUMENTS, os.environ)
    assert "compiled when they are needed. compile_deep_gemm ended with exit code 3" in caplog.text
    monkeypatch.setenv("STAND_IN_COMPILE_FAILS", "0")
    compile_ahead(model, ARGUMENTS, os.environ)
    assert compiled(cache) == 2


def test_the_compiler_is_told_what_the_server_is_told_of_the_model(capability, weights, cache, tmp_path, monkeypatch):
    capability("9.0")
    monkeypatch.setenv("STAND_IN_JOURNAL", str(tmp_path / "journal"))
    loaded = engine(weights(IN_BLOCKS), options={"context_length": 4096, "reasoning_parser": "qwen3"})
    loaded.load()
    loaded.stop()
    assert compiled(cache) == 1
    assert len(list(cache.glob("compiled-*"))) == 1
