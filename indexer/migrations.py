"""Numbered steps from one schema version to the next. A step that was released is never edited.

SQLite's `user_version` holds the number of steps that were done. Each step and its number are one
transaction, so that a library is always at a whole version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, text

from indexer.errors import LibraryError, LibraryVersionError

_OLDEST_SQLITE = (3, 34)  # the first with a trigram tokenizer

_BY_WORDS = """content_rowid='id', tokenize="unicode61 remove_diacritics 2 categories 'L* M* N* Co'\""""


def _kept_in_step(table: str, columns: str, held: str, indexes: dict[str, dict[str, str]]) -> Iterator[str]:
    """Triggers that keep full-text tables in step with the rows of a table, cascaded deletions included.

    An update takes the old words out and puts the new ones in, in this order, which only one trigger can promise.

    Args:
        table: the table that holds the texts.
        columns: those whose change changes the words.
        held: whether a row has words at all, of its columns.
        indexes: full-text tables, each with the expressions that fill its columns, where {row} is OLD or NEW.
    """
    out, into = [], []
    for index, filled in indexes.items():
        names, values = ", ".join(filled), ", ".join(filled.values())
        out.append(
            f"INSERT INTO {index} ({index}, rowid, {names})"
            f" SELECT 'delete', OLD.id, {values.format(row='OLD')} WHERE OLD.{held};"
        )
        into.append(f"INSERT INTO {index} (rowid, {names}) SELECT NEW.id, {values.format(row='NEW')} WHERE NEW.{held};")
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns.split(", "))
    for event, when, body in (
        ("INSERT", f"NEW.{held}", into),
        ("DELETE", f"OLD.{held}", out),
        (f"UPDATE OF {columns}", changed, out + into),
    ):
        name = f"{table}_words_{event.split()[0].lower()}"
        yield f"CREATE TRIGGER {name} AFTER {event} ON {table} WHEN {when} BEGIN {' '.join(body)} END"


STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key VARCHAR NOT NULL PRIMARY KEY, value VARCHAR NOT NULL)",
        "CREATE TABLE root (id INTEGER NOT NULL PRIMARY KEY, path TEXT NOT NULL UNIQUE)",
        """CREATE TABLE scope (
            root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE, path TEXT NOT NULL,
            PRIMARY KEY (root_id, path))""",
        """CREATE TABLE content (
            id INTEGER NOT NULL PRIMARY KEY, digest VARCHAR NOT NULL, kind VARCHAR NOT NULL, format VARCHAR NOT NULL,
            width INTEGER, height INTEGER, duration_seconds FLOAT, captured_at VARCHAR,
            latitude FLOAT, longitude FLOAT, title VARCHAR, UNIQUE (digest, format))""",
        """CREATE TABLE file (
            id INTEGER NOT NULL PRIMARY KEY, root_id INTEGER NOT NULL REFERENCES root (id) ON DELETE CASCADE,
            directory TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
            state VARCHAR NOT NULL, reason VARCHAR, content_id INTEGER REFERENCES content (id),
            UNIQUE (root_id, directory, name))""",
        "CREATE INDEX file_content ON file (content_id, state)",
        "CREATE INDEX file_missing ON file (root_id) WHERE state = 'missing'",
        """CREATE TABLE generation (
            id INTEGER NOT NULL PRIMARY KEY, spec VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL,
            active BOOLEAN NOT NULL, created_at DATETIME NOT NULL)""",
        """CREATE TABLE tally (
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE, channel VARCHAR NOT NULL,
            last_id INTEGER NOT NULL, vectors INTEGER NOT NULL, removals INTEGER NOT NULL, saved_index VARCHAR,
            PRIMARY KEY (generation_id, channel))""",
        """CREATE TABLE encoding (
            id INTEGER NOT NULL PRIMARY KEY, content_id INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE,
            problem VARCHAR, speech_lines INTEGER, encoded_at DATETIME NOT NULL, UNIQUE (content_id, generation_id))""",
        "CREATE INDEX encoding_generation ON encoding (generation_id)",
        """CREATE TABLE segment (
            id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            encoding_id INTEGER NOT NULL REFERENCES encoding (id) ON DELETE CASCADE, channel VARCHAR NOT NULL,
            start_seconds FLOAT, end_seconds FLOAT, text VARCHAR, look BLOB, norm FLOAT NOT NULL,
            vector BLOB NOT NULL)""",
        "CREATE INDEX segment_encoding ON segment (encoding_id, channel)",
        """CREATE TABLE background (
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE, modality VARCHAR NOT NULL,
            channel VARCHAR NOT NULL, location FLOAT NOT NULL, scale FLOAT NOT NULL, mean FLOAT NOT NULL,
            least FLOAT NOT NULL, last_id INTEGER NOT NULL, size INTEGER NOT NULL, vectors INTEGER NOT NULL,
            source VARCHAR NOT NULL, queries BLOB NOT NULL,
            PRIMARY KEY (generation_id, modality, channel))""",
        """CREATE TABLE bridge (
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE, channel VARCHAR NOT NULL,
            digest VARCHAR NOT NULL, mean BLOB NOT NULL, across BLOB NOT NULL, last_id INTEGER NOT NULL,
            removals INTEGER NOT NULL, report VARCHAR NOT NULL, made_at DATETIME NOT NULL,
            PRIMARY KEY (generation_id, channel))""",
    ),
    (  # Full-text tables: see indexer/tokens.py for the functions, and indexer/words.py for how they are asked.
        "CREATE VIEW segment_text AS SELECT id, text_words(text) AS text FROM segment WHERE text IS NOT NULL",
        "CREATE VIEW content_title AS SELECT id, text_words(title) AS title FROM content WHERE title IS NOT NULL",
        """CREATE VIEW file_name AS SELECT id, name_words(name) AS name, name_words(directory) AS folder,
            whole_names(name) AS whole FROM file WHERE content_id IS NOT NULL""",
        "CREATE VIEW file_stem AS SELECT id, name_parts(name) AS name FROM file WHERE content_id IS NOT NULL",
        f"CREATE VIRTUAL TABLE segment_words USING fts5(text, content='segment_text', {_BY_WORDS})",
        f"CREATE VIRTUAL TABLE title_words USING fts5(title, content='content_title', {_BY_WORDS})",
        f"CREATE VIRTUAL TABLE file_words USING fts5(name, folder, whole, content='file_name', {_BY_WORDS})",
        """CREATE VIRTUAL TABLE file_parts USING fts5(name, content='file_stem', content_rowid='id',
            tokenize='trigram')""",
        *_kept_in_step("segment", "text", "text IS NOT NULL", {"segment_words": {"text": "text_words({row}.text)"}}),
        *_kept_in_step("content", "title", "title IS NOT NULL", {"title_words": {"title": "text_words({row}.title)"}}),
        *_kept_in_step(
            "file",
            "name, directory, content_id",
            "content_id IS NOT NULL",
            {
                "file_words": {
                    "name": "name_words({row}.name)",
                    "folder": "name_words({row}.directory)",
                    "whole": "whole_names({row}.name)",
                },
                "file_parts": {"name": "name_parts({row}.name)"},
            },
        ),
        # A match in a name weighs more than one in the folders above it.
        "INSERT INTO file_words(file_words, rank) VALUES ('rank', 'bm25(4.0, 1.0, 4.0)')",
        *(
            f"INSERT INTO {table}({table}) VALUES ('rebuild')"
            for table in ("segment_words", "title_words", "file_words", "file_parts")
        ),
    ),
    (  # What people say of results: see indexer/feedback.py.
        """CREATE TABLE feedback (
            id INTEGER NOT NULL PRIMARY KEY, query VARCHAR NOT NULL, digest VARCHAR NOT NULL, format VARCHAR NOT NULL,
            start_seconds FLOAT, end_seconds FLOAT, good BOOLEAN NOT NULL, made_at DATETIME NOT NULL)""",
        "CREATE INDEX feedback_content ON feedback (digest, format)",
    ),
    (  # What a generation's vectors go through after the tower: see indexer/adapters.py.
        """CREATE TABLE adapter (
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE, modality VARCHAR NOT NULL,
            space VARCHAR NOT NULL, base_id INTEGER NOT NULL REFERENCES generation (id), matrix BLOB NOT NULL,
            report VARCHAR NOT NULL, made_at DATETIME NOT NULL, PRIMARY KEY (generation_id, modality, space))""",
    ),
    # What bounds the scores that a search need not look at: see mmsearch/nearest.py.
    ("ALTER TABLE background ADD COLUMN rest FLOAT",),
)


def version_of(connection: Connection) -> int:
    """How many steps this database has behind it; 0 for an empty one."""
    return int(connection.execute(text("PRAGMA user_version")).scalar_one())


def _tables(connection: Connection) -> list[str]:
    """The names of all tables."""
    return list(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")).scalars())


def migrate(engine: Engine) -> None:
    """Bring a database to the newest version.

    Raises:
        LibraryVersionError: a newer mmsearch made it.
        LibraryError: it is somebody else's, or this Python's SQLite is too old.
    """
    with engine.connect() as connection:
        found = version_of(connection)
        if not found and (foreign := _tables(connection)):
            raise LibraryError(
                f"this database is no library of mmsearch: it holds {', '.join(foreign[:3])}, and not our tables; "
                "choose another place with --library"
            )
    if found == len(STEPS):
        return
    if found > len(STEPS):
        raise LibraryVersionError(
            f"this library has schema version {found}, and this mmsearch knows versions up to {len(STEPS)}; "
            "update mmsearch (pip install -U mmsearch), or choose another library with --library"
        )
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise LibraryError(
            f"this Python has SQLite {sqlite3.sqlite_version}, and a library needs "
            f"{'.'.join(map(str, _OLDEST_SQLITE))} or newer; use another build of Python"
        )
    for number in range(found + 1, len(STEPS) + 1):
        with engine.connect().execution_options(immediate=True) as connection, connection.begin():
            if version_of(connection) >= number:  # another process was quicker
                continue
            for statement in STEPS[number - 1]:
                connection.execute(text(statement))
            connection.execute(text(f"PRAGMA user_version = {number}"))
