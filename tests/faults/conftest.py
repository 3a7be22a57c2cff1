"""One deployed service that every fault here is done to. Whatever happens to it, the next update puts it right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faulty import Steady
from pulumi_project import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Daemon


@pytest.fixture(scope="session")
def deployed_once(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steady]:
    env = environment(daemon, tmp_path_factory.mktemp("pulumi"))
    steady = Steady(tmp_path_factory.mktemp("faults") / "project", env, "faults", daemon=daemon)
    steady.declare_service()
    steady.pulumi("stack", "init")
    steady.up()
    yield steady
    steady.pulumi("destroy", "--yes", "--skip-preview")


@pytest.fixture
def steady(deployed_once: Steady) -> Iterator[Steady]:
    """The service. A test leaves it deployed as it was declared last, proved and answering."""
    yield deployed_once
    assert deployed_once.output()["snapshot"] == "verified"
    assert deployed_once.ask()
