"""What of this machine a container must not see, hidden by one overlay layer between the image's layers and the root.

Of the top folders and of /var only what programs need is left. Below /etc whatever other users of this machine may not
read is gone: shadow files, private keys, sudoers. Our own state and the project's folder are hidden wherever they lie.

A mask never changes once it is made (overlayfs forbids that while it is in use): it is named by what it hides.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import localmodal

_VISIBLE_TOP = frozenset({"bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr", "var"})
_VISIBLE_VAR_LIB = frozenset({
    "alternatives", "apk", "apt", "dbus", "dnf", "dpkg", "emacsen-common", "gcc", "locales", "misc", "pacman", "pam",
    "python", "rpm", "sgml-base", "shells.state", "systemd", "ucf", "update-rc.d", "vim", "xml-core",
})  # fmt: skip
_CREDENTIALS = (
    "etc/boto.cfg", "etc/cloud", "etc/docker", "etc/google-cloud", "etc/kubernetes", "etc/letsencrypt", "etc/rancher",
    "etc/NetworkManager", "etc/netplan", "etc/openvpn", "etc/ssh", "etc/ssl/private", "etc/wireguard",
)  # fmt: skip
_EMPTY_FOLDERS = {
    "run/coldsnap": 0o755, "run/lock": 0o1777, ".memory": 0o755, "root": 0o700, "home": 0o755, "tmp": 0o1777,
    "var/tmp": 0o1777, "var/log/apt": 0o755, "var/cache/apt/archives/partial": 0o755, "var/cache/debconf": 0o755,
    "var/cache/ldconfig": 0o700, "var/spool": 0o755, "var/mail": 0o755, "dev": 0o755, "proc": 0o755, "sys": 0o755,
}  # fmt: skip
"""What programs and mounts expect to find, as empty folders."""
_SEARCHED = ("etc", "usr/local/etc")
"""Where files and folders that others may not read are looked for."""
_WATCHED = ("/", "/var", "/var/lib")


@dataclass(frozen=True)
class Mask:
    """What is hidden, as paths below the root without a leading slash."""

    folders: frozenset[str]
    files: frozenset[str]
    replaced: tuple[tuple[str, str], ...]
    """Files that a container sees with other content."""

    @property
    def name(self) -> str:
        """Digest of all of it."""
        parts = (sorted(self.folders), sorted(self.files), self.replaced, sorted(_EMPTY_FOLDERS))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Masks:
    """The folder of masks; a new one is made when something new has to be hidden."""

    def __init__(self, folder: Path, ours: tuple[Path, ...]) -> None:
        self._folder = folder
        self._ours = (*ours, *_project())
        self._watched: list[str] = []
        self._seen: list[int] = []
        self._current = folder

    def current(self) -> Path:
        """The layer that hides what must be hidden now; cheap when nothing has appeared since the last time."""
        if not self._seen or [_changed_at(path) for path in self._watched] != self._seen:
            self._watched = [*_WATCHED, *(where for top in _SEARCHED for where, _, _ in os.walk(f"/{top}"))]
            self._seen = [_changed_at(path) for path in self._watched]
            mask = mask_of(Path("/"), self._ours)
            self._current = self._folder / mask.name
            if not self._current.exists():
                self._make(mask)
        return self._current

    def clear(self) -> None:
        """Removes all masks; no container may be running."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._seen = []

    def _make(self, mask: Mask) -> None:
        part = self._folder / f"{mask.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(mask, part)
        part.rename(self._current)


def mask_of(root: Path, ours: tuple[Path, ...]) -> Mask:
    """Looks at a machine's root as it is now."""
    hidden = [path for path in root.iterdir() if path.name not in _VISIBLE_TOP]
    hidden += [path for path in root.glob("var/*") if path.name != "lib"]
    hidden += [path for path in root.glob("var/lib/*") if path.name not in _VISIBLE_VAR_LIB]
    hidden += [root / name for name in _CREDENTIALS]
    hidden += [path for top in _SEARCHED for path in _private_below(root / top)]
    hidden += [path.resolve() for path in ours]
    folders = {str(path.relative_to(root)) for path in hidden if path.is_dir() and not path.is_symlink()}
    files = {str(path.relative_to(root)) for path in hidden if path.is_file() and not path.is_symlink()}
    return Mask(_outermost(folders, folders), _outermost(files, folders), _replaced(root))


def write(mask: Mask, layer: Path) -> None:
    """Makes the overlay layer of a mask in an empty folder."""
    for name, mode in _EMPTY_FOLDERS.items():
        (layer / name).mkdir(parents=True, exist_ok=True)
        (layer / name).chmod(mode)
    for name in mask.folders | mask.files:
        if (layer / name).is_dir():
            os.setxattr(layer / name, "trusted.overlay.opaque", b"y")
            continue
        (layer / name).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(layer / name, stat.S_IFCHR, os.makedev(0, 0))  # overlayfs' sign for "there is nothing here"
    for name, content in mask.replaced:
        (layer / name).parent.mkdir(parents=True, exist_ok=True)
        (layer / name).unlink(missing_ok=True)
        (layer / name).write_text(content, encoding="utf-8")


def _outermost(names: set[str], folders: set[str]) -> frozenset[str]:
    """Those that do not lie in a folder that is hidden already: their very names would tell something."""
    return frozenset(name for name in names if not any(str(above) in folders for above in Path(name).parents))


def _private_below(folder: Path) -> list[Path]:
    """Files that others may not read, and folders that they may not enter."""
    private = []
    for where, folders, files in os.walk(folder):
        shut = [name for name in folders if not _mode(Path(where, name)) & stat.S_IXOTH]
        folders[:] = [name for name in folders if name not in shut]
        private += [Path(where, name) for name in shut]
        private += [Path(where, name) for name in files if not _mode(Path(where, name)) & stat.S_IROTH]
    return private


def _changed_at(folder: str) -> int:
    """When an entry was last added or removed."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # hundreds of times at each start
    except OSError:
        return 0


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0o777  # gone since it was listed


def _replaced(root: Path) -> tuple[tuple[str, str], ...]:
    """Accounts with their passwords locked (package managers need the files), and name servers that can be reached."""
    accounts = [line.split(":")[0] for line in (root / "etc/passwd").read_text(encoding="utf-8").splitlines()]
    groups = [line.split(":")[0] for line in (root / "etc/group").read_text(encoding="utf-8").splitlines()]
    return (
        ("etc/shadow", "".join(f"{name}:*:19000:0:99999:7:::\n" for name in accounts)),
        ("etc/gshadow", "".join(f"{name}:*::\n" for name in groups)),
        ("etc/resolv.conf", _name_servers(root)),
    )


def _name_servers(root: Path) -> str:
    """The machine's own; for systemd's stub at 127.0.0.53, out of reach from another network, its upstream list."""
    for path in ("run/systemd/resolve/resolv.conf", "etc/resolv.conf"):
        if (root / path).is_file():
            return (root / path).read_text(encoding="utf-8", errors="replace")
    return ""


def _project() -> tuple[Path, ...]:
    """The folder that this program runs from, unless it is installed: then there is nothing in it but programs."""
    folder = Path(localmodal.__file__).resolve().parents[1]
    return () if folder.is_relative_to(sys.prefix) else (folder,)
