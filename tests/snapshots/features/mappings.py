"""Memory that programs map themselves, and share."""

# files stay open on purpose: that is what is tested

import ctypes
import errno
import mmap
import os
from pathlib import Path

from features.blocks import BLOCK, HUGEPAGE, MIB, block, check, holds, libc, page_in, pattern
from features.registry import feature


@feature
def madv_dontneed_of_the_programs_own_mapping():
    """Zeros, as jemalloc, mimalloc, Go and V8 rely on: such memory must not have become a file's."""
    own = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    own[:] = pattern(BLOCK)
    also = block()
    yield
    assert own[:] == pattern(BLOCK)
    own.madvise(mmap.MADV_DONTNEED)
    assert own[:] == bytes(BLOCK)
    assert holds(also)


@feature
def huge_pages():
    address = block()
    own = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in (page_in(address, MIB), ctypes.addressof(ctypes.c_char.from_buffer(own))):
        if libc.madvise(start, 16 * MIB, HUGEPAGE):
            assert ctypes.get_errno() == errno.EINVAL  # a kernel without them
    own[:] = pattern(BLOCK)
    yield
    assert holds(address)
    assert own[:] == pattern(BLOCK)


@feature
def locked_memory():
    address = block(64 * 1024)
    check(libc.mlock(page_in(address, 8192), 16384))
    large = block()
    yield
    assert holds(address, 64 * 1024)
    assert holds(large)


@feature
def memfd():
    handle = os.memfd_create("ours")
    os.truncate(handle, 2 * MIB)
    shared = mmap.mmap(handle, 2 * MIB)
    shared[:] = pattern(2 * MIB)
    yield
    assert shared[:] == pattern(2 * MIB)
    assert os.pread(handle, MIB, 0) == pattern(MIB)


@feature
def named_shared_memory():
    memory = shared_memory("/dev/shm/ours")
    yield
    again = shared_memory("/dev/shm/ours", new=False)
    assert again[:] == pattern(4 * MIB)
    again[0] = 255
    assert memory[0] == 255


@feature
def unlinked_shared_memory():
    memory = shared_memory("/dev/shm/gone")
    Path("/dev/shm/gone").unlink()
    yield
    assert memory[:] == pattern(4 * MIB)


def shared_memory(path, *, new=True):
    """As shm_open(3) makes it."""
    with Path(path).open("w+b" if new else "r+b") as file:
        os.truncate(path, 4 * MIB)
        memory = mmap.mmap(file.fileno(), 4 * MIB)
    if new:
        memory[:] = pattern(4 * MIB)
    return memory


@feature
def files_in_dev_shm():
    Path("/dev/shm/data").write_bytes(pattern(MIB))
    yield
    assert Path("/dev/shm/data").read_bytes() == pattern(MIB)
