"""Where the local control plane keeps what it owns: one folder below $COLDSNAP_HOME."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

RECORD = "COLDSNAP_RECORD"
"""The variable that means the control plane that records, in all commands."""


def coldsnap_home() -> Path:
    """$COLDSNAP_HOME, else `coldsnap` in the XDG data folder (freedesktop.org's base directory specification)."""
    if explicit := os.environ.get("COLDSNAP_HOME"):
        return Path(explicit).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "coldsnap"


@dataclass(frozen=True)
class Home:
    """Every path of the control plane, by name."""

    root: Path
    records: bool = False
    """Its control plane writes down what it is sent, and neither builds nor starts any of it: see `recording`."""

    @classmethod
    def default(cls) -> "Home":
        """The folder of this user's control plane; with $COLDSNAP_RECORD=1 that of the one that records."""
        records = os.environ.get(RECORD, "") not in {"", "0"}
        return cls(coldsnap_home() / ("recorded" if records else "local"), records)

    @property
    def tag(self) -> str:
        """Eight hexadecimal digits that tell this home's things in the kernel (groups, interfaces) from another's."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]

    @property
    def database(self) -> Path:
        """The control plane's durable state."""
        return self.root / "state.db"

    @property
    def token(self) -> Path:
        """The token that every client must show; mode 0600, made at the first start."""
        return self.root / "token.json"

    @property
    def endpoint(self) -> Path:
        """What the running daemon says of itself: process id, addresses, version."""
        return self.root / "daemon.json"

    @property
    def daemon_lock(self) -> Path:
        """Locked by the daemon for as long as it lives."""
        return self.root / "daemon.lock"

    @property
    def start_lock(self) -> Path:
        """Locked by whoever starts a daemon, so that two who do it at once start one."""
        return self.root / "start.lock"

    @property
    def daemon_log(self) -> Path:
        """What the daemon itself says."""
        return self.root / "daemon.log"

    @property
    def logs(self) -> Path:
        """One file of output per container."""
        return self.root / "logs"

    @property
    def blobs(self) -> Path:
        """Payloads too large for a message."""
        return self.root / "blobs"

    @property
    def volumes(self) -> Path:
        """One folder per volume."""
        return self.root / "volumes"

    @property
    def run(self) -> Path:
        """One folder per running container: its socket, its arguments. Emptied at every start."""
        return self.root / "run"

    @property
    def temporary(self) -> Path:
        """What is needed for a while, in folders of any name: nothing of ours is in /tmp. Emptied at every start."""
        return self.root / "tmp"

    @property
    def disk_image(self) -> Path:
        """A sparse ext4 image: overlayfs refuses layers on the file system whose root is their lowest layer."""
        return self.root / "disk.ext4"

    @property
    def disk(self) -> Path:
        """Where `disk_image` is mounted: image layers, containers' upper layers, snapshots."""
        return self.root / "disk"

    @property
    def tools(self) -> Path:
        """Programs installed beside the system, `criu` among them."""
        return self.root.parent / "tools"

    @property
    def cache(self) -> Path:
        """Caches of package installers, shared by every image that is built here."""
        return self.root.parent / "cache"

    def clear(self) -> None:
        """Empties what outlives no daemon, `run` and `temporary`; nothing that uses them may run any more."""
        for folder in (self.run, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
