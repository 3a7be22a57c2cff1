"""`modal.Queue`, by the real client."""

import queue as standard
import threading
import time

import modal
import pytest


@pytest.fixture
def queue(client):
    with modal.Queue.ephemeral(client=client) as queue:
        yield queue


def test_items_come_out_in_the_order_in_which_they_went_in(queue):
    queue.put(1)
    queue.put_many([2, 3])
    assert [queue.get(), queue.get(), queue.get()] == [1, 2, 3]


def test_get_many_takes_what_is_there(queue):
    queue.put_many([1, 2, 3])
    assert queue.get_many(2) == [1, 2]
    assert queue.get_many(10) == [3]


def test_a_get_that_does_not_block_returns_none_at_once(queue):
    assert queue.get(block=False) is None
    assert queue.get_many(3, block=False) == []


def test_a_blocking_get_gives_up_after_its_timeout(queue):
    with pytest.raises(standard.Empty):
        queue.get(timeout=0.3)


def test_a_put_wakes_who_waits(queue):
    received = []
    waiter = threading.Thread(target=lambda: received.append(queue.get(timeout=30)))
    waiter.start()
    time.sleep(0.3)
    assert not received
    queue.put("item")
    waiter.join(timeout=10)
    assert received == ["item"]


def test_each_item_goes_to_one_of_those_who_wait(queue):
    received: list[int] = []
    waiters = [threading.Thread(target=lambda: received.append(queue.get(timeout=30))) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    queue.put_many(list(range(5)))
    for waiter in waiters:
        waiter.join(timeout=10)
    assert sorted(received) == [0, 1, 2, 3, 4]


def test_partitions_are_independent(queue):
    queue.put("default")
    queue.put("a", partition="a")
    assert queue.get(partition="a") == "a"
    assert queue.get(partition="a", block=False) is None
    assert (queue.len(), queue.len(partition="a"), queue.len(total=True)) == (1, 0, 1)


def test_a_partition_is_cleared_when_its_time_is_over(queue):
    queue.put("short", partition="short", partition_ttl=1)
    queue.put("long", partition="long")
    time.sleep(1.2)
    assert queue.len(partition="short") == 0
    assert queue.len(partition="long") == 1


def test_clear_empties_one_partition_or_all(queue):
    for partition in (None, "a", "b"):
        queue.put(1, partition=partition)
    queue.clear(partition="a")
    assert queue.len(total=True) == 2
    queue.clear(all=True)
    assert queue.len(total=True) == 0


def test_iterating_leaves_the_items_where_they_are(queue):
    queue.put_many(list(range(250)))
    assert list(queue.iterate()) == list(range(250))
    assert queue.len() == 250


def test_an_iteration_sees_items_that_come_while_it_waits(queue):
    queue.put(1)
    threading.Timer(0.5, queue.put, [2]).start()
    seen = []
    for item in queue.iterate(item_poll_timeout=5):
        seen.append(item)
        if item == 2:
            break
    assert seen == [1, 2]


def test_a_full_partition_refuses_all_of_what_does_not_fit(queue):
    queue.put_many(list(range(4_999)))
    with pytest.raises(standard.Full):
        queue.put_many([1, 2], block=False)
    assert queue.len() == 4_999
    queue.put(1, block=False)
    with pytest.raises(standard.Full):
        queue.put(1, timeout=1)


def test_an_item_over_a_mebibyte_is_refused(queue):
    with pytest.raises(modal.exception.InvalidError, match="too large"):
        queue.put(b"x" * 1_100_000, block=False)


def test_waiting_items_survive_the_daemon_being_killed(daemon, client, environment):
    queue = modal.Queue.from_name("kept", environment_name=environment, create_if_missing=True, client=client)
    queue.put_many(["a", "b"])
    daemon.kill()
    daemon.start()
    assert queue.get_many(2) == ["a", "b"]


def test_the_command_line_manages_queues(cli, client, environment):
    assert cli("queue", "create", "line").returncode == 0
    queue = modal.Queue.from_name("line", environment_name=environment, client=client)
    queue.put_many(["first", "second"])
    assert "line" in cli("queue", "list", "--json").stdout
    assert cli("queue", "len", "line").stdout.strip() == "2"
    assert "first" in cli("queue", "peek", "line").stdout
    assert cli("queue", "clear", "line", "--yes").returncode == 0
    assert cli("queue", "len", "line").stdout.strip() == "0"
    assert cli("queue", "delete", "line", "--yes").returncode == 0
