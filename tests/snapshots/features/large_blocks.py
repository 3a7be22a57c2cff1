"""Blocks of malloc that have mappings of their own: large ones."""

import ctypes
import multiprocessing
import os

from features.blocks import BLOCK, MIB, block, check, holds, libc, page_in, pattern
from features.heaps import run_in_threads
from features.registry import feature


@feature
def a_large_block():
    address = block()
    yield
    assert holds(address)


@feature
def an_aligned_block():
    pointer = ctypes.c_void_p()
    check(libc.posix_memalign(ctypes.byref(pointer), 64, BLOCK))
    ctypes.memmove(pointer.value, pattern(BLOCK), BLOCK)
    yield
    assert holds(pointer.value)
    libc.free(pointer.value)


@feature
def writes_in_place():
    address = block()
    yield
    ctypes.memset(address, os.getpid() & 127, BLOCK)
    assert ctypes.string_at(address, BLOCK) == bytes([os.getpid() & 127]) * BLOCK


@feature
def a_fork_that_writes():
    address = block()
    yield
    child = os.fork()
    if not child:
        ctypes.memset(address, 9, BLOCK)
        os._exit(ctypes.string_at(address, BLOCK) != b"\t" * BLOCK)
    assert os.waitpid(child, 0)[1] == 0
    assert holds(address)


@feature
def a_block_shared_with_a_forked_child():
    address = block()
    asks, answers = multiprocessing.Pipe()
    child = os.fork()
    if not child:
        ctypes.memset(address, 5, MIB)
        answers.send("ready")
        answers.recv()
        answers.send(ctypes.string_at(address, MIB) == b"\5" * MIB and holds_from(address, MIB))
        os._exit(0)
    assert asks.recv() == "ready"
    yield
    asks.send("look")
    assert asks.recv()
    assert holds(address)


def holds_from(address, start):
    return ctypes.string_at(address + start, BLOCK - start) == pattern(BLOCK)[start:]


@feature
def mprotect_and_back():
    address = block()
    yield
    start = page_in(address, MIB)
    check(libc.mprotect(start, MIB, 1))
    assert holds(address)
    check(libc.mprotect(start, MIB, 3))
    ctypes.memset(start, 1, MIB)
    assert ctypes.string_at(start, MIB) == b"\1" * MIB


@feature
def munmap_of_the_middle():
    address = block()
    yield
    start = page_in(address, 8 * MIB)
    check(libc.munmap(start, 4 * MIB))
    before, after = start - address, start + 4 * MIB - address
    assert ctypes.string_at(address, before) == pattern(BLOCK)[:before]
    assert ctypes.string_at(address + after, BLOCK - after) == pattern(BLOCK)[after:]


@feature
def realloc_that_grows_by_mremap():
    address = block()
    yield
    address = libc.realloc(address, 5 * BLOCK)
    assert holds(address)
    ctypes.memset(address + BLOCK, 3, 4 * BLOCK)
    assert holds(address)
    address = libc.realloc(address, BLOCK)
    assert holds(address)
    libc.free(address)


@feature
def calloc_after_free():
    address = block()
    yield
    libc.free(address)
    for size in (BLOCK, BLOCK // 3, 200_000, 64):
        assert ctypes.string_at(libc.calloc(1, size), size) == bytes(size), size


@feature
def calloc_after_malloc_trim():
    kept = [block(size) for size in (BLOCK, 3000, 90_000, 2 * MIB) for _ in range(20)]
    yield

    def churn():
        for turn in range(300):
            size = (64, 1000, 30_000, 500_000, 3 * MIB)[turn % 5]
            address = libc.calloc(1, size)
            assert ctypes.string_at(address, size) == bytes(size), size
            ctypes.memset(address, 255, size)
            libc.free(address)
            if turn % 20 == 0:
                libc.malloc_trim(0)

    for address in kept[::2]:
        libc.free(address)
    run_in_threads(churn, 2)
