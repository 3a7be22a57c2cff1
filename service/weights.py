"""Operation: puts weights on a service's Volume, looks whether they are still whole, or removes them.

A Volume holds a folder for each revision and, beside it, what is in it (`<folder>.json`): written last, so a folder
without one is a download that was cut off, and the next try goes on with it.
"""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modal
from modal.exception import NotFoundError
from modal.types import FileEntryType

from engines.weights import FetchError, source_of
from service import live, local_files
from service.failure import Failure
from service.images import BuildOutput
from service.process import serve
from spec import Weights
from spec.deployment import WEIGHTS_TAG, weights_volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.progress import Progress

_OWNER = "owner.json"
_VARIABLE = "COLDSNAP_WEIGHTS"  # in sync with engines.weights_app, which can be imported only once it is set


def work(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Does what the request's `verb` says: put, look or remove."""
    return _VERBS[request["verb"]](request, progress)


def _put(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The Volume, and what is in the folder, all of it verified."""
    name, folder = weights_volume(request["app_name"]), request["folder"]
    weights = Weights.model_validate(request["weights"])
    volume = _claimed(name, request)
    if (files := _whole(volume, folder)) is None:
        files = _uploaded(volume, folder, weights) if weights.path else _fetched(name, folder, weights, progress)
        _write(volume, f"{folder}.json", files)
    return {"volume": name, "bytes": sum(file["size"] for file in files), "files": len(files)}


def _claimed(name: str, request: Mapping[str, Any]) -> modal.Volume:
    """The Volume, made if it is not there; Failure if it is somebody else's."""
    volume = modal.Volume.from_name(name, create_if_missing=True)
    owner, there = _read(volume, _OWNER), volume.listdir("/")
    if owner is None and not there:
        _write(volume, _OWNER, request["owner"])
    elif owner != request["owner"]:
        whose = f"belongs to {owner}" if owner else "was not made by Coldsnap"
        raise Failure(
            f"{request['app_name']}: a Volume of the name {name} is there and {whose}; this stack is "
            f"{request['owner']}. Give the service another name, or remove the Volume: modal volume delete {name}"
        )
    return volume


def _fetched(name: str, folder: str, weights: Weights, progress: Progress) -> list[dict[str, Any]]:
    """By a function on Modal, from the source to the Volume."""
    source = source_of(weights.model_dump(mode="json"), weights.file)
    os.environ[_VARIABLE] = json.dumps(
        {"volume": name, "folder": folder, "source": source, "secret": weights.token_secret}
    )
    from engines.weights_app import app, fill  # noqa: PLC0415 - it reads the variable

    try:
        with redirect_stdout(BuildOutput(progress)), modal.enable_output(), app.run():
            for said in fill.remote_gen():
                if "files" in said:
                    return list(said["files"])
                progress.status(f"weights: {said['status']}")
    except FetchError as error:
        raise Failure(str(error)) from error
    raise Failure(f"{name}: the function that fetches the weights ended without a result. `pulumi up` goes on.")


def _uploaded(volume: modal.Volume, folder: str, weights: Weights) -> list[dict[str, Any]]:
    """A file or a folder of this machine: the one source that goes through it."""
    found = local_files.carried(Path(str(weights.path)))
    files = {f"{weights.file}/{name}".rstrip("/"): file for name, file in found.items()}
    with volume.batch_upload(force=True) as batch:
        for name, file in files.items():
            batch.put_file(file, f"{folder}/{name}")
    return [
        {"name": name, "size": file.stat().st_size, "sha256": local_files.digest_of(file)}
        for name, file in files.items()
    ]


def _look(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Which damage there is; none if all is as it was put."""
    progress.status("looking at the Volume")
    volume, folder = modal.Volume.from_name(weights_volume(request["app_name"])), request["folder"]
    try:
        files = _read(volume, f"{folder}.json")
    except NotFoundError:
        return {"damage": "the Volume is gone"}
    if files is None:
        return {"damage": f"the folder {folder} is gone, or was never whole"}
    wrong = _differing(volume, folder, files)
    return {"damage": f"gone, or of another size: {', '.join(wrong)}" if wrong else None}


def _remove(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Removes a folder that no live version reads, and the Volume with the last one."""
    app_name, folder = request["app_name"], request["folder"]
    _refuse_if_needed(app_name, folder)
    name = weights_volume(app_name)
    volume = modal.Volume.from_name(name)
    with suppress(NotFoundError):
        if _read(volume, _OWNER) != request["owner"]:
            return {}
        progress.status(f"removing {folder}")
        for path in (f"{folder}.json", folder):  # what says that the folder is whole goes first
            with suppress(FileNotFoundError):
                volume.remove_file(path, recursive=True)
        if not any(entry.type is FileEntryType.DIRECTORY for entry in volume.listdir("/")):
            modal.Volume.objects.delete(name, allow_missing=True)
    return {}


def _refuse_if_needed(app_name: str, folder: str) -> None:
    if (found := live.find(app_name)) is None:
        return
    if modal.App.lookup(app_name).get_tags().get(WEIGHTS_TAG) == folder:
        raise Failure(
            f"{app_name}: version {found.version} is live and reads its weights from the folder {folder} of "
            f"{weights_volume(app_name)}: without them its containers cannot be restored. Deploy a version that needs "
            "other weights first (`pulumi up` does), or stop the service."
        )


def _whole(volume: modal.Volume, folder: str) -> list[dict[str, Any]] | None:
    """The files of a folder that is complete; none if it is not."""
    files: list[dict[str, Any]] | None = _read(volume, f"{folder}.json")
    return None if files is None or _differing(volume, folder, files) else files


def _differing(volume: modal.Volume, folder: str, files: list[dict[str, Any]]) -> list[str]:
    """The files that are not there as they were put."""
    there: dict[str, int] = {}
    with suppress(FileNotFoundError):
        entries = volume.listdir(folder, recursive=True)
        there = {entry.path.strip("/").removeprefix(f"{folder}/"): entry.size for entry in entries}
    return [file["name"] for file in files if there.get(file["name"]) != file["size"]]


def _read(volume: modal.Volume, path: str) -> Any:
    """A small file's content; none if there is none. NotFoundError if there is no such Volume."""
    try:
        return json.loads(b"".join(volume.read_file(path)))
    except FileNotFoundError:
        return None


def _write(volume: modal.Volume, path: str, content: object) -> None:
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(json.dumps(content).encode()), path)


_VERBS = {"put": _put, "look": _look, "remove": _remove}


if __name__ == "__main__":
    serve(work)
