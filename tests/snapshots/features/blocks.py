"""Blocks of memory straight from malloc, each full of a pattern."""

import ctypes
import functools
import os

MIB = 1 << 20
BLOCK = 24 * MIB
PATTERN = bytes(range(1, 252)) * 17  # no period that divides a page
DONTNEED, HUGEPAGE = 4, 14

libc = ctypes.CDLL(None, use_errno=True)
for name in ("malloc", "calloc", "realloc"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
libc.realloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.free.argtypes = (ctypes.c_void_p,)
for name in ("madvise", "mprotect"):
    getattr(libc, name).argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
for name in ("munmap", "mlock"):
    getattr(libc, name).argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.posix_memalign.argtypes = (ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t)


@functools.cache
def pattern(size):
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def block(size=BLOCK):
    """A block of malloc that has a mapping of its own, full of the pattern."""
    address = libc.malloc(size)
    ctypes.memmove(address, pattern(size), size)
    return address


def holds(address, size=BLOCK):
    return ctypes.string_at(address, size) == pattern(size)


def page_in(address, offset):
    return (address + offset) & ~4095


def check(done):
    if done != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
