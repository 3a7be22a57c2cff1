"""Every stack of this repository previews on any machine: without a token, without a network."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from pulumi_project import SOURCE, Project, environment

STACKS = sorted(path.name.split(".", 1)[1].removesuffix(".yaml") for path in (SOURCE / "stacks").glob("Pulumi.*.yaml"))
STACKS.remove("local-images")  # its weights are made in its own image; it is put up whole by the engine's tests
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Runs a command where there is no network but the loopback."""


@pytest.fixture
def alone() -> tuple[str, ...]:
    tried = subprocess.run([*ALONE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a network of its own cannot be made here: {tried.stderr.strip()}")
    return ALONE


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_previews_without_a_token_or_a_network(tmp_path: Path, daemon, alone, stack: str) -> None:
    (tmp_path / "state").mkdir()
    tokens = {name: value for name, value in environment(daemon, tmp_path / "state").items() if "MODAL" not in name}
    project = Project(tmp_path / "project", tokens | {"MODAL_CONFIG_PATH": os.devnull}, "preview", alone)
    text = (SOURCE / f"stacks/Pulumi.{stack}.yaml").read_text()
    (project.folder / "stacks/Pulumi.preview.yaml").write_text(text.partition("encryptionsalt")[0])
    project.pulumi("stack", "init")
    said = project.pulumi("preview", "--diff")
    for service in yaml.safe_load(text)["config"]["coldsnap:services"]:
        for kind in ("CudaRuntimeImage", "GpuDeployment", "SnapshotWarmup"):
            assert f"{kind}::{service['name']}" in said
    assert "Traceback" not in said
