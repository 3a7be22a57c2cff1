"""Blobs: addresses to upload to and download from, and who may use them."""

import base64
import hashlib

import aiohttp
import pytest
from grpclib import GRPCError

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
