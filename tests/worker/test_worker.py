"""Tasks through the worker: cold, snapshotted, restored, and what happens when something of it fails.

The container's side is a program in the place of the client's entrypoint that keeps to its protocol, so that these
tests need no control plane; the whole with the real client is tested with the daemon.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from desk import Desk, write_program
from left_behind import left_behind
from modal_proto import api_pb2

from localmodal.home import Home
from localmodal.worker.container import Capabilities
from localmodal.worker.snapshot_key import snapshot_key
from localmodal.worker.worker import Worker


@pytest.fixture
def open_desk(home: Home) -> Callable:
    async def serve(listener):
        async def stop():
            listener.close()

        return stop

    async def open_it() -> Desk:
        worker = await Worker.open(home, 18181, serve)
        return Desk(worker, home, write_program(home))

    return open_it


@pytest.fixture
async def desk(needs_containers, capabilities: Capabilities, open_desk) -> AsyncIterator[Desk]:
    desk = await open_desk()
    yield desk
    await desk.worker.close()


async def test_a_task_that_wants_no_snapshot_starts_cold_and_is_told_to_take_none(desk):
    task = await desk.worker.start(desk.launch("ta-a", snapshots=False))
    assert await desk.until("ta-a", "started") == "started ta-a unix:///run/coldsnap/api.sock"
    await desk.until("ta-a", "takes no snapshot")
    assert (task.restored, task.snapshot, task.snapshotting) == (False, None, False)
    await task.kill()


async def test_a_function_is_asked_to_stop_by_sigint_and_may_tidy_up(desk):
    task = await desk.worker.start(desk.launch("ta-a", snapshots=False))
    await desk.until("ta-a", "takes no snapshot")
    assert (await task.stop(grace=10)).code == 5
    assert desk.said("ta-a")[-1] == "interrupted"


async def test_a_server_is_asked_to_stop_by_sigterm_and_killed_after_its_grace(desk):
    arguments = api_pb2.ContainerArguments(task_id="ta-a", function_def=api_pb2.Function(is_server=True))
    task = await desk.worker.start(desk.launch("ta-a", snapshots=False, arguments=arguments))
    await desk.until("ta-a", "takes no snapshot")
    assert (await task.stop(grace=0.2)).code == 128 + signal.SIGKILL  # the program has no handler for SIGTERM


async def test_the_first_start_is_snapshotted_and_the_next_ones_are_restored_as_themselves(needs_snapshots, desk):
    first = await desk.snapshotted("ta-a")
    assert (first.restored, first.snapshotting) == (False, True)
    copies = await asyncio.gather(*(desk.worker.start(desk.launch(f"ta-copy{number}")) for number in range(3)))
    for number, copy in enumerate(copies):
        said = await desk.until(f"ta-copy{number}", "goes on as")
        assert said == f"goes on as ta-copy{number} fu-1 unix:///run/coldsnap/api.sock"
        assert (copy.restored, copy.snapshotting) == (True, False)
        assert not any(line.startswith("started") for line in desk.said(f"ta-copy{number}"))
    assert len({copy.snapshot for copy in copies}) == 1
    await asyncio.gather(*(task.kill() for task in (first, *copies)))
    assert left_behind(desk.home) == {}


async def test_a_snapshot_serves_the_next_daemon_too(needs_snapshots, desk, open_desk):
    await desk.snapshotted("ta-a")
    await desk.worker.close()
    later = await open_desk()
    task = await later.worker.start(later.launch("ta-b"))
    await later.until("ta-b", "goes on as ta-b")
    assert task.restored
    await later.worker.close()


async def test_a_snapshot_that_cannot_be_restored_is_given_up_for_a_cold_start_that_takes_a_new_one(
    needs_snapshots, desk
):
    await desk.snapshotted("ta-a")
    folder = next(path for path in (desk.home.disk / "snapshots").iterdir() if path.is_dir())
    damaged = next(folder.rglob("pages-*.img"))
    damaged.chmod(0o600)
    with damaged.open("r+b") as pages:
        first = pages.read(1)
        pages.seek(0)
        pages.write(bytes([first[0] ^ 1]))
    second = await desk.snapshotted("ta-b")
    assert (second.restored, second.snapshotting) == (False, True)
    third = await desk.worker.start(desk.launch("ta-c"))
    assert third.restored


async def test_after_two_bad_snapshots_starts_stay_cold(needs_snapshots, desk):
    for number in range(2):
        await desk.snapshotted(f"ta-first{number}")
        copy = await desk.worker.start(desk.launch(f"ta-copy{number}"))
        desk.worker.mark_bad(copy.snapshot, "it ended before it asked for work")
    task = await desk.worker.start(desk.launch("ta-last"))
    assert (task.restored, task.snapshotting) == (False, False)
    await desk.until("ta-last", "takes no snapshot")


async def test_a_container_that_cannot_be_dumped_goes_on_without_a_snapshot(needs_snapshots, desk, caplog):
    async def fails(*_: object) -> None:
        raise RuntimeError("the disk is on fire")

    desk.worker.snapshots.library.add = fails
    await desk.snapshotted("ta-a")
    assert "ta-a: no memory snapshot" in caplog.text
    assert not (await desk.worker.start(desk.launch("ta-b"))).restored


async def test_two_cold_starts_at_once_take_one_snapshot_and_both_go_on(needs_snapshots, desk):
    await asyncio.gather(desk.snapshotted("ta-a"), desk.snapshotted("ta-b"))
    snapshots = [path for path in (desk.home.disk / "snapshots").iterdir() if path.is_dir()]
    assert len(snapshots) == 1


def _key(desk: Desk, **more) -> str:
    launch = replace(desk.launch("ta-key"), **more)
    (desk.home.run / "ta-key").rmdir()
    return snapshot_key(launch)


async def test_a_snapshot_depends_on_what_a_container_is_started_from_and_not_on_who_it_is(desk):
    same = _key(desk)
    other_task = api_pb2.ContainerArguments(task_id="ta-z", function_id="fu-1", checkpoint_id="ch-z")
    assert _key(desk, task_id="ta-z", arguments=other_task) == same
    rotated = {"PATH": "/usr/bin:/bin", "TOKEN": "another"}
    assert _key(desk, env=rotated) != same
    assert _key(desk, layers=(*desk.layers, Path("/another"))) != same
    parameters = api_pb2.ContainerArguments(function_id="fu-1", serialized_params=b"x")
    assert _key(desk, arguments=parameters) != same


async def test_scaling_numbers_are_no_part_of_a_snapshots_key(desk):
    def arguments(window: int) -> api_pb2.ContainerArguments:
        settings = api_pb2.AutoscalerSettings(scaledown_window=window)
        return api_pb2.ContainerArguments(function_def=api_pb2.Function(autoscaler_settings=settings))

    assert _key(desk, arguments=arguments(60)) == _key(desk, arguments=arguments(600))


async def test_limits_of_a_function_become_the_containers(desk):
    resources = api_pb2.Resources(milli_cpu=500, milli_cpu_max=1000, memory_mb=64, memory_mb_max=128)
    arguments = api_pb2.ContainerArguments(task_id="ta-a", function_def=api_pb2.Function(resources=resources))
    task = await desk.worker.start(desk.launch("ta-a", arguments=arguments, snapshots=False))
    launch = task.container.bundle.launch
    assert (launch.cpu, launch.cpu_limit, launch.memory_mib, launch.memory_limit_mib) == (0.5, 1.0, 64, 128)


async def test_secrets_are_in_no_restore_state(needs_snapshots, desk):
    await desk.snapshotted("ta-a")
    state = json.loads((desk.home.run / "ta-a/restore-state.json").read_text())
    assert "hush" not in str(state)
