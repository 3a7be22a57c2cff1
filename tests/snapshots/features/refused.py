"""What a snapshot cannot carry over: the original goes on with it."""

# ruff: noqa: SIM115  # files stay open on purpose: that is what is tested

import socket
import sys
from pathlib import Path


def connected(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def renamed_away():
    Path("/tmp/one").write_text("content")
    Path("/tmp/two").hardlink_to("/tmp/one")
    file = Path("/tmp/one").open()
    Path("/tmp/one").unlink()
    return file


REFUSED = {
    "a connection over TCP to the outside": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))),
    "a connection over a unix socket to the outside": lambda: connected("/run/coldsnap/api"),
    "a file whose name is gone but not its other name": renamed_away,
}


def refused_feature(name):
    """What a snapshot cannot carry over; the original goes on with it."""
    held = REFUSED[name]()
    yield
    assert held.fileno() > 2
