"""Starts a program that may read and run every file of this machine, but write only below the folders that are named.

Run as a program by `process.py`, with nothing but the standard library: `landlock.py PATH... -- PROGRAM ARGUMENT...`.

Landlock (Documentation/userspace-api/landlock.rst of Linux) needs no rights, binds root too, and holds for whatever the
program starts. It knows what creates, changes, moves and removes files, but not their modes, owners and times. A kernel
without it, or where it cannot be told that files may move between folders, leaves the program free.
"""

import ctypes
import os
import signal
import stat
import struct
import sys

# include/uapi/asm-generic/unistd.h: the same on every machine
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
# include/uapi/linux/landlock.h
_CREATE_RULESET_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
"""REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM."""
_REFER = 1 << 13
"""Moves and links between folders, which a version that does not know this right always refuses."""
_TRUNCATE = 1 << 14
_VERSION_WITH_REFER = 2
"""Linux 5.19."""
_VERSION_WITH_TRUNCATE = 3
"""Linux 6.2."""
# include/uapi/linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def main(words: list[str]) -> int:
    """Becomes the program; returns if it cannot be started."""
    end = words.index("--")
    write_only_below(words[:end])
    command = words[end + 1 :]
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores, and programs expect
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    return 127


def write_only_below(paths: list[str]) -> None:
    """For the calling thread and all that it starts from now on. Paths that are not there are passed by."""
    if (version := supported_version()) < _VERSION_WITH_REFER:
        return
    rights = _WRITE_FILE | _REMOVE_AND_MAKE | _REFER | (_TRUNCATE if version >= _VERSION_WITH_TRUNCATE else 0)
    ruleset = _call(_CREATE_RULESET, struct.pack("=Q", rights), 8, 0)  # struct landlock_ruleset_attr
    for path in filter(os.path.exists, paths):
        _allow(ruleset, path, rights)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # without it only root may restrict itself
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def supported_version() -> int:
    """Of the kernel's interface; 0 or less: it has none, or it is switched off."""
    return int(_libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION))


def _allow(ruleset: int, path: str, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not stat.S_ISDIR(os.fstat(handle).st_mode):
        rights &= _WRITE_FILE | _TRUNCATE  # a file's rule must not say what holds for folders
    _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, handle), 0)  # landlock_path_beneath_attr
    os.close(handle)


def _call(number: int, *arguments: int | bytes) -> int:
    words = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock, system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
