"""System calls that Python's standard library has no name for (3.11), made without starting a program."""

from __future__ import annotations

import ctypes
import errno
import os
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MS_RDONLY = 0x1
MS_BIND = 0x1000
MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MNT_DETACH = 0x2
_CLONE_FS = 0x200
_CLONE_NEWNS = 0x20000
_CLONE_NEWNET = 0x40000000
_PR_SET_CHILD_SUBREAPER = 36

Result = TypeVar("Result")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def mount(source: Path | str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mounts; the flags are the kernel's MS_*."""
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, os.fsencode(options) or None
    )
    _check(done, f"mount {kind or 'bind'} on {target}")


def unmount(target: Path) -> None:
    """Unmounts lazily, so that a process that still looks at it cannot stop us; nothing happens if it is no mount."""
    done = _libc.umount2(os.fsencode(target), _MNT_DETACH)
    if ctypes.get_errno() not in {errno.ENOENT, errno.EINVAL}:  # not there, not a mount
        _check(done, f"umount {target}")


def enter_namespace(path: Path) -> None:
    """Moves the calling thread, and it alone, into the namespace that the file stands for."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(handle, 0), f"setns {path}")
    finally:
        os.close(handle)


def leave_network() -> None:
    """Gives the calling thread, and it alone, a fresh network namespace."""
    _check(_libc.unshare(_CLONE_NEWNET), "unshare the network")


def leave_mounts() -> None:
    """Gives the calling thread, and it alone, mounts of its own: what it mounts from now on, nobody else sees."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare the mounts")
    mount("none", Path("/"), flags=MS_REC | _MS_SLAVE)


def change_folder(path: Path) -> None:
    """Changes the working folder of the calling thread, and of it alone."""
    _check(_libc.unshare(_CLONE_FS), "unshare the working folder")
    os.chdir(path)


def in_own_thread(action: Callable[[], Result]) -> Result:
    """Runs something in a thread of its own that ends with it, and with it the namespaces and folder it moved to."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001  # handed to the caller
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result()


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent has ended, so that it can wait for it."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl PR_SET_CHILD_SUBREAPER")


def mount_points(below: Path) -> list[Path]:
    """What is mounted below a folder (itself included), the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(below)]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
