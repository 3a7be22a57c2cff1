"""The digest of the code that runs in a service's containers: nothing else can change what they do."""

from hashlib import sha256
from pathlib import Path

PACKAGES = ("engines", "spec")
"""What the container gets of this project; in sync with `add_local_python_source` in engines/app.py."""

_SOURCE = Path(__file__).resolve().parents[1]


def code_digest(source: Path = _SOURCE) -> str:
    """One digest of every Python file of `PACKAGES`: the same wherever they lie, and however their lines end."""
    files = (file for package in PACKAGES for file in (source / package).rglob("*.py"))
    named = sorted((file.relative_to(source).as_posix(), file.read_bytes().replace(b"\r\n", b"\n")) for file in files)
    digest = sha256()
    for name, text in named:
        digest.update(f"{name}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()[:16]
