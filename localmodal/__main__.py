"""`python -m localmodal VERB`: the local control plane, from outside."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from localmodal import control
from localmodal.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VERBS = {
    "start": "start the daemon unless it runs; print the environment of a client",
    "stop": "end the daemon and everything that it runs",
    "status": "what runs",
    "env": "the environment of a client of the running daemon",
    "logs": "what the daemon wrote",
    "capabilities": "what this machine can do, and what is missing for more",
    "recorded": "what a control plane that records (COLDSNAP_RECORD=1) was sent",
    "forgive": "let the snapshots of an app that were given up be taken once more",
    "destroy": "end the daemon and remove everything that it has made",
    "serve": "be the daemon",
}


def main() -> int:
    """Runs one verb; returns the exit code."""
    arguments = _parser().parse_args()
    home = Home.default()
    # A PATH as `su` gives it lacks the folders where mkfs.ext4 and runc lie.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    try:
        if arguments.verb == "serve":
            return _serve(home, arguments.ready_fd)
        if arguments.verb == "logs":
            return _logs(home, follow=arguments.follow)
        answer = control.forgive(home, arguments.app) if arguments.verb == "forgive" else _ANSWERS[arguments.verb](home)
        sys.stdout.write(json.dumps(answer) + "\n")
    except (control.ControlError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localmodal", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, help_text in _VERBS.items():
        added = verbs.add_parser(verb, help=help_text)
        if verb == "serve":
            added.add_argument("--ready-fd", type=int, help="a file descriptor to write to, and close, once it is up")
        if verb == "logs":
            added.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
        if verb == "forgive":
            added.add_argument("app", help="the app's name")
    return parser


def _capabilities(home: Home) -> dict[str, Any]:
    from localmodal.worker.capabilities import (  # noqa: PLC0415 (the other verbs answer faster without)
        capabilities_of_this_machine,
        find_tools,
    )

    async def find_out() -> dict[str, Any]:
        return asdict(await capabilities_of_this_machine(home, await find_tools(home)))

    return asyncio.run(find_out())


def _destroy(home: Home) -> dict[str, Any]:
    control.destroy(home)
    return {"removed": str(home.root)}


_ANSWERS: Mapping[str, Callable[[Home], Any]] = {
    "start": control.start,
    "stop": lambda home: {"stopped": control.stop(home)},
    "status": control.status,
    "env": control.environment,
    "capabilities": _capabilities,
    "recorded": control.recorded,
    "destroy": _destroy,
}


def _logs(home: Home, *, follow: bool) -> int:
    if not home.daemon_log.exists():
        raise control.ControlError("The local control plane has not run yet.")
    command = ["tail", "-n", "+1", *(["-f"] if follow else []), str(home.daemon_log)]
    os.execvp(command[0], command)  # noqa: S606 (no shell is wanted)


def _serve(home: Home, ready_fd: int | None) -> int:
    from localmodal.daemon import Daemon  # noqa: PLC0415 (the other verbs answer faster without)
    from localmodal.errors import DaemonError, DiskFullError  # noqa: PLC0415 (as above)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("grpclib.server").setLevel(logging.WARNING)  # it logs every client that hangs up
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def tell(word: bytes) -> None:
        if ready_fd is not None:
            os.write(ready_fd, word)
            os.close(ready_fd)

    try:
        asyncio.run(Daemon(home).run(lambda _: tell(control.READY)))
    except (DaemonError, DiskFullError) as error:
        tell(str(error).encode())  # not only into the log, for which there may be no room
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
