"""Which of several weights' files a server of llama.cpp is given, and how it is told of the one that reads images."""

import pytest
from serving import deployment

from engines.engine import WeightsError
from engines.llama_files import mmproj_in, model_in
from engines.llama_flags import Flags, UnknownFlagError
from engines.llama_server import LlamaServer


def folder(tmp_path, *names):
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def test_the_model_of_a_folder_is_the_gguf_that_reads_no_images(tmp_path):
    weights = folder(tmp_path, "gemma.gguf", "mmproj-F16.gguf", "README.md")
    assert model_in(weights, None, None).name == "gemma.gguf"
    assert mmproj_in(weights, None).name == "mmproj-F16.gguf"


def test_what_reads_images_may_have_any_name_if_it_is_said(tmp_path):
    weights = folder(tmp_path, "gemma.gguf", "eyes.gguf")
    assert model_in(weights, None, "eyes.gguf").name == "gemma.gguf"
    assert mmproj_in(weights, "eyes.gguf").name == "eyes.gguf"
    assert mmproj_in(weights, None) is None


def test_which_of_several_reads_images_is_for_the_service_to_say(tmp_path):
    weights = folder(tmp_path, "gemma.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf")
    assert mmproj_in(weights, "mmproj-F32.gguf").name == "mmproj-F32.gguf"
    with pytest.raises(WeightsError, match=r"options\.mmproj: not given, .* mmproj-F16\.gguf, mmproj-F32\.gguf"):
        mmproj_in(weights, None)
    with pytest.raises(WeightsError, match=r"options\.mmproj: mmproj-Q8\.gguf"):
        mmproj_in(weights, "mmproj-Q8.gguf")


def test_weights_of_one_file_read_no_images(tmp_path):
    weights = folder(tmp_path, "gemma.gguf") / "gemma.gguf"
    assert model_in(weights, None, None) == weights
    assert mmproj_in(weights, None) is None


def test_a_model_in_parts_is_its_first(tmp_path):
    weights = folder(tmp_path, "big-00001-of-00002.gguf", "big-00002-of-00002.gguf")
    assert model_in(weights, None, None).name == "big-00001-of-00002.gguf"


def test_which_of_several_models_is_for_the_service_to_say(tmp_path):
    weights = folder(tmp_path, "q4.gguf", "q8.gguf")
    assert model_in(weights, "q8.gguf", None).name == "q8.gguf"
    with pytest.raises(WeightsError, match=r"options\.model: not given, .* q4\.gguf, q8\.gguf"):
        model_in(weights, None, None)
    with pytest.raises(WeightsError, match=r"options\.model: q2\.gguf"):
        model_in(weights, "q2.gguf", None)


EYES = "--load-mode MODE\n--mmproj FILE\n--mmproj-offload, --no-mmproj-offload  on the GPU"
"""What a build says that can read images."""


def arguments(weights, help_text, **rest):
    server = LlamaServer(deployment(kind="llama_server", options={}, **rest).definition, weights)
    server._model, server._mmproj = weights / "gemma.gguf", weights / "mmproj-F16.gguf"
    return server._arguments(Flags(help_text), 1)


def test_what_reads_images_goes_where_the_model_goes(tmp_path):
    on_gpu, on_cpu = arguments(tmp_path, EYES, gpu="L40S"), arguments(tmp_path, EYES)
    assert on_gpu[on_gpu.index("--mmproj") + 1] == str(tmp_path / "mmproj-F16.gguf")
    assert on_gpu[on_gpu.index("--n-gpu-layers") + 1] == "999"
    assert on_gpu[on_gpu.index("--load-mode") + 1] == "none"
    assert "--no-mmproj-offload" not in on_gpu
    assert "--no-mmproj-offload" in on_cpu


def test_a_build_that_reads_no_images_is_not_given_what_reads_them(tmp_path):
    with pytest.raises(UnknownFlagError, match=r"leave mmproj-F16\.gguf out of weights\.files"):
        arguments(tmp_path, "--load-mode MODE")
