"""A control plane that records, and the four stacks as `pulumi up` sends them to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import modal
import pytest
from modal_proto import api_pb2
from promises import STACKS, service_of, stack_file
from pulumi_project import environment
from real_daemon import make_home
from recorder import TOKEN, Recorder, Sent, all_at_once, project_of, put_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """A running control plane that records."""
    daemon = Recorder(make_home(tmp_path_factory.mktemp("recorder")))
    daemon.start()
    yield daemon
    assert daemon.verb("destroy").returncode == 0
    assert not daemon.paths.root.exists()


@pytest.fixture(scope="session")
def client(recorder: Recorder) -> Iterator[modal.Client]:
    credentials = recorder.env["MODAL_TOKEN_ID"], recorder.env["MODAL_TOKEN_SECRET"]
    with modal.Client(recorder.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Pulumi keeps its state."""
    return tmp_path_factory.mktemp("pulumi")


@pytest.fixture(scope="session")
def pulumi_env(recorder: Recorder, state: Path) -> dict[str, str]:
    """The environment of every pulumi command here: the recorder is Modal, as far as the client can tell."""
    return {**environment(recorder, state), "MODAL_CONFIG_PATH": os.devnull}


@pytest.fixture(scope="session")
def sent(
    recorder: Recorder,
    client: modal.Client,
    state: Path,
    pulumi_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Sent:
    """Every stack as it stands, by the real CLI and the real client."""
    modal.Secret.objects.create("huggingface", {"HF_TOKEN": TOKEN}, client=client)
    projects = {
        stack: project_of(stack, stack_file(stack), tmp_path_factory.mktemp("project"), pulumi_env) for stack in STACKS
    }
    first = all_at_once(projects, "up", "--yes", "--skip-preview")
    for stack in STACKS:
        put_weights(recorder, client, service_of(stack_file(stack))["name"])
    second = all_at_once(projects, "up", "--yes", "--skip-preview")
    return Sent(projects, first, second, state, recorder.arrivals)
