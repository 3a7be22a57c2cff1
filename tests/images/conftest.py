"""Libraries of images, with containers and without, in homes of their own."""

from collections.abc import AsyncIterator

import pytest
from workshop import Workshop, open_workshop

from localmodal.home import Home


@pytest.fixture(scope="session")
def homes(tmp_path_factory) -> dict[str, Home]:
    """One home per kind for the whole session: what one test has built, the next one reuses."""
    return {kind: Home(tmp_path_factory.mktemp(kind) / "local") for kind in ("container", "process")}


@pytest.fixture
async def containers(homes) -> AsyncIterator[Workshop]:
    async with open_workshop(homes["container"], "container") as workshop:
        yield workshop


@pytest.fixture
async def processes(homes) -> AsyncIterator[Workshop]:
    async with open_workshop(homes["process"], "process") as workshop:
        yield workshop


@pytest.fixture(params=["container", "process"])
async def workshop(homes, request) -> AsyncIterator[Workshop]:
    """Each test that takes this runs both ways: with containers and without."""
    async with open_workshop(homes[request.param], request.param) as workshop:
        yield workshop
