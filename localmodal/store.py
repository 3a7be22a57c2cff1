"""The control plane's durable state: one SQLite database, whole after `kill -9` at any moment.

What survives a restart is here; what belongs to running containers is in memory and is rebuilt or ended at the start.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from localmodal.errors import DiskFullError

log = logging.getLogger(__name__)

_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
"""What SQLite says when the disk ends: in the database or its log, and in the memory that it shares through a file."""


class Store:
    """Thin, typed access to the database. Every change happens inside `transaction()`."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)  # secrets are in it; SQLite's own files beside it get the same mode
        self._folder = path.parent
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        with self._no_room_said():
            # WAL with NORMAL loses nothing when the process dies; only a power cut can lose the last transactions.
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
            self._db.executescript(files("localmodal").joinpath("schema.sql").read_text())

    @contextmanager
    def _no_room_said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) in _NO_ROOM:
                raise DiskFullError(self._folder) from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing (DiskFullError: for lack of room); nested use joins the outer one. Never await inside."""
        if self._db.in_transaction:
            yield self._db
            return
        with self._no_room_said():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # where the disk is full, SQLite may have gone back by itself
                    self._db.execute("ROLLBACK")
                raise

    def write(self, sql: str, *values: Any) -> int:
        """Runs one statement; returns how many rows it changed."""
        with self.transaction() as db:
            return db.execute(sql, values).rowcount

    def note(self, sql: str, *values: Any) -> None:
        """The same for what nothing depends on: on a full disk a line in the log is all that becomes of it."""
        try:
            self.write(sql, *values)
        except DiskFullError as error:
            log.warning("%s", error)

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of the answer, or none."""
        row: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
        return row

    def value(self, sql: str, *values: Any) -> Any:
        """The one value of an answer that always is one row, such as a count."""
        (value,) = self._db.execute(sql, values).fetchone()
        return value

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Every row of the answer."""
        return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """Closes the database; nothing is lost without it."""
        self._db.close()
