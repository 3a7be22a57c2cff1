"""How tests ask the app of `web_site.py`, and wait for what it hears of them."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

BOTH = pytest.mark.parametrize("label", ["site-asgi", "site-web-server", "site-server"])
"""Through a function's calls, through a call and a proxy in the container, and straight through."""
PLAIN = pytest.mark.parametrize("label", ["site-web-server", "site-server"])


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Waits for something to come true."""
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.05)


async def was_seen(client: httpx.AsyncClient, what: str) -> bool:
    """Whether the app has noted that."""
    return what in (await client.get("/seen")).json()


async def connection(daemon) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the front, to write to it what no client would."""
    return await asyncio.open_connection("127.0.0.1", httpx.URL(daemon.env["COLDSNAP_HTTP_URL"]).port)
