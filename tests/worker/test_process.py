"""Plain processes, also for a user who may do nothing else."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from left_behind import left_behind

from localmodal.worker.container import Bind, ContainerError

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]


async def test_a_bind_is_refused_by_the_name_of_its_place(process, tmp_path):
    with pytest.raises(ContainerError, match="/data cannot be mounted"):
        await process.start("/bin/true", binds=(Bind(tmp_path, "/data"),))


async def test_nothing_of_a_program_is_left_after_its_end(process):
    await process.shell("echo x > file; mkdir -p deep/folder")
    assert list((process.home.root / "processes").iterdir()) == []


async def test_processes_end_when_their_daemon_is_killed(home):
    daemon = await _daemon(home)
    daemon.kill()
    await daemon.wait()
    await _until_none_is_left(home)


async def test_processes_whose_supervisor_was_killed_too_are_ended_by_the_next_daemon(process, home):
    daemon = await _daemon(home)
    supervisors = subprocess.run(
        ["pgrep", "-P", str(daemon.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    daemon.send_signal(signal.SIGSTOP)
    for pid in supervisors:
        os.kill(int(pid), signal.SIGKILL)
    daemon.kill()
    await daemon.wait()
    assert _sleepers(home), "they were orphaned"
    await process.runtime.sweep()
    await _until_none_is_left(home)


async def test_a_program_that_is_started_while_it_is_killed_leaves_nothing(process):
    """The supervisor must not lose a child that is being forked."""
    container = await process.start("/bin/sh", "-c", "while :; do sleep 65432 & done")
    await asyncio.sleep(0.2)
    await container.kill()
    assert not subprocess.run(["pgrep", "-f", "sleep 65432"], capture_output=True, check=False).stdout


_DROP_ALL = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
UNPRIVILEGED = {
    "root without any capability": _DROP_ALL,
    "another user in a user namespace": (*_DROP_ALL, "unshare", "--user", "--"),
}
"""Ways to be somebody who may do nothing, but still read this project if it lies in root's home."""


@pytest.mark.skipif(os.geteuid() != 0, reason="somebody without rights runs every test like this anyway")
@pytest.mark.parametrize("way", UNPRIVILEGED)
def test_all_of_it_works_without_rights(way, tmp_path):
    """Runs the promises of every runtime again, as somebody without rights: those of `runc` are then skipped."""
    if subprocess.run([*UNPRIVILEGED[way], "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"this machine does not let one be {way}")
    run = subprocess.run(
        [*UNPRIVILEGED[way], sys.executable, "-m", "pytest", "-rs", f"--basetemp={tmp_path / 'tests'}",
         "tests/worker/test_runtimes.py"],
        cwd=PROJECT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLDSNAP_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "this machine runs no containers" in run.stdout
    assert "17 passed, 17 skipped" in run.stdout, run.stdout


async def _daemon(home):
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "daemon.py"), "process", str(home.root),
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    for _ in range(3):
        await daemon.stdout.readline()
    return daemon


def _sleepers(home) -> list[int]:
    mark = f"COLDSNAP_WORKER={home.root}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(path.name)] if mark in (path / "environ").read_bytes().split(b"\0") else []
        except OSError:
            continue
    return found


async def _until_none_is_left(home) -> None:
    async with asyncio.timeout(10):
        while _sleepers(home):
            await asyncio.sleep(0.02)
    assert "processes" not in left_behind(home)
