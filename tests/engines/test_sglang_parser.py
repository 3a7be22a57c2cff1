"""Our command line against the real SGLang's own parser, in a Python that has the package: it needs no GPU for that.

COLDSNAP_SGLANG_PYTHON names such a Python; where there is none, this Python is asked. How to make one, 5 GB:

    python3.11 -m venv sglang && sglang/bin/pip install sglang==0.5.17
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from sglang_service import engine

from engines.child import ChildError
from spec.sglang import FLAGS, OURS, SWITCHES

PYTHON = os.environ.get("COLDSNAP_SGLANG_PYTHON", sys.executable)

PARSE = """
import argparse, json, sys
from sglang.srt.server_args import ServerArgs
from sglang.srt.server_args_config_parser import ConfigArgumentMerger
parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
known = sorted(option for action in parser._actions for option in action.option_strings)
deprecated = sorted(option for action in parser._actions if "Deprecated" in type(action).__name__
                    for option in action.option_strings)
argv = ConfigArgumentMerger(parser).merge_config_with_args(json.load(sys.stdin))  # as prepare_server_args does
print(json.dumps({"known": known, "deprecated": deprecated, "fields": vars(parser.parse_args(argv))}, default=str))
"""
"""The first half of `prepare_server_args`; the other half looks for a GPU, and does not go on without one."""

JUDGE = """
import json, sys
from pydantic import TypeAdapter
from sglang.srt.managers.io_struct import ReleaseMemoryOccupationReqInput, ResumeMemoryOccupationReqInput
from sglang.srt.utils.auth import AuthLevel, decide_request_auth

def opens(key, path, level):
    return decide_request_auth(method="POST", path=path, authorization_header=f"Bearer {key}", api_key="user",
                               admin_api_key="admin", auth_level=level).allowed

levels = {"/release_memory_occupation": AuthLevel.ADMIN_OPTIONAL, "/generate": AuthLevel.NORMAL}
calls = (ReleaseMemoryOccupationReqInput, ResumeMemoryOccupationReqInput)
bodies = [TypeAdapter(call).validate_python({}) for call in calls]
print(json.dumps({"opens": {key: [path for path, level in levels.items() if opens(key, path, level)]
                            for key in ("user", "admin")}, "tags": [body.tags for body in bodies]}))
"""
"""What the server makes of a key, and of the body of our two calls: by its own functions, without a server."""


@cache
def _has_sglang():
    found = subprocess.run([PYTHON, "-c", "import sglang, torch"], capture_output=True, check=False)
    return found.returncode == 0


pytestmark = pytest.mark.skipif(
    "not _has_sglang()", reason="no sglang here: test_in_the_image.py runs these where it is"
)


def parsed(of, *more):
    with of._keys_in_a_file() as keys:
        argv = [*of.arguments(8123, keys), *more]
        done = subprocess.run(
            [PYTHON, "-c", PARSE], input=json.dumps(argv), capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OPTIONS = {
    "context_length": 32768,
    "mem_fraction_static": 0.8,
    "cuda_graph_max_bs": 16,
    "tp": 2,
    "quantization": "fp8",
    "reasoning_parser": "qwen3",
    "tool_call_parser": "qwen3_coder",
    "arguments": ["--chunked-prefill-size", "4096", "--dtype=bfloat16"],
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return parsed(engine(tmp_path_factory.mktemp("model"), options=OPTIONS, scaling={"concurrency": 8}))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The engine of a service that sets no option, and what the server makes of it."""
    of = engine(tmp_path_factory.mktemp("model"))
    return of, parsed(of)["fields"]


def test_every_flag_of_ours_is_known_and_none_is_on_its_way_out(seen):
    ours = {*FLAGS.values(), *SWITCHES.values(), *OURS, "--skip-server-warmup"}
    assert ours <= set(seen["known"])
    assert not ours & set(seen["deprecated"])


def test_each_option_lands_in_its_field(seen):
    fields = seen["fields"]
    assert fields["context_length"] == 32768
    assert fields["mem_fraction_static"] == 0.8
    assert fields["cuda_graph_max_bs_decode"] == 16
    assert fields["tp_size"] == 2
    assert fields["quantization"] == "fp8"
    assert fields["reasoning_parser"] == "qwen3"
    assert fields["tool_call_parser"] == "qwen3_coder"
    assert (fields["chunked_prefill_size"], fields["dtype"]) == (4096, "bfloat16")


def test_memory_is_saved_and_weights_are_kept_and_shared_with_nobody(seen):
    fields = seen["fields"]
    assert (fields["enable_memory_saver"], fields["enable_weights_cpu_backup"]) == (True, True)
    assert fields["weight_cache_mode"] == "off"


def test_it_listens_to_its_own_container_alone_and_works_on_as_many_requests_as_that(seen):
    fields = seen["fields"]
    assert (fields["host"], fields["port"]) == ("127.0.0.1", 8123)
    assert fields["max_running_requests"] == 8
    assert fields["served_model_name"] == "chat"
    assert (fields["skip_server_warmup"], fields["enable_metrics"]) == (True, True)


def test_the_keys_of_the_file_are_the_servers_and_its_log_does_not_name_them(plain):
    of, fields = plain
    assert (fields["api_key"], fields["admin_api_key"]) == (of._key, of._admin_key)
    assert fields["log_level"] == "warning"  # its settings, keys included, are a line of the level info
    assert (fields["log_requests"], fields["tokenizer_worker_num"]) == (False, 1)


def test_what_is_left_out_is_as_the_server_has_it(plain):
    _, fields = plain
    left_out = ("context_length", "mem_fraction_static", "quantization", "reasoning_parser", "tool_call_parser")
    assert {fields[name] for name in left_out} == {None}
    assert fields["cuda_graph_max_bs_decode"] == 4  # as many requests as the container has at once


def test_an_empty_body_means_all_tags_and_each_key_opens_its_own_calls():
    done = subprocess.run([PYTHON, "-c", JUDGE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    judged = json.loads(done.stdout)
    assert judged["tags"] == [None, None]
    assert judged["opens"] == {"user": ["/generate"], "admin": ["/release_memory_occupation"]}


def test_the_compiler_ahead_is_told_what_its_server_understands(seen, tmp_path):
    arguments = engine(tmp_path, options=OPTIONS)._model_arguments()
    assert set(seen["known"]) >= {word.partition("=")[0] for word in arguments if word.startswith("--")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--load-format", "magic"], "argument --load-format: invalid choice: 'magic'"),
    ],
)
def test_an_argument_that_the_real_server_does_not_know_fails_the_load(arguments, words, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", PYTHON)
    (Path(tmp_path) / "config.json").write_text("{}")
    unknown = engine(tmp_path, options={"arguments": arguments})
    with pytest.raises(ChildError) as told:
        unknown.load()
    assert "exit code 2" in str(told.value)
    assert words in str(told.value)
