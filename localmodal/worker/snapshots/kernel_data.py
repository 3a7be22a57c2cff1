"""CRIU's cache of what the kernel can do, put where CRIU looks for it without a trace of it outside our folders.

CRIU probes the kernel at every start, 30 ms or more, unless it finds `/run/criu.kdat`; it writes that file only where
/run is a tmpfs. Under runc it looks in the mount namespace that runc was started in. So the file is made once, in a
mount namespace with a tmpfs on /run, and each runc that starts CRIU is started in a namespace of its own whose /run is
an overlay of the folder with that file over the machine's /run. It belongs to one kernel and one CRIU build: the daemon
makes it anew at its start.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from pathlib import Path

from localmodal.worker import linux

log = logging.getLogger(__name__)

_RUN = Path("/run")
_FILE = "criu.kdat"


class KernelData:
    """The cache, in a folder of ours; `enter` shows it to the programs that the calling thread starts."""

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
        """Moves the calling thread, and it alone, to where CRIU finds the cache; it must end soon after."""
        if (self._folder / _FILE).exists():
            linux.leave_mounts()
            linux.mount("overlay", _RUN, "overlay", linux.MS_RDONLY, f"lowerdir={self._folder}:{_RUN}")

    def _probe(self) -> None:
        linux.leave_mounts()
        linux.mount("tmpfs", _RUN, "tmpfs")
        # Its answer does not matter: `check` fails for features that nobody asks for here, and writes the file first.
        subprocess.run([self._criu, "check"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
        shutil.copyfile(_RUN / _FILE, self._folder / _FILE)
