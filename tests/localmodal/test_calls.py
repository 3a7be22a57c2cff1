"""Calls of deployed functions, by the real client, in real containers."""

import time

import modal
import pytest


def test_a_remote_call_answers(app, deploy):
    @app.function(serialized=True)
    def square(number: int) -> int:
        return number * number

    deploy(app)
    assert square.remote(7) == 49


def test_an_exception_of_the_function_is_raised_at_the_caller(app, deploy):
    @app.function(serialized=True)
    def fail() -> None:
        raise ValueError("no such luck")

    deploy(app)
    with pytest.raises(ValueError, match="no such luck"):
        fail.remote()


def test_a_map_answers_in_order_and_from_several_containers(app, deploy):
    @app.function(serialized=True, max_containers=3)
    def where(number: int) -> tuple[int, str]:
        import os
        import time

        time.sleep(0.2)
        return number, os.environ["MODAL_TASK_ID"]

    deploy(app)
    answers = list(where.map(range(30)))
    assert [number for number, _ in answers] == list(range(30))
    assert 1 < len({task for _, task in answers}) <= 3


def test_a_starmap_spreads_its_arguments(app, deploy):
    @app.function(serialized=True)
    def subtract(a: int, b: int) -> int:
        return a - b

    deploy(app)
    assert list(subtract.starmap([(5, 3), (2, 9)])) == [2, -7]


def test_a_map_returns_exceptions_if_asked_to(app, deploy):
    @app.function(serialized=True)
    def odd(number: int) -> int:
        if number % 2 == 0:
            raise ValueError(number)
        return number

    deploy(app)
    answers = list(odd.map(range(4), return_exceptions=True))
    assert [type(answer) for answer in answers] == [ValueError, int, ValueError, int]


def test_a_generator_yields_as_it_goes(app, deploy):
    @app.function(serialized=True)
    def count(to: int):
        import time

        for number in range(to):
            yield number
            time.sleep(0.5)

    deploy(app)
    arrivals = [(number, time.monotonic()) for number in count.remote_gen(4)]
    assert [number for number, _ in arrivals] == [0, 1, 2, 3]
    assert arrivals[-1][1] - arrivals[0][1] > 0.5  # they did not all come at the end


def test_a_spawned_call_is_found_again_by_its_id(app, deploy, client):
    @app.function(serialized=True)
    def double(number: int) -> int:
        return 2 * number

    deploy(app)
    call = double.spawn(21)
    again = modal.FunctionCall.from_id(call.object_id, client=client)
    assert again.get(timeout=30) == 42
    assert again.get(timeout=0) == 42  # asking does not use the answer up


def test_asking_a_call_too_early_times_out(app, deploy):
    @app.function(serialized=True)
    def slow() -> None:
        import time

        time.sleep(60)

    deploy(app)
    with pytest.raises(TimeoutError):
        slow.spawn().get(timeout=0)


def test_spawned_maps_are_read_by_index(app, deploy):
    @app.function(serialized=True)
    def triple(number: int) -> int:
        return 3 * number

    deploy(app)
    call = triple.experimental_spawn_map(range(5))
    assert list(call.iter()) == [0, 3, 6, 9, 12]
    assert call.num_inputs() == 5


def test_five_megabytes_pass_in_both_directions(app, deploy):
    @app.function(serialized=True)
    def turn(data: bytes) -> bytes:
        return data[::-1]

    deploy(app)
    data = bytes(range(256)) * 20_000
    assert turn.remote(data) == data[::-1]


@pytest.fixture
def wait(app, deploy) -> modal.Function:
    """A function that sleeps, then says which container it ran in."""

    @app.function(serialized=True, max_containers=1)
    def wait(seconds: float) -> str:
        import os
        import time

        time.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]

    deploy(app)
    return wait


def running(function: modal.Function) -> modal.FunctionCall:
    """A call that a container works on, and will for long."""
    call = function.spawn(120)
    while not function.get_current_stats().num_running_inputs:
        time.sleep(0.05)
    return call


def test_a_cancelled_call_ends_and_its_container_lives_on(wait):
    first = wait.remote(0)
    call = running(wait)
    call.cancel()
    with pytest.raises(modal.exception.Error):
        call.get(timeout=10)
    assert wait.remote(0) == first


def test_a_cancelled_call_that_waits_is_never_run(app, deploy, client):
    with modal.Dict.ephemeral(client=client) as ran:

        @app.function(serialized=True, max_containers=1)
        def mark(name: str, seconds: float) -> None:
            import time

            ran[name] = True
            time.sleep(seconds)

        deploy(app)
        first = mark.spawn("first", 3)
        second = mark.spawn("second", 0)
        second.cancel()
        first.get(timeout=30)
        mark.remote("third", 0)
        assert set(ran.keys()) == {"first", "third"}


def test_cancelling_with_terminate_containers_ends_the_container(wait):
    first = wait.remote(0)
    running(wait).cancel(terminate_containers=True)
    assert wait.remote(0) != first


def test_a_failed_input_is_retried_until_it_succeeds(app, deploy, client):
    with modal.Dict.ephemeral(client=client) as attempts:

        @app.function(serialized=True, retries=modal.Retries(max_retries=3, initial_delay=0.0))
        def third_time_lucky() -> int:
            count = attempts.get("count", 0) + 1
            attempts["count"] = count
            if count < 3:
                raise RuntimeError(count)
            return count

        deploy(app)
        assert third_time_lucky.remote() == 3


def test_retries_come_to_an_end(app, deploy, client):
    with modal.Dict.ephemeral(client=client) as attempts:

        @app.function(serialized=True, retries=modal.Retries(max_retries=2, initial_delay=0.0))
        def never() -> None:
            attempts["count"] = attempts.get("count", 0) + 1
            raise RuntimeError("again")

        deploy(app)
        with pytest.raises(RuntimeError, match="again"):
            never.remote()
        assert attempts["count"] == 3


def test_each_input_of_a_map_is_retried(app, deploy, client):
    with modal.Dict.ephemeral(client=client) as attempts:

        @app.function(serialized=True, retries=modal.Retries(max_retries=1, initial_delay=0.0))
        def second_time(number: int) -> int:
            if attempts.put(number, value=True, skip_if_exists=True):
                raise RuntimeError(number)
            return number

        deploy(app)
        assert list(second_time.map(range(6))) == list(range(6))


def test_an_input_that_takes_too_long_times_out_and_the_next_one_is_run(app, deploy):
    @app.function(serialized=True, timeout=2, startup_timeout=60)
    def wait(seconds: float) -> str:
        import time

        time.sleep(seconds)
        return "done"

    deploy(app)
    with pytest.raises(modal.exception.FunctionTimeoutError, match="timeout of 2s"):
        wait.remote(60)
    assert wait.remote(0) == "done"


def test_a_timeout_ends_one_of_several_inputs_at_once_and_leaves_the_others(app, deploy):
    @app.function(serialized=True, timeout=3, startup_timeout=60, max_containers=1)
    @modal.concurrent(max_inputs=4)
    async def wait(seconds: float) -> str:
        import asyncio
        import os

        await asyncio.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]

    deploy(app)
    first = wait.remote(0)
    late, early = wait.spawn(60), wait.spawn(2)
    assert early.get(timeout=30) == first
    with pytest.raises(modal.exception.FunctionTimeoutError):
        late.get(timeout=30)
    assert wait.remote(0) == first


def test_batched_inputs_come_together(app, deploy):
    @app.function(serialized=True, max_containers=1)
    @modal.batched(max_batch_size=4, wait_ms=1000)
    def sizes(numbers: list[int]) -> list[int]:
        return [len(numbers) for _ in numbers]

    deploy(app)
    assert max(sizes.map(range(8))) > 1


def test_a_function_calls_another_one(app, deploy, client):
    @app.function(serialized=True)
    def inner(number: int) -> int:
        return number + 1

    @app.function(serialized=True)
    def outer(number: int) -> int:
        return inner.remote(number) * 10

    deploy(app)
    call = outer.spawn(1)
    assert call.get(timeout=60) == 20
    (root,) = call.get_call_graph()
    assert [child.function_name.rpartition(".")[2] for child in root.children] == ["inner"]


def test_parameters_of_a_class_make_instances_of_their_own(app, deploy):
    @app.cls(serialized=True)
    class Greeter:
        name: str = modal.parameter()

        @modal.method()
        def greet(self) -> tuple[str, str]:
            import os

            return f"hello {self.name}", os.environ["MODAL_TASK_ID"]

    deploy(app)
    (ada, one), (bob, two) = Greeter(name="ada").greet.remote(), Greeter(name="bob").greet.remote()
    assert (ada, bob) == ("hello ada", "hello bob")
    assert one != two


def test_options_change_one_variant_only(app, deploy):
    @app.cls(serialized=True, timeout=60)
    class Sleeper:
        @modal.method()
        def sleep(self, seconds: float) -> str:
            import time

            time.sleep(seconds)
            return "slept"

    deploy(app)
    with pytest.raises(modal.exception.FunctionTimeoutError):
        Sleeper.with_options(timeout=1)().sleep.remote(30)
    assert Sleeper().sleep.remote(2) == "slept"
