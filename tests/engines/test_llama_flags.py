"""What a service's options come to for builds of llama-server of different ages."""

import pytest

from engines.llama_flags import Flags, UnknownFlagError, for_options
from spec.llama_server import LlamaServerOptions

AUTUMN_2024 = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
--version                               show version and build info
-t,    --threads N                      number of threads to use during generation (default: -1)
                                        (env: LLAMA_ARG_THREADS)
-c,    --ctx-size N                     size of the prompt context (default: 0, 0 = loaded from model)
                                        (env: LLAMA_ARG_CTX_SIZE)
-b,    --batch-size N                   logical maximum batch size (default: 2048)
                                        (env: LLAMA_ARG_BATCH)
-ub,   --ubatch-size N                  physical maximum batch size (default: 512)
                                        (env: LLAMA_ARG_UBATCH)
-fa,   --flash-attn                     enable Flash Attention (default: disabled)
                                        (env: LLAMA_ARG_FLASH_ATTN)
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
                                        (env: LLAMA_ARG_N_PARALLEL)
--mlock                                 force system to keep model in RAM rather than swapping or compressing
                                        (env: LLAMA_ARG_MLOCK)
--no-mmap                               do not memory-map model (slower load but may reduce pageouts if not
                                        using mlock)
                                        (env: LLAMA_ARG_NO_MMAP)
--numa TYPE                             attempt optimizations that help on some NUMA systems
                                        - distribute: spread execution evenly over all nodes
                                        - isolate: only spawn threads on CPUs on the node that execution
                                        started on
-ngl,  --gpu-layers, --n-gpu-layers N   number of layers to store in VRAM
                                        (env: LLAMA_ARG_N_GPU_LAYERS)
-m,    --model FNAME                    model path (default: `models/$filename` with filename from `--hf-file`
                                        or `--model-url` if set, otherwise models/7B/ggml-model-f16.gguf)
                                        (env: LLAMA_ARG_MODEL)

----- example-specific params -----

-a,    --alias STRING                   set alias for model name (to be used by REST API)
                                        (env: LLAMA_ARG_ALIAS)
--host HOST                             ip address to listen (default: 127.0.0.1)
                                        (env: LLAMA_ARG_HOST)
--metrics                               enable prometheus compatible metrics endpoint (default: disabled)
                                        (env: LLAMA_ARG_ENDPOINT_METRICS)
--slots                                 enable slots monitoring endpoint (default: disabled)
                                        (env: LLAMA_ARG_ENDPOINT_SLOTS)
--slot-save-path PATH                   path to save slot kv cache (default: disabled)
"""
"""Part of what a build of that time says of itself."""

AUTUMN_2026 = """\
-fa,   --flash-attn [on|off|auto]       set Flash Attention use ('on', 'off', or 'auto', default: 'auto')
                                        (env: LLAMA_ARG_FLASH_ATTN)
-lm,   --load-mode MODE                 model loading mode (default: auto)
                                        - auto: mmap, unless a device does not support it
                                        - none: no special loading mode
-fit,  --fit [on|off]                   whether to adjust unset arguments to fit in device memory ('on' or 'off',
                                        default: 'on')
-cram, --cache-ram N                    set the maximum cache size in MiB (default: 8192, -1 - no limit, 0 -
                                        disable)
--offline                               Offline mode: forces use of cache, prevents network access
--jinja, --no-jinja                     whether to use jinja template engine for chat (default: enabled)
--ui, --webui, --no-ui, --no-webui      whether to enable the Web UI (default: enabled)
"""

OLD, NEW = Flags(AUTUMN_2024), Flags(AUTUMN_2026)


def words(flags, *, gpu_layers=0, mapped=True, **options):
    return " ".join(for_options(flags, LlamaServerOptions(**options), gpu_layers=gpu_layers, mapped=mapped))


def test_a_flag_is_known_by_each_of_its_names():
    assert {"-ngl", "--gpu-layers", "--n-gpu-layers", "-fa", "--flash-attn"} < set(OLD._takes_value)
    assert "--no-webui" in NEW


def test_what_only_a_description_names_is_no_flag():
    assert "--hf-file" not in OLD
    assert "-" not in OLD


def test_it_is_known_which_flags_take_a_value():
    assert OLD.takes_value("--n-gpu-layers")
    assert NEW.takes_value("--flash-attn")
    assert not OLD.takes_value("--flash-attn")
    assert not OLD.takes_value("--no-mmap")


def test_weights_are_not_mapped_in_the_words_of_the_build():
    assert "--no-mmap" in words(OLD, mapped=False)
    assert "--load-mode none" in words(NEW, mapped=False)


def test_weights_are_mapped_in_the_words_of_the_build():
    assert "mmap" not in words(OLD)
    assert "--load-mode mmap" in words(NEW)


def test_a_build_that_cannot_leave_weights_unmapped_is_refused():
    with pytest.raises(UnknownFlagError, match="neither --load-mode nor --no-mmap"):
        words(Flags("--model FNAME  the model"), mapped=False)


def test_flash_attention_is_a_switch_in_old_builds_and_a_word_in_new_ones():
    assert words(NEW, flash_attn="on").count("--flash-attn on") == 1
    assert "--flash-attn auto" in words(NEW)
    assert "--flash-attn --" in words(OLD, flash_attn="on")
    assert "--flash-attn" not in words(OLD, flash_attn="off") + words(OLD)


def test_what_an_old_build_does_not_know_it_is_not_told():
    told = words(OLD)
    assert not any(flag in told for flag in ("--fit", "--cache-ram", "--offline", "--jinja", "ui", "--kv-unified"))
    assert "--fit off" in words(NEW)
    assert "--no-ui" in words(NEW)


def test_each_slot_has_the_whole_context():
    assert "--ctx-size 8192 --parallel 4" in words(OLD, n_ctx=2048, slots=4)


def test_all_layers_are_more_than_any_model_has():
    assert "--n-gpu-layers 999" in words(OLD, gpu_layers=-1)
    assert "--n-gpu-layers 12" in words(OLD, gpu_layers=12)


def test_a_program_that_has_no_help_is_no_server(tmp_path):
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'libcuda.so.1: cannot open shared object file' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(UnknownFlagError, match=r"ended with 127 .* libcuda\.so\.1"):
        Flags.of(program)
