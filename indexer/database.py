"""The database file of a library: how it is opened, read and written, and what its errors mean to a person."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from indexer import tokens
from indexer.errors import LibraryDamagedError, LibraryError, LibraryLockedError
from indexer.functions import register
from indexer.memo import Answer, Changes, Memo
from indexer.migrations import migrate
from indexer.schema import Meta

_PATIENCE_SECONDS = 30
_FACTS = 64  # small answers that are kept
_MAPPED_BYTES = 2**31  # of a database file; the rest of a larger one is read


class Database:
    """One SQLite file in WAL mode, with the tables of `indexer/schema.py`. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closed = False
        self._engine = create_engine(_url(path), connect_args={"timeout": _PATIENCE_SECONDS, "uri": True})
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        self._changes = Changes(self._engine)
        self._memo = Memo(self._changes)
        self._facts = Memo(self._changes, _FACTS)
        try:
            with self._clear_errors():
                migrate(self._engine)
        except BaseException:
            self.close()
            raise
        self.library_id: str = self._meta("library_id") or self._name_library()

    def _name_library(self) -> str:
        with self.writing() as connection:  # IGNORE: another process may have named it meanwhile
            connection.execute(insert(Meta).prefix_with("OR IGNORE").values(key="library_id", value=uuid.uuid4().hex))
        return self._meta("library_id") or ""

    def _meta(self, key: str) -> str | None:
        with self.reading() as connection:
            return connection.execute(select(Meta.value).where(Meta.key == key)).scalar()

    def close(self) -> None:
        """Give back every connection. The store cannot be used after this."""
        self._closed = True
        self._changes.close()
        self._engine.dispose()

    def fact(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """The same as `kept`, for what is small and asked for by every query: what is large does not crowd it out."""
        with self._clear_errors():
            return self._facts.get(key, make)

    def kept(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """What `make` gave for this key when it was last asked for, unless the store has changed since then."""
        with self._clear_errors():
            return self._memo.get(key, make)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the store, which no writer changes."""
        with self._clear_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it is kept, or none."""
        connect = self._engine.connect
        with self._clear_errors(), connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Say what SQLite's errors mean for the person who meets them."""
        if self._closed:
            raise LibraryError(f"the library {self.path.parent} was closed; open it again")
        try:
            yield
        except DatabaseError as error:
            said = str(error.orig)
            if isinstance(error, (IntegrityError, ProgrammingError)):
                raise
            if "locked" in said:
                raise LibraryLockedError(
                    f"another process has been writing to {self.path} for over {_PATIENCE_SECONDS} s; "
                    "try again when it is done"
                ) from error
            if "readonly" in said or "unable to open" in said:
                raise LibraryError(
                    f"{self.path} may not be written to ({said}); allow it, or choose another library with --library"
                ) from error
            if "full" in said:
                raise LibraryError(f"there is no room on the disk for {self.path}; make some and try again") from error
            raise self._damaged(said) from error
        except UnicodeDecodeError as error:  # Python's own, where SQLite's message quotes a damaged schema
            raise self._damaged("what it says of its tables is no text") from error

    def _damaged(self, said: str) -> LibraryDamagedError:
        return LibraryDamagedError(
            f"{self.path} cannot be used as a library ({said}); restore the library's folder from a backup, or "
            "remove it and index again"
        )


def _url(path: Path) -> URL:
    """How to open a database: for reading only where the folder or the file may not be written to.

    Without a folder to write to, SQLite cannot share a database in WAL mode, unless it is told that nobody
    changes it ("immutable"). That is so when there is no log of changes beside it.
    """
    uri = path.absolute().as_uri()
    query = {"uri": "true"}
    if path.exists() and not (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)):
        query["mode"] = "ro"
        log = path.with_name(path.name + "-wal")
        if not (log.exists() and log.stat().st_size):
            query["immutable"] = "1"
    return URL.create("sqlite", database=uri, query=query)


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    """Transactions are ours to begin (SQLAlchemy's recipe for pysqlite), and each connection has our settings."""
    connection.isolation_level = None
    register(connection)
    tokens.register(connection)
    # The views and triggers of the full-text tables call functions of ours, which some builds forbid unless told.
    # Mapped, rows that lie all over the file are read two to four times as fast: benchmarks/query_speed.py.
    mapped = f"mmap_size={_MAPPED_BYTES}"
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY", "trusted_schema=ON", mapped):
        connection.execute(f"PRAGMA {pragma}")
    with contextlib.suppress(sqlite3.OperationalError):  # read-only: whoever made it has set this
        connection.execute("PRAGMA journal_mode=WAL")


def _on_begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
