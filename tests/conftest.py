"""A real daemon in a home of its own, for every test that talks to the local control plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from real_daemon import Daemon, make_home

from localmodal.worker.plain import landlock


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon; what it made is removed at the end, and nothing may be left."""
    daemon = Daemon(make_home(tmp_path_factory.mktemp("coldsnap")))
    daemon.start()
    yield daemon
    destroyed = daemon.verb("destroy")
    assert destroyed.returncode == 0, destroyed.stderr
    assert not daemon.paths.root.exists()


@pytest.fixture
def empty_home(tmp_path: Path) -> Iterator[Daemon]:
    """A home in which no daemon was ever started; one that the test starts is ended."""
    daemon = Daemon(make_home(tmp_path))
    yield daemon
    daemon.verb("destroy")


@pytest.fixture
def needs_landlock() -> None:
    """Builds without containers are kept from this machine's own files by it."""
    if landlock.supported_version() < 2:
        pytest.skip("this kernel has no Landlock that knows of moves between folders (Linux 5.19)")
