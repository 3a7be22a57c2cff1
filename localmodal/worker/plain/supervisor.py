"""The parent of one plain-process container: passes its exit code on and lets none of its descendants live longer.

Run as a program by `process.py`, with nothing but the standard library, since its start is part of every start:
`supervisor.py PROGRAM ARGUMENT...`. Standard input is the daemon's: each byte is a signal to send to the program, and
its end (the daemon closed it, or died) ends everything.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Returns the program's exit code; 128 + N for signal N."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # daemons that the program starts become ours
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, unlike SIG_IGN, is not passed on to the program
    program = _start(command)
    while (status := _reap(program)) is None:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready and not _obey(program):
            _kill_children()
    while _kill_children():
        _reap(program, wait=True)
    return os.waitstatus_to_exitcode(status) % 256 if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _start(command: list[str]) -> int:
    if program := os.fork():
        return program
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    os._exit(127)


def _obey(program: int) -> bool:
    """Sends the signals that the daemon asks for; False at the end of its words."""
    wanted = os.read(0, 16)
    for number in wanted:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, number)
    return bool(wanted)


def _reap(program: int, *, wait: bool = False) -> int | None:
    """Collects every child that has ended; returns the program's status if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, 0 if wait else os.WNOHANG)
            if not pid:
                break
            status = ended if pid == program else status
            if wait:
                break
    return status


def _kill_children() -> list[int]:
    """Those of a killed child become ours in turn, until there are none."""
    children = _children()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return children


def _children() -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  # pathlib would double the start's time
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  # as above
            if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
