"""The disk under a daemon's home is full: its database takes no change, says so, and goes on once there is room."""

import io
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import modal
import pytest
from modal_proto import api_pb2
from real_daemon import Daemon, make_home

ROOM = 512 << 20
FULL = r"Nothing was changed: the disk that holds .*/local is full\. Make room there, then try again\."


@pytest.fixture
def cramped(tmp_path) -> Iterator[Daemon]:
    """A daemon whose home is a file system of its own."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "coldsnap-test", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"file systems cannot be mounted here: {mounted.stderr.decode()}")
    daemon = Daemon(make_home(tmp_path))
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.verb("destroy")
        subprocess.run(["umount", tmp_path], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not a byte is left on the disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        free = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    try:
        yield
    finally:
        ballast.unlink()


@pytest.fixture
def owner(cramped) -> Iterator[modal.Client]:
    credentials = cramped.env["MODAL_TOKEN_ID"], cramped.env["MODAL_TOKEN_SECRET"]
    with modal.Client(cramped.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


def test_changes_fail_as_a_whole_with_one_message_until_there_is_room(cramped, owner):
    entries = modal.Dict.from_name("entries", create_if_missing=True, client=owner)
    queue = modal.Queue.from_name("items", create_if_missing=True, client=owner)
    entries["before"] = "kept"
    assert queue.len() == 0
    large = {number: os.urandom(100_000) for number in range(10)}
    with filled(cramped.home):
        with pytest.raises(modal.exception.ResourceExhaustedError, match=FULL):
            entries.update(large)
        with pytest.raises(modal.exception.ConflictError, match=FULL):
            queue.put(os.urandom(1_000_000))
        with pytest.raises(modal.exception.ResourceExhaustedError, match=FULL):
            modal.Secret.objects.create("secret", {"key": "x" * 1_000_000}, client=owner)
        with pytest.raises(modal.exception.ResourceExhaustedError, match=FULL):
            modal.App("app").deploy(client=owner)
        assert dict(entries.items()) == {"before": "kept"}
    assert queue.len() == 0
    entries.update(large)
    assert entries.len() == 11
    cramped.kill()
    cramped.start()
    assert "Traceback" not in cramped.log


def test_a_call_is_refused_or_answered_but_never_lost(cramped, owner, image):
    app = modal.App("full", image=image)

    volume = modal.Volume.from_name("gate", create_if_missing=True, client=owner)
    gate = cramped.home / "gate"

    @app.function(serialized=True, max_containers=1, volumes={str(gate): volume})
    @modal.concurrent(max_inputs=2)
    def work(size: int) -> bytes:
        while (gate / "closed").exists():
            time.sleep(0.05)
        return b"x" * size

    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b""), "closed")
    app.deploy(client=owner)
    running = work.spawn(8_000)
    while not cramped.status["containers"]:
        time.sleep(0.05)
    with filled(cramped.home):
        with pytest.raises(modal.exception.ResourceExhaustedError, match=FULL):
            work.remote(b"x" * 1_000_000)
        volume.remove_file("closed")
        with pytest.raises(TimeoutError):
            running.get(timeout=3)
    assert running.get(timeout=30) == b"x" * 8_000


def test_a_daemon_that_finds_no_room_to_start_says_so(cramped):
    cramped.verb("stop")
    with filled(cramped.home):
        started = cramped.verb("start")
    assert started.returncode == 1
    assert re.fullmatch(rf"The local control plane did not start\. {FULL}\n", started.stderr)
    cramped.start()
