"""Small blocks of malloc, in its heaps, and threads that make some."""

import ctypes
import functools
import threading

from features.blocks import libc
from features.registry import feature


class InThread:
    """Work in a thread of its own; `done` waits for it and fails if it did."""

    def __init__(self, work):
        self.failure = None
        self.work = work
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.work()
        except Exception as error:  # noqa: BLE001  # for the thread that waits
            self.failure = error

    def done(self):
        self.thread.join()
        assert self.failure is None, self.failure


def run_in_threads(work, count):
    for thread in [InThread(work) for _ in range(count)]:
        thread.done()


class SmallBlocks:
    """Malloc's blocks in the heap of the thread that makes them, each full of its own byte."""

    def __init__(self, count=30_000):
        self.blocks = {}
        for number in range(count):
            size = 24 + number * 37 % 700
            self.blocks[number] = libc.malloc(size), size
            ctypes.memset(self.blocks[number][0], number % 251, size)

    def are_whole(self):
        for number, (address, size) in self.blocks.items():
            assert ctypes.string_at(address, size) == bytes([number % 251]) * size, number

    def free(self, numbers):
        for number in numbers:
            libc.free(self.blocks.pop(number)[0])


def shrink_and_grow(small):
    """Gives memory back in the middle of the heap and at its end, and takes it again: calloc's are zeros every time."""
    small.are_whole()
    count = len(small.blocks)
    small.free(number for number in range(count // 2) if number % 50)
    libc.malloc_trim(0)
    all_zeros(4_000)
    small.free(range(count // 2, count))  # the heap's end, with which it shrinks
    libc.malloc_trim(0)
    all_zeros(40_000)
    small.are_whole()


def all_zeros(count):
    sizes = [24 + number * 101 % 900 for number in range(count)]
    blocks = [(libc.calloc(1, size), size) for size in sizes]
    for address, size in blocks:
        assert ctypes.string_at(address, size) == bytes(size), size
        ctypes.memset(address, 255, size)
    for address, _ in blocks:
        libc.free(address)


@feature
def small_blocks_in_the_main_heap():
    small = SmallBlocks()
    yield
    shrink_and_grow(small)
    shrink_and_grow(SmallBlocks())


@feature
def small_blocks_in_the_heaps_of_threads():
    """Each thread's in an arena of its own, one of them in two heaps."""
    made, goes_on = threading.Barrier(3), threading.Event()

    def work(count):
        small = SmallBlocks(count)
        made.wait()
        goes_on.wait()
        shrink_and_grow(small)
        shrink_and_grow(SmallBlocks())

    threads = [InThread(functools.partial(work, count)) for count in (30_000, 220_000)]
    made.wait()
    yield
    goes_on.set()
    for thread in threads:
        thread.done()
