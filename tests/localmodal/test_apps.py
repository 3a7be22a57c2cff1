"""Apps and their versions: deployed, redeployed, rolled back, staged, promoted, stopped; their logs."""

import asyncio

import modal
import pytest
from grpclib import GRPCError
from modal.runner import deploy_app
from modal_proto import api_pb2

Restored = api_pb2.TASK_SNAPSHOT_BEHAVIOR_RESTORE


def version_of(name: str, image: modal.Image, answer: str, **options) -> tuple[modal.App, modal.Function]:
    """An app of that name whose function says `answer`."""
    app = modal.App(name, image=image)

    @app.function(serialized=True, name="say", **options)
    def say() -> str:
        import os

        return f"{answer} {os.environ['MODAL_TASK_ID']}"

    return app, say


@pytest.fixture
def publish(request, image, deploy):
    """Deploys the test's app, each time with another answer."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[-50:].strip("-")

    def publish(answer: str, **options) -> modal.App:
        tag = options.pop("tag", "")
        app, _ = version_of(name, image, answer, **options)
        return deploy(app, tag=tag)

    return publish


def lookup(app: modal.App, client) -> modal.Function:
    return modal.Function.from_name(app.name, "say", client=client)


async def history(app: modal.App, call) -> list[int]:
    response = await call("AppDeploymentHistory", app_id=app.app_id)
    return [one.version for one in response.app_deployment_histories]


async def test_a_new_version_answers_from_a_new_container_under_the_same_ids(publish, client, call):
    app = publish("one")
    first = lookup(app, client)
    assert (await first.remote.aio()).startswith("one ta-")
    second = lookup(publish("two"), client)
    assert (await second.remote.aio()).startswith("two ta-")
    assert (await first.remote.aio()).startswith("two ta-")  # a handle from before reaches what is deployed now
    assert first.object_id == second.object_id
    assert await history(app, call) == [2, 1]


async def test_deploying_the_same_again_changes_nothing(publish, client, call):
    app = publish("one")
    before = await lookup(app, client).remote.aio()
    publish("one")
    assert await lookup(app, client).remote.aio() == before
    assert await history(app, call) == [1]


async def test_another_tag_alone_is_a_new_version_with_the_same_containers(publish, client, call):
    app = publish("one", tag="a")
    before = await lookup(app, client).remote.aio()
    publish("one", tag="b")
    assert await lookup(app, client).remote.aio() == before
    tags = [one.tag for one in (await call("AppDeploymentHistory", app_id=app.app_id)).app_deployment_histories]
    assert tags == ["b", "a"]


async def test_work_in_progress_outlives_a_deployment(app, deploy, image, client):
    async with modal.Dict.ephemeral(client=client) as seen:

        @app.function(serialized=True, name="slow")
        def slow() -> str:
            import time

            seen["started"] = True
            time.sleep(3)
            return "finished"

        deploy(app)
        pending = await slow.spawn.aio()
        while not await seen.contains.aio("started"):
            await asyncio.sleep(0.1)
        newer, say = version_of(app.name, image, "new")
        newer.function(serialized=True, name="slow")(lambda: "new")
        deploy(newer)
        assert await pending.get.aio(timeout=30) == "finished"
        assert (await say.remote.aio()).startswith("new ")


async def test_a_rollback_brings_the_earlier_answer_back_as_a_new_version(publish, client, call):
    app = publish("one")
    publish("two")
    await call("AppRollback", app_id=app.app_id, version=-1)
    assert (await lookup(app, client).remote.aio()).startswith("one ")
    assert await history(app, call) == [3, 2, 1]
    newest = (await call("AppDeploymentHistory", app_id=app.app_id)).app_deployment_histories[0]
    assert newest.rollback_version == 1


async def test_a_rollback_to_a_version_that_never_was_is_refused(publish, client, call):
    app = publish("one")
    with pytest.raises(Exception, match="has no version 7"):
        await call("AppRollback", app_id=app.app_id, version=7)
    with pytest.raises(Exception, match="no version that far back"):
        await call("AppRollback", app_id=app.app_id, version=-1)


async def test_a_rollover_replaces_the_containers_of_the_same_version(publish, client, call):
    app = publish("one")
    before = await lookup(app, client).remote.aio()
    await call("AppRollover", app_id=app.app_id)
    after = await lookup(app, client).remote.aio()
    assert after.startswith("one ")
    assert after != before


async def test_a_staged_version_answers_only_who_asks_for_it_until_it_is_promoted(publish, client, call, image):
    app = publish("one")
    staged, _ = version_of(app.name, image, "two")
    deploy_app(staged, client=client, staged=True)
    production = lookup(app, client)
    assert (await production.remote.aio()).startswith("one ")
    response = await call("FunctionGet", app_name=app.name, object_tag="say", app_version=2)
    handle = modal.Function.from_id(response.function_id, client=client)
    assert (await handle.remote.aio()).startswith("two ")
    assert (await call("AppGetLifecycle", app_id=app.app_id)).lifecycle.version == 1
    await call("AppPromote", app_id=app.app_id, version=2)
    assert (await production.remote.aio()).startswith("two ")
    assert (await call("AppGetLifecycle", app_id=app.app_id)).lifecycle.version == 3


async def test_a_class_pinned_to_a_version_stays_there(app, deploy, image, client):
    def define(answer: str) -> modal.App:
        version = modal.App(app.name, image=image)

        @version.cls(serialized=True)
        class Service:
            @modal.method()
            def say(self) -> str:
                return answer

        return version

    deploy(define("one"))
    deploy(define("two"))
    assert await modal.Cls.from_name(app.name, "Service", version=1, client=client)().say.remote.aio() == "one"
    assert await modal.Cls.from_name(app.name, "Service", client=client)().say.remote.aio() == "two"


async def test_a_stopped_app_is_not_found_and_its_calls_end(app, deploy, client, call):
    @app.function(serialized=True, name="wait")
    def wait() -> None:
        import time

        time.sleep(600)

    deploy(app)
    pending = await wait.spawn.aio()
    await app.stop.aio(client=client)
    with pytest.raises(modal.exception.Error, match="stopped"):
        await pending.get.aio(timeout=30)
    with pytest.raises(modal.exception.NotFoundError):
        await modal.Function.from_name(app.name, "wait", client=client).remote.aio()
    with pytest.raises(modal.exception.Error, match="stopped"):
        await wait.remote.aio()
    assert not (await call("TaskList", app_id=app.app_id)).tasks


async def test_a_name_can_be_used_again_after_its_app_was_stopped(publish, client):
    app = publish("one")
    await app.stop.aio(client=client)
    again = publish("two")
    assert again.app_id != app.app_id
    assert (await lookup(again, client).remote.aio()).startswith("two ")


async def test_an_app_whose_name_was_taken_since_it_was_created_is_refused(publish, client, call):
    """Two clients that deploy the same new app at once have each created one."""
    late = (await call("AppCreate", app_state=api_pb2.APP_STATE_INITIALIZING)).app_id
    first = publish("one")
    with pytest.raises(GRPCError, match=f"An app '{first.name}' \\({first.app_id}\\) is deployed"):
        await call("AppPublish", app_id=late, name=first.name, app_state=api_pb2.APP_STATE_DEPLOYED)
    assert (await lookup(first, client).remote.aio()).startswith("one ")


async def test_an_ephemeral_app_lives_as_long_as_its_block(app, client, call):
    @app.function(serialized=True)
    def answer() -> int:
        return 42

    async with app.run.aio(client=client):
        assert await answer.remote.aio() == 42
        app_id = app.app_id
    assert (await call("AppGetLifecycle", app_id=app_id)).lifecycle.app_state == api_pb2.APP_STATE_STOPPED


async def test_a_class_with_a_memory_snapshot_is_restored_from_it(app, deploy, call, daemon):
    if not daemon.capabilities["snapshots"]:
        pytest.skip("this machine takes no snapshots")

    @app.cls(serialized=True, enable_memory_snapshot=True)
    class Service:
        @modal.enter(snap=True)
        def load(self) -> None:
            import uuid

            self.identity = uuid.uuid4().hex

        @modal.enter(snap=False)
        def resume(self) -> None:
            self.resumed = True

        @modal.method()
        def ask(self) -> tuple[str, str, bool]:
            import os

            import modal.experimental

            modal.experimental.stop_fetching_inputs()
            return self.identity, os.environ["MODAL_TASK_ID"], self.resumed

    deploy(app)
    (first, one, _), (second, two, resumed) = await Service().ask.remote.aio(), await Service().ask.remote.aio()
    assert first == second  # the memory of the first one
    assert one != two
    assert resumed
    behaviors = [(await call("TaskGetInfo", task_id=task)).info.snapshot_behavior for task in (one, two)]
    assert behaviors == [api_pb2.TASK_SNAPSHOT_BEHAVIOR_SNAPSHOT, Restored]


async def test_a_redeployment_of_the_same_code_keeps_the_snapshot_and_new_code_does_not(
    app, deploy, image, call, daemon
):
    if not daemon.capabilities["snapshots"]:
        pytest.skip("this machine takes no snapshots")

    def define(answer: str) -> tuple[modal.App, modal.Cls]:
        version = modal.App(app.name, image=image)

        @version.cls(serialized=True, enable_memory_snapshot=True)
        class Service:
            @modal.method()
            def ask(self) -> tuple[str, str]:
                import os

                import modal.experimental

                modal.experimental.stop_fetching_inputs()
                return answer, os.environ["MODAL_TASK_ID"]

        return version, Service

    async def behavior_of(version: modal.App, service: modal.Cls, tag: str) -> int:
        deploy(version, tag=tag)
        _, task = await service().ask.remote.aio()
        return (await call("TaskGetInfo", task_id=task)).info.snapshot_behavior

    one, two = define("one"), define("two")
    snapshot = api_pb2.TASK_SNAPSHOT_BEHAVIOR_SNAPSHOT
    assert await behavior_of(*one, "a") == snapshot
    assert await behavior_of(*one, "b") == Restored
    assert await behavior_of(*two, "c") == snapshot
    assert await behavior_of(*one, "d") == Restored


async def test_a_restore_that_fails_is_followed_by_a_cold_start_and_one_new_snapshot(app, deploy, call, client, daemon):
    if not daemon.capabilities["snapshots"]:
        pytest.skip("this machine takes no snapshots")
    async with modal.Dict.ephemeral(client=client) as order:

        @app.cls(serialized=True, enable_memory_snapshot=True)
        class Service:
            @modal.enter(snap=False)
            def resume(self) -> None:
                import os

                if order.pop("break", None):
                    os._exit(222)  # what the client does when it cannot restore the GPU's memory

            @modal.method()
            def ask(self) -> str:
                import os

                import modal.experimental

                modal.experimental.stop_fetching_inputs()
                return os.environ["MODAL_TASK_ID"]

        deploy(app)
        await Service().ask.remote.aio()
        await order.put.aio("break", value=True)
        tasks = [await Service().ask.remote.aio() for _ in range(2)]
        behaviors = [(await call("TaskGetInfo", task_id=task)).info.snapshot_behavior for task in tasks]
        assert behaviors == [api_pb2.TASK_SNAPSHOT_BEHAVIOR_SNAPSHOT, Restored]
        (bad,) = [bad for bad in daemon.status["bad_snapshots"] if "exited with code 222" in bad["reason"]]
        assert not bad["given_up"]


def test_output_is_shown_by_app_and_by_container(app, deploy, cli, client):
    @app.function(serialized=True)
    def speak() -> str:
        import os
        import sys

        print("to the output")
        print("to the error output", file=sys.stderr)
        return os.environ["MODAL_TASK_ID"]

    deploy(app)
    task_id = speak.remote()
    for shown in (cli("app", "logs", app.app_id), cli("container", "logs", task_id, "--all")):
        assert shown.returncode == 0, shown.stderr
        assert "to the output" in shown.stdout
        assert "to the error output" in shown.stdout
    only_errors = cli("container", "logs", task_id, "--source", "stderr").stdout
    assert "to the error output" in only_errors
    assert "to the output" not in only_errors


def test_output_is_followed_until_the_container_ends(app, deploy, daemon, cli):
    @app.function(serialized=True)
    def count() -> str:
        import os
        import time

        import modal.experimental

        modal.experimental.stop_fetching_inputs()
        for number in range(3):
            print(f"number {number}", flush=True)
            time.sleep(0.3)
        return os.environ["MODAL_TASK_ID"]

    deploy(app)
    task_id = count.remote()
    followed = cli("container", "logs", task_id, "-f")
    assert followed.returncode == 0, followed.stderr
    assert [line for line in followed.stdout.splitlines() if line.startswith("number")] == [
        "number 0",
        "number 1",
        "number 2",
    ]


def test_the_command_line_manages_an_app(publish, cli):
    app = publish("one")
    publish("two")
    name = app.app_id
    assert "v2" in cli("app", "history", name).stdout
    assert cli("app", "rollback", name).returncode == 0
    assert cli("app", "rollover", name).returncode == 0
    assert app.description in cli("app", "list", "--env", "main").stdout
    assert "say" in cli("app", "info", name).stdout
    stopped = cli("app", "stop", name, "--yes")
    assert stopped.returncode == 0, stopped.stderr
    assert "already stopped" in cli("app", "stop", name, "--yes").stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [({"schedule": modal.Period(hours=1)}, "schedule="), ({"gpu": "H100"}, "gpu='H100'")],
)
def test_what_is_not_served_is_refused_by_name_when_it_is_deployed(app, deploy, options, named):
    @app.function(serialized=True, **options)
    def work() -> None:
        """Never run."""

    with pytest.raises(modal.exception.Error, match=named):
        deploy(app)


async def test_tags_are_kept(publish, client):
    app = publish("one")
    await app.set_tags.aio({"team": "research"}, client=client)
    assert await app.get_tags.aio(client=client) == {"team": "research"}
