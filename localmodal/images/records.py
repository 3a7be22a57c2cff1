"""Rows of images and of the names under which they are published."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from localmodal.errors import not_found
from localmodal.ids import new_id
from localmodal.images.build import Built
from localmodal.images.config import ImageConfig
from localmodal.tasks.tasks import TaskRecord

if TYPE_CHECKING:
    import sqlite3

    from localmodal.store import Store


@dataclass(frozen=True)
class ImageRecord:
    """One image, whatever became of it."""

    id: str
    base_id: str
    builder_version: str
    app_id: str
    task_id: str
    """Under which the output of its build is found."""
    started_at: float
    finished_at: float | None
    """Unix seconds; None: it is being built."""
    error: str | None
    """Of the last build."""
    built: Built | None
    """None: it has no files for the kind of containers that this machine runs now."""
    deleted: bool


@dataclass(frozen=True)
class Tag:
    """One publication of an image under a name."""

    tag: str
    image_id: str
    revision_id: str
    published_at: float
    first_published_at: float


class ImageRecords:
    """All rows of images, with what is built of them for one kind of containers."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store = store
        self._kind = kind

    def begin(self, image_id: str, recipe: str, request: api_pb2.ImageGetOrCreateRequest, task_id: str) -> ImageRecord:
        """The first build of an image begins."""
        base_id = request.image.base_images[0].image_id if request.image.base_images else ""
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO images (id, recipe, definition, base_id, builder_version, app_id, task_id, started_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(image_id, recipe, request.image.SerializeToString(), base_id, request.builder_version),
                    *(request.app_id, task_id, time.time()),
                ),
            )
            if not request.ignore_cache:
                db.execute("INSERT OR REPLACE INTO image_recipes VALUES (?, ?)", (recipe, image_id))
        return self.get(image_id)

    def begin_again(self, image_id: str, task_id: str) -> ImageRecord:
        """Another build of the image begins."""
        self._store.write(
            "UPDATE images SET task_id = ?, started_at = ?, finished_at = NULL, error = NULL WHERE id = ?",
            *(task_id, time.time(), image_id),
        )
        return self.get(image_id)

    def finish(self, image_id: str, built: Built) -> None:
        """From now on the image exists."""
        with self._store.transaction() as db:
            db.execute("UPDATE images SET finished_at = ? WHERE id = ?", (time.time(), image_id))
            db.execute(
                "INSERT INTO image_files VALUES (?, ?, ?, ?, ?)",
                (image_id, self._kind, json.dumps(built.layers), built.config.dump(), built.size_bytes),
            )

    def fail(self, image_id: str, error: str) -> None:
        """Its build failed; the next request for it begins anew."""
        self._store.note("UPDATE images SET finished_at = ?, error = ? WHERE id = ?", time.time(), error, image_id)

    def lose(self, image_id: str) -> None:
        """Its files are gone; they are made anew when somebody needs them."""
        self._store.write("DELETE FROM image_files WHERE image_id = ? AND kind = ?", image_id, self._kind)

    def find(self, image_id: str) -> ImageRecord | None:
        """The image of that id, deleted or not."""
        row = self._row("id = ?", image_id)
        return _record(row) if row else None

    def definition(self, image_id: str) -> api_pb2.Image:
        """What the client asked for."""
        row = self._store.row("SELECT definition FROM images WHERE id = ?", image_id)
        assert row, "asked of images that are there"
        return api_pb2.Image.FromString(row["definition"])

    def get(self, image_id: str) -> ImageRecord:
        """The image of that id; NOT_FOUND if there is none, or none any more."""
        if (record := self.find(image_id)) is None or record.deleted:
            raise not_found("Image", image_id)
        return record

    def build_task(self, task_id: str) -> TaskRecord | None:
        """The build under that id, in the form in which logs are asked for; None if there is none."""
        if (row := self._row("task_id = ?", task_id)) is None:
            return None
        record = _record(row)
        none, times = api_pb2.TASK_SNAPSHOT_BEHAVIOR_NONE, (record.started_at, record.finished_at or 0.0)
        return TaskRecord(task_id, record.app_id, "", record.started_at, *times, none, api_pb2.GenericResult())

    def taken(self, image_id: str) -> bool:
        """An image of that id is built or being built, or was and its files may still be in use."""
        ever_built = "error IS NULL OR id IN (SELECT image_id FROM image_files)"
        return self._row(f"id = ? AND ({ever_built})", image_id) is not None

    def of_recipe(self, recipe: str) -> ImageRecord | None:
        """The image that a recipe leads to, if it was ever begun."""
        row = self._row("id = (SELECT image_id FROM image_recipes WHERE recipe = ?) AND NOT deleted", recipe)
        return _record(row) if row else None

    def all(self) -> list[ImageRecord]:
        """Every image, deleted ones too."""
        return [_record(row) for row in self._store.rows(_IMAGES, self._kind)]

    def never_built(self) -> list[ImageRecord]:
        """Images whose builds failed or were cut off, and that have files of no kind."""
        return [_record(row) for row in self._store.rows(_IMAGES + _NEVER_BUILT, self._kind)]

    def _row(self, condition: str, value: str) -> sqlite3.Row | None:
        return self._store.row(f"{_IMAGES} WHERE {condition}", self._kind, value)

    def chain(self, image_id: str) -> list[ImageRecord]:
        """The images that it was built upon, the lowest first, and itself."""
        record = self.get(image_id)
        return [*self.chain(record.base_id), record] if record.base_id else [record]

    def delete(self, image_id: str) -> None:
        """Nobody can use it from now on; its files go at the next start, since containers may still run on them."""
        self.get(image_id)
        self._store.write("UPDATE images SET deleted = 1 WHERE id = ?", image_id)

    def forget(self, image_id: str) -> None:
        """As if it had never been; the next request for it builds it anew."""
        self._store.write("DELETE FROM images WHERE id = ?", image_id)

    def publish(self, environment: str, tag: str, image_id: str) -> str:
        """Gives the image a name; the id of this revision of it."""
        self.get(image_id)
        revision = new_id("ir")
        self._store.write(
            "INSERT INTO image_tags VALUES (?, ?, ?, ?, ?)", environment, tag, image_id, revision, time.time()
        )
        return revision

    def tagged(self, environment: str, tag: str) -> str:
        """The image that was last published under a name; NOT_FOUND if there is none."""
        if not (revisions := self.revisions(environment, tag)):
            raise not_found("Image", tag, f"Nothing is published under that name in environment '{environment}'.")
        return revisions[0].image_id

    def revisions(self, environment: str, tag: str) -> list[Tag]:
        """Every publication under a name, the youngest first."""
        return _tags(self._store.rows(f"{_TAGS} WHERE environment = ? AND tag = ? {_YOUNGEST}", environment, tag))

    def tags(self, environment: str, prefix: str, image_id: str) -> list[Tag]:
        """What each name stands for now, by name. An empty `image_id`: of any image."""
        rows = self._store.rows(f"{_TAGS} WHERE environment = ? AND substr(tag, 1, ?) = ? {_YOUNGEST}",
                                environment, len(prefix), prefix)  # fmt: skip
        latest: dict[str, Tag] = {}
        for tag in _tags(rows):
            latest.setdefault(tag.tag, tag)
        return sorted((tag for tag in latest.values() if image_id in {"", tag.image_id}), key=lambda tag: tag.tag)

    def unpublish(self, environment: str, tag: str) -> None:
        """Forgets a name and its history; NOT_FOUND if there is none."""
        if not self._store.write("DELETE FROM image_tags WHERE environment = ? AND tag = ?", environment, tag):
            raise not_found("Image", tag)


_IMAGES = (
    "SELECT images.*, files.layers AS own_layers, files.config AS own_config, files.size_bytes AS own_bytes"
    " FROM images LEFT JOIN image_files AS files ON image_id = id AND kind = ?"
)
_NEVER_BUILT = " WHERE (finished_at IS NULL OR error IS NOT NULL) AND id NOT IN (SELECT image_id FROM image_files)"
_TAGS = (
    "SELECT tag, image_id, revision_id, published_at,"
    " min(published_at) OVER (PARTITION BY environment, tag) AS first_published_at FROM image_tags"
)
_YOUNGEST = "ORDER BY published_at DESC"


def _tags(rows: list[sqlite3.Row]) -> list[Tag]:
    return [Tag(**dict(row)) for row in rows]


def _record(row: sqlite3.Row) -> ImageRecord:
    built = None
    if row["own_layers"]:
        built = Built(tuple(json.loads(row["own_layers"])), ImageConfig.load(row["own_config"]), row["own_bytes"])
    names = ("id", "base_id", "builder_version", "app_id", "task_id", "started_at", "finished_at", "error")
    return ImageRecord(**{name: row[name] for name in names}, built=built, deleted=bool(row["deleted"]))
