"""What a daemon that is killed in the middle of a build leaves: nothing outside its home, and nothing for the next."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from real_daemon import NOBODY, needs_nobody

LAST_COMMAND = f"sleep 7{os.getpid()}"
BUILD = """
import modal, sys
app = modal.App.lookup("images", create_if_missing=True)
modal.Image.from_registry(f"python:{sys.version_info.major}.{sys.version_info.minor}-slim").add_local_file(
    sys.argv[1], "/usr/local/share/a.txt", copy=True
).run_commands("mktemp && " + sys.argv[2]).build(app)
"""


@contextlib.contextmanager
def building(daemon, folder):
    """An image whose build does not end, asked for by the real client, and in the middle of its last command."""
    (folder / "a.txt").write_text("a")
    client = subprocess.Popen(
        [sys.executable, "-c", BUILD, folder / "a.txt", LAST_COMMAND],
        env={**os.environ, **daemon.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        while not in_its_last_command():
            assert client.poll() is None, client.stdout.read()
            time.sleep(0.05)
        yield
    finally:
        client.kill()
        client.wait()


def in_its_last_command():
    return subprocess.run(["pgrep", "-xf", LAST_COMMAND], capture_output=True, check=False).stdout


@pytest.mark.parametrize("somebody", [(), NOBODY], ids=["in a container", "as a plain process"])
def test_nothing_is_left_of_a_build_whose_daemon_was_killed(empty_home, tmp_path, somebody):
    if somebody:
        needs_nobody()
    machines = tmp_path / "machines"
    machines.mkdir()
    empty_home.somebody = somebody
    empty_home.start(TMPDIR=str(machines))
    with building(empty_home, tmp_path):
        assert list(empty_home.paths.temporary.iterdir())
        empty_home.kill()
    empty_home.start(TMPDIR=str(machines))
    assert not in_its_last_command()
    assert list(empty_home.paths.temporary.iterdir()) == list(empty_home.paths.run.iterdir()) == []
    assert list(machines.iterdir()) == []
