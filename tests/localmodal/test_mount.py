"""Mounts: what is uploaded, and what it is named by."""

import hashlib

import pytest
from grpclib import GRPCError
from modal_proto import api_pb2


def file(path: str, content: bytes, mode: int = 0o644) -> api_pb2.MountFile:
    return api_pb2.MountFile(filename=path, sha256_hex=hashlib.sha256(content).hexdigest(), mode=mode)


async def put(call, content: bytes):
    return await call("MountPutFile", data=content, sha256_hex=hashlib.sha256(content).hexdigest())


async def test_only_what_is_missing_is_asked_for(call):
    await put(call, b"here")
    here, missing = (hashlib.sha256(content).hexdigest() for content in (b"here", b"not here"))
    answer = await call("MountBatchedCheckExistence", sha256_hex_hashes=[here, missing])
    assert list(answer.missing_sha256_hex_hashes) == [missing]


async def test_the_same_files_are_the_same_mount(call):
    await put(call, b"a")
    await put(call, b"b")
    first = await call("MountGetOrCreate", files=[file("/root/a.py", b"a"), file("/root/b.py", b"b")])
    again = await call("MountGetOrCreate", files=[file("/root/b.py", b"b"), file("/root/a.py", b"a")])
    moved = await call("MountGetOrCreate", files=[file("/root/c.py", b"a"), file("/root/b.py", b"b")])
    assert first.mount_id == again.mount_id
    assert first.mount_id != moved.mount_id


async def test_a_mount_of_a_file_that_was_not_uploaded_is_refused(call):
    with pytest.raises(GRPCError, match=r"not uploaded: root/lost\.py"):
        await call("MountGetOrCreate", files=[file("/root/lost.py", b"lost")])


async def test_content_of_another_digest_is_refused(call):
    with pytest.raises(GRPCError, match="it changed while it was read"):
        await call("MountPutFile", data=b"one", sha256_hex=hashlib.sha256(b"two").hexdigest())
    with pytest.raises(GRPCError, match="is no SHA-256"):
        await call("MountPutFile", data=b"one", sha256_hex="../../state.db")


async def test_a_path_that_leads_out_of_the_mount_is_refused(call):
    await put(call, b"a")
    with pytest.raises(GRPCError, match="no path below the mount's root"):
        await call("MountGetOrCreate", files=[file("/../etc/passwd", b"a")])


async def test_the_services_own_mounts_are_there_and_no_others(call):
    client = await call("MountGetOrCreate", deployment_name="modal-client-mount-1.6.4")
    python = await call("MountGetOrCreate", deployment_name="python-build-standalone.20240107.3.11.7-gnu")
    assert client.mount_id != python.mount_id
    with pytest.raises(GRPCError, match="Mount 'somebody-elses' not found"):
        await call("MountGetOrCreate", deployment_name="somebody-elses")
