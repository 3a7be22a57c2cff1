"""What tests of operations share: the real client, and a server out on a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import modal
import pytest
from modal_proto import api_pb2
from world import World, open_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_daemon import Daemon


@pytest.fixture
def world() -> Iterator[World]:
    with open_world() as world:
        yield world


@pytest.fixture(scope="session")
def client(daemon: Daemon) -> Iterator[modal.Client]:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    with modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client
