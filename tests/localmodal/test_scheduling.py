"""When containers are started and ended, and what becomes of what they worked on."""

import asyncio
import time

import modal
import pytest
from modal_proto import api_pb2

from localmodal.tasks.starts import Starts


class Containers:
    """The containers of one app."""

    def __init__(self, call, app_id: str) -> None:
        self._call = call
        self._app_id = app_id

    async def ids(self) -> set[str]:
        tasks = (await self._call("TaskList", app_id=self._app_id)).tasks
        return {task.task_id for task in tasks if task.started_at}

    async def become(self, count: int) -> set[str]:
        """Waits until there are so many."""
        deadline = time.monotonic() + 60
        while len(ids := await self.ids()) != count:
            assert time.monotonic() < deadline, f"{len(ids)} containers, not {count}"
            await asyncio.sleep(0.1)
        return ids


def who(app, **options):
    """A function that says which container runs it."""

    @app.function(serialized=True, name="who", **options)
    def who(seconds: float = 0.0) -> str:
        import os
        import time

        time.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]

    return who


async def run(function, count: int):
    """Waits until containers work on so many inputs; returns the statistics."""
    while (stats := await function.get_current_stats.aio()).num_running_inputs != count:
        await asyncio.sleep(0.05)
    return stats


async def test_a_container_is_used_again(app, deploy):
    function = who(app)
    deploy(app)
    assert len({await function.remote.aio() for _ in range(5)}) == 1


async def test_min_containers_run_before_anybody_calls(app, deploy, call):
    function = who(app, min_containers=2)
    deploy(app)
    ids = await Containers(call, app.app_id).become(2)
    assert await function.remote.aio() in ids


async def test_max_containers_are_not_exceeded(app, deploy, call):
    function = who(app, max_containers=2)
    deploy(app)
    calls = [await function.spawn.aio(0.5) for _ in range(6)]
    assert len({await one.get.aio(timeout=60) for one in calls}) == 2


async def test_a_buffer_container_waits_beside_the_busy_one(app, deploy, call):
    function = who(app, buffer_containers=1)
    deploy(app)
    busy = await function.spawn.aio(60)
    await Containers(call, app.app_id).become(2)
    await busy.cancel.aio()


async def test_an_idle_container_ends_after_its_scaledown_window(app, deploy, call):
    function = who(app, scaledown_window=2)
    deploy(app)
    await function.remote.aio()
    containers = Containers(call, app.app_id)
    await containers.become(1)
    await containers.become(0)


async def test_concurrent_inputs_share_a_container(app, deploy):
    @app.function(serialized=True)
    @modal.concurrent(max_inputs=4)
    async def together(seconds: float) -> str:
        import asyncio
        import os

        await asyncio.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]

    deploy(app)
    first = await together.remote.aio(0)
    assert {await one.get.aio(timeout=30) for one in [await together.spawn.aio(1) for _ in range(4)]} == {first}


async def test_the_autoscaler_is_changed_without_a_deployment_and_reset_by_one(app, deploy, call, client):
    function = who(app)
    deploy(app)
    await function.autoscaler.update.aio(min_containers=1, scaledown_window=2)
    containers = Containers(call, app.app_id)
    await containers.become(1)
    assert (await function.autoscaler.settings.aio()).min_containers == 1
    deploy(app)
    assert (await function.autoscaler.settings.aio()).min_containers == 0


async def test_a_container_that_dies_is_replaced_and_its_input_is_run_again(app, deploy, client):
    async with modal.Dict.ephemeral(client=client) as attempts:

        @app.function(serialized=True)
        def die_once() -> str:
            import os

            if attempts.put("first", value=True, skip_if_exists=True):
                os._exit(3)
            return "alive"

        deploy(app)
        assert await die_once.remote.aio() == "alive"


async def test_an_input_that_kills_every_container_fails_with_the_exit_code_and_the_last_lines(app, deploy):
    @app.function(serialized=True)
    def die() -> None:
        import os

        print("famous last words", flush=True)
        os._exit(3)

    deploy(app)
    with pytest.raises(modal.exception.InternalFailure, match=r"(?s)exited with code 3.*famous last words"):
        await die.remote.aio()


async def test_a_container_that_dies_at_load_fails_its_inputs_with_its_own_exception(app, deploy):
    @app.cls(serialized=True)
    class Broken:
        @modal.enter()
        def load(self) -> None:
            raise FileNotFoundError("model.gguf is not there")

        @modal.method()
        def ask(self) -> None:
            """Never reached."""

    deploy(app)
    with pytest.raises(FileNotFoundError, match=r"model\.gguf is not there"):
        await Broken().ask.remote.aio()


async def test_a_container_that_hangs_at_load_fails_its_inputs_with_the_limit(app, deploy):
    @app.cls(serialized=True, startup_timeout=1)
    class Hanging:
        @modal.enter()
        def load(self) -> None:
            import time

            time.sleep(600)

        @modal.method()
        def ask(self) -> None:
            """Never reached."""

    deploy(app)
    with pytest.raises(modal.exception.InternalFailure, match="not ready within its start-up timeout of 1s"):
        await Hanging().ask.remote.aio()


async def test_a_function_that_failed_to_start_works_again_after_a_good_deployment(app, deploy, image):
    def load_and_fail(self) -> None:
        raise RuntimeError("bad version")

    def load(self) -> None:
        """All is well."""

    def define(enter):
        version = modal.App(app.name, image=image)

        class Service:
            @modal.method()
            def ask(self) -> str:
                return "well"

        Service.load = modal.enter()(enter)
        return version, version.cls(serialized=True)(Service)

    bad, service = define(load_and_fail)
    deploy(bad)
    with pytest.raises(RuntimeError, match="bad version"):
        await service().ask.remote.aio()
    good, service = define(load)
    deploy(good)
    assert await service().ask.remote.aio() == "well"


async def test_stopping_a_container_moves_its_input_to_another_one(app, deploy, call, client):
    async with modal.Dict.ephemeral(client=client) as seen:

        @app.function(serialized=True)
        def first_one_waits() -> str:
            import os
            import time

            if seen.put("first", os.environ["MODAL_TASK_ID"], skip_if_exists=True):
                time.sleep(600)
            return os.environ["MODAL_TASK_ID"]

        deploy(app)
        pending = await first_one_waits.spawn.aio()
        while (first := await seen.get.aio("first")) is None:
            await asyncio.sleep(0.1)
        await call("ContainerStop", task_id=first)
        assert await pending.get.aio(timeout=60) != first


async def test_a_graceful_stop_lets_the_input_finish(app, deploy, call):
    function = who(app)
    deploy(app)
    first = await function.remote.aio()
    pending = await function.spawn.aio(2)
    await run(function, 1)
    await call("ContainerStop", task_id=first, graceful=True)
    assert await pending.get.aio(timeout=60) == first
    assert await function.remote.aio() != first


async def test_a_container_can_ask_for_no_more_inputs(app, deploy):
    @app.function(serialized=True)
    def last() -> str:
        import os

        import modal.experimental

        modal.experimental.stop_fetching_inputs()
        return os.environ["MODAL_TASK_ID"]

    deploy(app)
    assert len({await last.remote.aio() for _ in range(3)}) == 3


async def test_an_ended_container_says_how_it_ended(app, deploy, call):
    @app.function(serialized=True)
    def die() -> None:
        import os

        os._exit(7)

    deploy(app)
    with pytest.raises(modal.exception.InternalFailure) as failure:
        await die.remote.aio()
    task_id = str(failure.value).partition("ta-")[2][:22]
    info = (await call("TaskGetInfo", task_id=f"ta-{task_id}")).info
    assert info.finished_at
    assert info.result.exitcode == 7
    assert info.snapshot_behavior == api_pb2.TASK_SNAPSHOT_BEHAVIOR_NONE


async def test_the_current_stats_count_what_waits_and_runs(app, deploy):
    function = who(app, max_containers=1)
    deploy(app)
    await function.remote.aio()
    calls = [await function.spawn.aio(60) for _ in range(3)]
    stats = await run(function, 1)
    assert (stats.backlog, stats.num_running_inputs, stats.num_total_runners) == (2, 1, 1)
    for one in calls:
        await one.cancel.aio()


async def test_the_pause_after_a_failed_start_grows_to_a_minute_however_often_one_fails():
    starts, now = Starts(again=lambda: None), asyncio.get_running_loop().time
    for failed in range(1, 2000):
        before = now()
        starts.fail()
        wanted = min(0.5 * 2.0 ** min(failed - 1, 100), 64)
        assert starts._pause.when() - now() <= wanted <= starts._pause.when() - before
    starts.forget()
    assert not starts.paused
