"""Tests that need torch in their own process run in an image that has it anyway: it is 6 GB."""

import subprocess
import sys

import pytest
from stage import ROOT


@pytest.mark.parametrize(
    ("image", "names"),
    [("diffusers", ("diffusers", "images_api", "caches")), ("sglang", ("sglang_parser",))],
    ids=["diffusers", "sglang"],
)
def test_an_engines_own_tests_pass_where_its_packages_are(room, stage, image, names):
    files = [f"tests/engines/test_{name}.py" for name in names]
    command = [sys.executable, "-m", "tests.engines.in_the_image", image, *files]
    done = subprocess.run(command, cwd=ROOT, env=stage.env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no {'torch' if image == 'diffusers' else image} here" not in done.stdout
