"""Writes the Python of an image into a folder: a prefix such as /usr/local, with pip and without anyone's packages.

A Python that every container sees becomes a virtual environment; any other is copied, because what lies in a home
folder, in /opt or in /usr/local of this machine may be hidden from a container or gone tomorrow.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.images.config import ImageError
from localmodal.images.files import copy_file, make_folder, replace_text
from localmodal.images.pythons import RELATIVE_RUN_PATH

if TYPE_CHECKING:
    from localmodal.images.pythons import Python

_NOT_COPIED = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "*.a", "*.o", "*.opt-?.pyc"
)
_TEXT_WITH_PREFIX = (
    "lib/python*/_sysconfigdata*.py",
    "lib/python*/config-*/Makefile",
    "lib/pkgconfig/*.pc",
    "bin/*-config",
)
_PIP = "#!{interpreter}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"


def write_environment(prefix: Path, python: Python, seen_as: Path, *, copied: bool, plain_name: bool = True) -> None:
    """Writes it to `prefix`, which whoever runs it sees as `seen_as`.

    `plain_name`: with `python` beside `python3`, which the standalone builds of the service once lacked.
    """
    if copied:
        _copy(python, prefix, seen_as)
    else:
        _make_virtual(python, prefix)
    names = ["python3", "python"] if plain_name else ["python3"]
    for name in names:
        (prefix / "bin" / name).symlink_to(f"python{python.series}")
    _add_pip(prefix, seen_as, python.series)


def _make_virtual(python: Python, prefix: Path) -> None:
    make_folder(prefix / "bin")
    make_folder(prefix / "lib" / f"python{python.series}" / "site-packages")
    (prefix / "bin" / f"python{python.series}").symlink_to(python.executable)
    lines = [
        f"home = {python.executable.parent}",
        "include-system-site-packages = false",
        f"version = {python.version}",
    ]
    (prefix / "pyvenv.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _copy(python: Python, prefix: Path, seen_as: Path) -> None:
    """Byte code that was compiled already stays valid: it is compared with its source's time, which is copied too."""
    library = f"lib/python{python.series}"
    for part in (library, f"include/python{python.series}"):
        if (python.prefix / part).is_dir():
            shutil.copytree(python.prefix / part, prefix / part, symlinks=True, ignore=_NOT_COPIED)
    for pattern in ("lib/libpython3*.so*", "lib/pkgconfig/python*.pc", f"bin/python{python.series}-config"):
        for path in python.prefix.glob(pattern):
            copy_file(path, prefix / path.relative_to(python.prefix))
    make_folder(prefix / library / "site-packages")
    _copy_executable(python, prefix / "bin" / f"python{python.series}")
    _name_new_prefix(prefix, str(python.prefix), str(seen_as))


def _copy_executable(python: Python, target: Path) -> None:
    """Its shared library is looked up beside it from now on: the old folder's name gives way to a relative one."""
    make_folder(target.parent)
    old, new = python.run_path, RELATIVE_RUN_PATH.ljust(len(python.run_path), b"\0")
    target.write_bytes(python.executable.read_bytes().replace(b"\0%b\0" % old, b"\0%b\0" % new))
    target.chmod(0o755)


def _name_new_prefix(prefix: Path, old: str, new: str) -> None:
    """In the texts that compilers of extension modules read."""
    for path in (path for pattern in _TEXT_WITH_PREFIX for path in prefix.glob(pattern)):
        if path.is_file() and not path.is_symlink():
            replace_text(path, old, new)


def _add_pip(prefix: Path, seen_as: Path, series: str) -> None:
    """Copies the pip that this process's own environment has: pure Python, so it serves every version."""
    try:
        files = metadata.distribution("pip").files or []
    except metadata.PackageNotFoundError as error:
        raise ImageError("pip is not installed beside the local control plane: install it there") from error
    packages = prefix / "lib" / f"python{series}" / "site-packages"
    for file in files:
        if file.parts[0] != "..":
            copy_file(Path(str(file.locate())), packages / file)
    for name in ("pip", "pip3"):
        script = prefix / "bin" / name
        script.write_text(_PIP.format(interpreter=seen_as / "bin" / f"python{series}"), encoding="utf-8")
        script.chmod(0o755)
