"""Files, open and deleted, written and locked."""

# ruff: noqa: SIM115  # files stay open on purpose: that is what is tested

import fcntl
import os
import tempfile
import threading
import time
from pathlib import Path

from features.blocks import MIB, libc, pattern
from features.registry import feature


@feature
def deleted_and_temporary_files():
    with tempfile.TemporaryFile() as unnamed, tempfile.NamedTemporaryFile() as named:
        unnamed.write(pattern(3 * MIB))
        unnamed.flush()
        named.write(b"named")
        named.flush()
        deleted = Path("/tmp/deleted").open("w+b")
        deleted.write(b"deleted")
        deleted.flush()
        Path("/tmp/deleted").unlink()
        yield
        for file, content in ((unnamed, pattern(3 * MIB)), (named, b"named"), (deleted, b"deleted")):
            file.seek(0)
            assert file.read() == content
        assert Path(named.name).read_bytes() == b"named"


@feature
def what_was_written_changed_and_removed():
    Path("/etc/made-here").write_text("made")
    Path("/etc/passwd").write_text("changed")
    Path("/etc/group").unlink()
    Path("/tmp/folder").mkdir()
    Path("/tmp/folder/link").symlink_to("/etc/made-here")
    yield
    assert Path("/tmp/folder/link").read_text() == "made"
    assert Path("/etc/passwd").read_text() == "changed"
    assert not Path("/etc/group").exists()
    Path("/etc/made-here").write_text("again")


@feature
def a_growing_log():
    log = Path("/tmp/log").open("a", buffering=1)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            log.write("line\n")

    writer = threading.Thread(target=write)
    writer.start()
    yield
    time.sleep(0.1)
    stop.set()
    writer.join()
    assert set(Path("/tmp/log").read_text().splitlines()) == {"line"}


@feature
def inotify():
    Path("/tmp/watched").mkdir()
    handle = libc.inotify_init()
    assert libc.inotify_add_watch(handle, b"/tmp/watched", 0x100) >= 0  # IN_CREATE
    yield
    Path("/tmp/watched/new").touch()
    assert b"new" in os.read(handle, 4096)


@feature
def file_locks():
    whole, part = Path("/tmp/whole").open("w"), Path("/tmp/part").open("w")
    fcntl.flock(whole, fcntl.LOCK_EX)
    fcntl.lockf(part, fcntl.LOCK_EX)
    yield
    child = os.fork()
    if not child:
        os._exit(not (refused(fcntl.flock, "/tmp/whole") and refused(fcntl.lockf, "/tmp/part")))
    assert os.waitpid(child, 0)[1] == 0


def refused(lock, path):
    try:
        lock(Path(path).open("w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
