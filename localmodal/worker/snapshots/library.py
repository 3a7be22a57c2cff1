"""The snapshots of this machine: each under a name that says all it depends on, whole, and never used once in doubt.

`<name>/` is a snapshot with its `manifest`; `<name>.failures` tells how often it was found bad, and why; what ends in
`.part` or `.gone` is on its way in or out, and is removed at the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import platform
import secrets
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.worker.snapshots.manifest import Verifier, depends_on
from localmodal.worker.snapshots.protocol import Snapshot, SnapshotError

if TYPE_CHECKING:
    from localmodal.worker.container import Container
    from localmodal.worker.snapshots.protocol import Snapshotter

log = logging.getLogger(__name__)

_COMING, _GOING, _FAILURES = ".part", ".gone", ".failures"
_KEPT = 3
"""Snapshots of one family: of what runs, and of the versions that a rollback is most likely to go to."""
_ATTEMPTS = 2
"""A snapshot that was found bad is built once more; after that its containers start cold."""
_WAY_BACK = "`pulumi up --refresh` asks for one more, and so does `python -m localmodal forgive APP`."


@dataclass(frozen=True)
class Failures:
    """What is known against a name."""

    name: str
    count: int
    reason: str
    """Of the last one."""

    @property
    def given_up(self) -> bool:
        """Whether no other snapshot of that name will be taken."""
        return self.count >= _ATTEMPTS


class SnapshotLibrary:
    """Finds, takes, verifies and removes snapshots."""

    def __init__(self, folder: Path, snapshotter: Snapshotter) -> None:
        self._folder = folder
        self._snapshotter = snapshotter
        self._verifier = Verifier()
        self._discarding: set[asyncio.Task[None]] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._depends_on = (platform.release(), _processor(), snapshotter.version)

    def name(self, key: str) -> str:
        """The name of the snapshot for a key: what the control plane starts the container from.

        What stands before a key's last slash is its family, such as the function that it is a version of.
        """
        digest = hashlib.sha256(json.dumps([key, *self._depends_on]).encode()).hexdigest()[:32]
        return "-".join(filter(None, (key.rpartition("/")[0], digest)))

    async def find(self, key: str) -> Snapshot | None:
        """A snapshot that is just as it was written. One that is not is marked bad, and there is none."""
        name = self.name(key)
        snapshot = Snapshot(name, self._folder / name)
        async with self._locks[name]:
            if not snapshot.folder.is_dir():
                return None
            if damage := await asyncio.to_thread(self._verifier.damage, snapshot.folder):
                self.mark_bad(name, damage)
                return None
        return snapshot

    def wanted(self, key: str) -> bool:
        """Whether a cold start should take a snapshot: there is none, and it has not failed too often."""
        name = self.name(key)
        return not (self._folder / name).is_dir() and not self.failures(name).given_up

    async def add(self, key: str, container: Container) -> Snapshot:
        """Takes a snapshot of the container, which runs on. SnapshotError if that fails; nothing is left then."""
        name = self.name(key)
        snapshot = Snapshot(name, self._folder / name)
        part = snapshot.folder.with_suffix(_COMING)
        async with self._locks[name]:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True, mode=0o700)
            try:
                await self._snapshotter.checkpoint(container, part)
                await asyncio.to_thread(self._verifier.seal, part, self._depends_on, snapshot.folder)
                part.rename(snapshot.folder)
            except OSError as error:
                raise SnapshotError(f"the snapshot cannot be written: {error}") from error
            finally:
                await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
        self._retire(_family(name))
        return snapshot

    def mark_bad(self, name: str, reason: str) -> None:
        """Removes a snapshot, and remembers that it failed. Running copies keep what they have mapped."""
        failures = Failures(name, self.failures(name).count + 1, reason)
        self._write_failures(failures)
        self._take_out(name)
        what_next = "it is not taken again" if failures.given_up else "the next cold start takes it once more"
        log.warning("snapshot %s is bad: %s. Starts are cold; %s.", name, reason, what_next)

    def failures(self, name: str) -> Failures:
        """What is known against a name; a count of 0 if nothing is."""
        return _read_failures(self._failures_file(name))

    def doubt(self, key: str) -> str | None:
        """What is known against the snapshot of that key, and what happens now; None if nothing is."""
        failures = self.failures(self.name(key))
        if not failures.count:
            return None
        if failures.given_up:
            what_next = f"No other one is taken, and starts stay cold. {_WAY_BACK}"
        else:
            what_next = "This start is cold and takes another one."
        return f"The memory snapshot was bad: {failures.reason}. {what_next}"

    def sweep(self) -> None:
        """Removes what was half written or half removed, and what this kernel, processor or CRIU cannot restore.

        At the daemon's start, before anything is restored.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in list(self._folder.iterdir()):
            if path.is_file():
                if path.suffix == _COMING:
                    path.unlink()
            elif path.suffix in {_COMING, _GOING} or depends_on(path) != self._depends_on:
                shutil.rmtree(path)

    def discard_all_but(self, families: set[str]) -> None:
        """Discards the snapshots of families that are gone, and what is known against them."""
        for family, names in self._families().items():
            if family not in families:
                for name in names:
                    self._take_out(name)
                    self._failures_file(name).unlink(missing_ok=True)

    def _retire(self, family: str) -> None:
        """Discards the oldest snapshots of a family: every changed line of code makes another one."""
        folders = [self._folder / name for name in self._families().get(family, ())]
        whole = [folder for folder in folders if folder.is_dir()]
        for folder in sorted(whole, key=lambda one: one.stat().st_mtime, reverse=True)[_KEPT:]:
            self._take_out(folder.name)

    def _families(self) -> dict[str, set[str]]:
        """The names of snapshots, and of those that something is known against, by family; without those of none."""
        families: defaultdict[str, set[str]] = defaultdict(set)
        for path in self._folder.iterdir():
            if path.suffix in {"", _FAILURES} and (family := _family(path.stem)):
                families[family].add(path.stem)
        return families

    def _take_out(self, name: str) -> None:
        """Out of sight in one step; the files go when nothing uses them any more."""
        folder = self._folder / name
        self._verifier.forget(folder)
        if folder.is_dir():
            gone = folder.with_suffix(f".{secrets.token_hex(4)}{_GOING}")
            folder.rename(gone)
            discarding = asyncio.create_task(self._snapshotter.discard(Snapshot(name, gone)))
            self._discarding.add(discarding)
            discarding.add_done_callback(self._discarding.discard)

    def _failures_file(self, name: str) -> Path:
        return self._folder / f"{name}{_FAILURES}"

    def _write_failures(self, failures: Failures) -> None:
        file = self._failures_file(failures.name)
        part = file.with_name(f"{file.name}{_COMING}")
        part.write_text(json.dumps({"count": failures.count, "reason": failures.reason}), encoding="utf-8")
        part.rename(file)


def _family(name: str) -> str:
    return name.rpartition("-")[0]


def all_failures(folder: Path) -> list[Failures]:
    """What is known against every name, for whoever asks from another process."""
    return [_read_failures(file) for file in sorted(folder.glob(f"*{_FAILURES}"))]


def forgive(folder: Path, families: set[str]) -> list[str]:
    """Forgets what is known against every name of these families; the names. A running daemon hears of it at once."""
    names = [one.name for one in all_failures(folder) if _family(one.name) in families]
    for name in names:
        (folder / f"{name}{_FAILURES}").unlink(missing_ok=True)
    return names


def _read_failures(file: Path) -> Failures:
    try:
        return Failures(file.stem, **json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Failures(file.stem, 0, "")


def _processor() -> str:
    """Model and features: code that was compiled or chosen at run time for them is in the snapshot."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
    facts = dict(line.partition(":")[::2] for line in lines)
    return " ".join(value.strip() for name, value in facts.items() if name.strip() in wanted)
