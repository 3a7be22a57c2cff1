"""Reads and writes the three kinds of CRIU image files that tell where a process's memory comes from.

Only the fields that are read or changed here are declared. Protobuf carries every other field of a message through
unread, so an image of a newer CRIU keeps what this file has never heard of. Field numbers: CRIU's `images/*.proto`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

PAGE = 4096
"""Bytes. CRIU counts memory in the kernel's pages; x86-64 has no others."""

_SIZE = struct.Struct("<I")
_MAGIC = struct.Struct("<II")
_COMMON_MAGIC = 0x54564319


class _Field(NamedTuple):
    number: int
    type: str
    """A protobuf scalar type, or the name of another message below."""
    label: str = "optional"


_MESSAGES: dict[str, dict[str, _Field]] = {
    "vma_entry": {
        "start": _Field(1, "uint64", "required"),
        "end": _Field(2, "uint64", "required"),
        "pgoff": _Field(3, "uint64", "required"),
        "shmid": _Field(4, "uint64", "required"),
        "prot": _Field(5, "uint32", "required"),
        "flags": _Field(6, "uint32", "required"),
        "status": _Field(7, "uint32", "required"),
        "madv": _Field(9, "uint64"),
        "fdflags": _Field(10, "uint32"),
    },
    "mm_entry": {
        "mm_start_brk": _Field(6, "uint64", "required"),
        "mm_brk": _Field(7, "uint64", "required"),
        "vmas": _Field(14, "vma_entry", "repeated"),
    },
    "pagemap_head": {"pages_id": _Field(1, "uint32", "required")},
    "pagemap_entry": {
        "vaddr": _Field(1, "uint64", "required"),
        "compat_nr_pages": _Field(2, "uint32", "required"),
        "in_parent": _Field(3, "bool"),
        "flags": _Field(4, "uint32"),
        "nr_pages": _Field(5, "uint64"),
    },
    "fown_entry": {
        "uid": _Field(1, "uint32", "required"),
        "euid": _Field(2, "uint32", "required"),
        "signum": _Field(3, "uint32", "required"),
        "pid_type": _Field(4, "uint32", "required"),
        "pid": _Field(5, "uint32", "required"),
    },
    "reg_file_entry": {
        "id": _Field(1, "uint32", "required"),
        "flags": _Field(2, "uint32", "required"),
        "pos": _Field(3, "uint64", "required"),
        "fown": _Field(5, "fown_entry", "required"),
        "name": _Field(6, "string", "required"),
    },
    "file_entry": {
        "type": _Field(1, "uint32", "required"),  # an enum in CRIU's own definition; the same bytes
        "id": _Field(2, "uint32", "required"),
        "reg": _Field(3, "reg_file_entry"),
    },
}


def _message_classes() -> dict[str, Any]:
    field_proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="coldsnap/criu.proto", syntax="proto2")
    for message, fields in _MESSAGES.items():
        proto = file.message_type.add(name=message)
        for name, field in fields.items():
            entry = proto.field.add(name=name, number=field.number)
            entry.label = field_proto.Label.Value(f"LABEL_{field.label.upper()}")
            if field.type in _MESSAGES:
                entry.type, entry.type_name = field_proto.TYPE_MESSAGE, f".{field.type}"
            else:
                entry.type = field_proto.Type.Value(f"TYPE_{field.type.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in _MESSAGES}


_CLASSES = _message_classes()
# The classes are made at import time, so no type checker can know their fields: each is `Any` on purpose.
VmaEntry: Any = _CLASSES["vma_entry"]
MmEntry: Any = _CLASSES["mm_entry"]
PagemapHead: Any = _CLASSES["pagemap_head"]
PagemapEntry: Any = _CLASSES["pagemap_entry"]
FileEntry: Any = _CLASSES["file_entry"]
RegFileEntry: Any = _CLASSES["reg_file_entry"]
FownEntry: Any = _CLASSES["fown_entry"]


class ImageKind(NamedTuple):
    """One kind of image file: its magic number and what its records are."""

    name: str
    magic: int
    first: Any
    rest: Any


MM = ImageKind("mm", 0x57492820, MmEntry, MmEntry)
PAGEMAP = ImageKind("pagemap", 0x56084025, PagemapHead, PagemapEntry)
FILES = ImageKind("files", 0x56303138, FileEntry, FileEntry)


class ImageError(Exception):
    """A CRIU image file is not what its name says, or holds what is not handled here."""


def read_image(path: Path, kind: ImageKind) -> list[Any]:
    """Every record of an image file."""
    data = path.read_bytes()
    if len(data) < _MAGIC.size or _MAGIC.unpack_from(data) != (_COMMON_MAGIC, kind.magic):
        raise ImageError(f"{path}: not a CRIU image of kind {kind.name}")
    return [_parse(path, kind, index, raw) for index, raw in enumerate(_records(path, data))]


def write_image(path: Path, kind: ImageKind, records: Iterable[Message]) -> None:
    """Writes an image file anew."""
    with path.open("xb") as file:
        file.write(_MAGIC.pack(_COMMON_MAGIC, kind.magic))
        for record in records:
            raw = record.SerializeToString()
            file.write(_SIZE.pack(len(raw)) + raw)


def _records(path: Path, data: bytes) -> Iterator[bytes]:
    at = _MAGIC.size
    while at < len(data):
        if at + _SIZE.size > len(data):
            raise ImageError(f"{path}: ends in the middle of a record")
        (size,) = _SIZE.unpack_from(data, at)
        at += _SIZE.size
        if at + size > len(data):
            raise ImageError(f"{path}: ends in the middle of a record")
        yield data[at : at + size]
        at += size


def _parse(path: Path, kind: ImageKind, index: int, raw: bytes) -> Any:
    try:
        return (kind.rest if index else kind.first).FromString(raw)
    except Exception as error:  # protobuf's own DecodeError and, for required fields, others
        raise ImageError(f"{path}: record {index} is damaged: {error}") from error
