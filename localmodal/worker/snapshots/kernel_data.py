"""Where CRIU runs: with its cache of what the kernel can do, and without leaving a trace outside our folders.

CRIU probes the kernel at every start, 30 ms or more, unless it finds `/run/criu.kdat`; it writes that file only where
/run is a tmpfs. Under runc it looks in the mount namespace that runc was started in. So the file is made once, in a
mount namespace with a tmpfs on /run, and each runc that starts CRIU is started in a namespace of its own whose /run is
an overlay of the folder with that file over the machine's /run. It belongs to one kernel and one CRIU build: the daemon
makes it anew at its start.

CRIU also makes folders in /tmp, by a name that cannot be changed, and leaves them there if it is killed. So that
namespace has a /tmp of its own, in which nothing of the machine's is left but what CRIU needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from pathlib import Path

from localmodal.worker import linux

log = logging.getLogger(__name__)

_RUN, _TMP = Path("/run"), Path("/tmp")  # noqa: S108  # what is made there is what this is about
_FILE = "criu.kdat"


class KernelData:
    """The cache; `enter` shows it to the programs that the calling thread starts.

    `folder` is made for it, beside all that CRIU reads and writes.
    """

    def __init__(self, folder: Path, criu: Path) -> None:
        self._folder = folder
        self._criu = criu

    async def make(self) -> None:
        """Has CRIU probe the kernel. Without the cache everything works, more slowly, so a failure is only logged."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o755)
        if self._folder.is_relative_to(_RUN):
            return  # what is mounted below /run cannot be seen through the overlay: our disk must stay visible
        try:
            await asyncio.to_thread(linux.in_own_thread, self._probe)
        except OSError as error:
            log.warning("CRIU starts without its kernel cache, some 30 ms slower: %s", error)

    def enter(self) -> None:
        """Moves the calling thread, and it alone, to where CRIU leaves no trace and finds the cache.

        The thread must end soon after.
        """
        linux.leave_mounts()
        if (self._folder / _FILE).exists():
            linux.mount("overlay", _RUN, "overlay", linux.MS_RDONLY, f"lowerdir={self._folder}:{_RUN}")
        _empty_tmp(but_for={self._folder.parent, self._criu.parent, self._criu.resolve().parent})

    def _probe(self) -> None:
        linux.leave_mounts()
        linux.mount("tmpfs", _RUN, "tmpfs")
        # Its answer does not matter: `check` fails for features that nobody asks for here, and writes the file first.
        subprocess.run([self._criu, "check"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
        shutil.copyfile(_RUN / _FILE, self._folder / _FILE)


def _empty_tmp(but_for: set[Path]) -> None:
    """Mounts a new /tmp, and in it those of the folders that lie in the old one, with what is mounted below them."""
    kept = {path: os.open(path, os.O_PATH) for path in but_for if path.is_relative_to(_TMP)}
    linux.mount("tmpfs", _TMP, "tmpfs")
    for path, handle in kept.items():
        path.mkdir(parents=True, exist_ok=True)
        linux.mount(f"/proc/self/fd/{handle}", path, flags=linux.MS_BIND | linux.MS_REC)
        os.close(handle)
