"""A Pulumi project of its own, run by the real CLI against a real daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pulumi_project import CHAT, Project, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Daemon


@pytest.fixture(scope="session")
def pulumi_env(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of every pulumi command here: a file backend, and the daemon's home."""
    return environment(daemon, tmp_path_factory.mktemp("pulumi"))


@pytest.fixture
def project(pulumi_env: dict[str, str], tmp_path: Path) -> Iterator[Project]:
    """A project with a stack of its own; what the test leaves deployed is destroyed."""
    project = Project(tmp_path / "project", pulumi_env, stack=tmp_path.name[:40].strip("_-").replace("_", "-"))
    project.declare(CHAT)
    project.pulumi("stack", "init")
    yield project
    project.pulumi("destroy", "--yes", "--skip-preview")
    project.pulumi("stack", "rm", "--yes")


@pytest.fixture(scope="module")
def deployed(pulumi_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The service `chat`, deployed and proved once for all the tests of a module, which leave it as it was."""
    project = Project(tmp_path_factory.mktemp("deployed") / "project", pulumi_env)
    project.declare(CHAT)
    project.pulumi("stack", "init")
    project.up()
    yield project
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert "chat-boots" not in [entry["name"] for entry in json.loads(project.client("dict", "list", "--json"))]
