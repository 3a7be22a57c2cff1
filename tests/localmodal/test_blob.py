"""Blobs: addresses to upload to and download from, and who may use them."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from full_disk import nearly_full
from grpclib import GRPCError

from localmodal.objects.contents import Contents

CONTENT = b"payload" * 1_000_000


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def create(call, content: bytes):
    return await call(
        "BlobCreate",
        content_md5=base64.b64encode(hashlib.md5(content).digest()).decode(),
        content_sha256_base64=base64.b64encode(hashlib.sha256(content).digest()).decode(),
        content_length=len(content),
    )


async def test_a_blob_comes_back_as_it_was_put(call, http):
    blob = await create(call, CONTENT)
    async with http.put(blob.upload_urls.items[0], data=CONTENT) as answer:
        assert answer.status == 200
        assert answer.headers["ETag"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'
    url = (await call("BlobGet", blob_id=blob.blob_id)).download_url
    async with http.get(url) as answer:
        assert await answer.read() == CONTENT


async def test_a_blob_that_was_not_uploaded_is_not_found(call):
    blob = await create(call, b"never sent")
    with pytest.raises(GRPCError, match=r"the upload of its \d+ bytes did not end"):
        await call("BlobGet", blob_id=blob.blob_id)
    with pytest.raises(GRPCError, match="'bl-none' not found"):
        await call("BlobGet", blob_id="bl-none")


async def test_other_content_than_announced_is_refused_and_not_kept(call, http, daemon):
    blob = await create(call, b"announced")
    async with http.put(blob.upload_urls.items[0], data=b"something else") as answer:
        assert answer.status == 400
        assert "it changed while it was read" in await answer.text()
    assert list((daemon.paths.blobs / "incoming").iterdir()) == []


async def test_an_address_is_good_for_what_it_was_given_out_for_alone(call, http):
    mine, other = await create(call, b"mine"), await create(call, b"other")
    url = mine.upload_urls.items[0]
    unsigned, forged = url.partition("?")[0], url[:-4] + "0000"
    for address in (unsigned, forged, url.replace(mine.blob_id, other.blob_id)):
        async with http.put(address, data=b"mine") as answer:
            assert answer.status == 403
    async with http.get(url) as answer:
        assert answer.status == 403


async def test_an_interrupted_upload_leaves_nothing_behind(call, http):
    content = CONTENT + b"another"
    blob = await create(call, content)

    async def half():
        yield content[: len(content) // 2]
        raise ConnectionError

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await http.put(blob.upload_urls.items[0], data=half(), headers={"Content-Length": str(len(content))})
    with pytest.raises(GRPCError, match=r"the upload of its \d+ bytes did not end"):
        await call("BlobGet", blob_id=blob.blob_id)


async def test_of_an_upload_that_breaks_off_nothing_is_kept(call, http, daemon):
    content = b"broken off" * 500_000
    blob = await create(call, content)

    async def half() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]
        raise ConnectionAbortedError

    before = daemon.log
    with pytest.raises((aiohttp.ClientError, ConnectionAbortedError)):
        await http.put(blob.upload_urls.items[0], data=half())
    async with asyncio.timeout(30):
        while any((daemon.paths.blobs / "incoming").iterdir()):
            await asyncio.sleep(0.05)
    assert daemon.log == before
    with pytest.raises(GRPCError, match="did not end"):
        await call("BlobGet", blob_id=blob.blob_id)


def test_a_full_disk_takes_all_of_a_content_or_nothing(tmp_path):
    contents, data = Contents(tmp_path), b"x" * 2048
    sha256 = hashlib.sha256(data).hexdigest()
    with nearly_full(), pytest.raises(OSError, match="No space left"):
        contents.put(data, sha256)
    assert not contents.has(sha256)
    assert not any((tmp_path / "incoming").iterdir())
