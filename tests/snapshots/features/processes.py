"""Threads, children, signals and timers."""

import multiprocessing
import os
import signal
import struct
import threading
import time
from pathlib import Path

from features.blocks import check, libc
from features.registry import feature


@feature
def threads():
    counts = [0] * 4
    stop = threading.Event()

    def count(index):
        while not stop.is_set():
            counts[index] += 1
            time.sleep(0.001)

    running = [threading.Thread(target=count, args=(index,)) for index in range(4)]
    for thread in running:
        thread.start()
    yield
    before = list(counts)
    time.sleep(0.2)
    stop.set()
    for thread in running:
        thread.join()
    assert all(now > then for now, then in zip(counts, before, strict=True))


@feature
def worker_processes():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        yield
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))


@feature
def a_daemon():
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            while True:
                os.write(write, b"alive")
                time.sleep(0.01)
        os._exit(0)
    os.wait()
    yield
    for _ in range(50):
        assert os.read(read, 5) == b"alive"


@feature
def interval_timer():
    ticks = []
    signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    yield
    before = len(ticks)
    time.sleep(0.2)
    assert len(ticks) > before
    signal.setitimer(signal.ITIMER_REAL, 0)


@feature
def timerfd():
    """Not yet run out: CRIU restores one that has, and that nobody has read since, as one that is not set."""
    handle = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
    check(libc.timerfd_settime(handle, 0, struct.pack("4q", 0, 20_000_000, 4, 0), None))
    yield
    for _ in range(3):
        assert struct.unpack("Q", os.read(handle, 8))[0] >= 1


@feature
def signals_and_working_folder():
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.kill(os.getpid(), signal.SIGUSR2)
    os.chdir("/tmp")
    os.umask(0o27)
    yield
    os.kill(os.getpid(), signal.SIGUSR1)
    assert got == [1]
    assert signal.sigpending() == {signal.SIGUSR2}
    assert Path.cwd() == Path("/tmp")
    assert os.umask(0) == 0o27
