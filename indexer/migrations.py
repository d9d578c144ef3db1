"""Numbered steps from one schema version to the next. A step that was released is never edited.

SQLite's `user_version` holds the number of steps that were done. Each step and its number are one
transaction, so that a library is always at a whole version.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from indexer.errors import LibraryVersionError

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
            start_seconds FLOAT, end_seconds FLOAT, text VARCHAR, vector BLOB NOT NULL)""",
        "CREATE INDEX segment_encoding ON segment (encoding_id)",
        """CREATE TABLE background (
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE, modality VARCHAR NOT NULL,
            channel VARCHAR NOT NULL, location FLOAT NOT NULL, scale FLOAT NOT NULL, mean FLOAT NOT NULL,
            least FLOAT NOT NULL, size INTEGER NOT NULL, vectors INTEGER NOT NULL, source VARCHAR NOT NULL,
            queries BLOB NOT NULL,
            PRIMARY KEY (generation_id, modality, channel))""",
        """CREATE TABLE bridge (
            generation_id INTEGER NOT NULL REFERENCES generation (id) ON DELETE CASCADE, channel VARCHAR NOT NULL,
            digest VARCHAR NOT NULL, mean BLOB NOT NULL, across BLOB NOT NULL, last_id INTEGER NOT NULL,
            removals INTEGER NOT NULL, report VARCHAR NOT NULL, made_at DATETIME NOT NULL,
            PRIMARY KEY (generation_id, channel))""",
    ),
)


def version_of(connection: Connection) -> int:
    """How many steps this database has behind it; 0 for an empty one."""
    return int(connection.execute(text("PRAGMA user_version")).scalar_one())


def migrate(engine: Engine) -> None:
    """Bring a database to the newest version.

    Raises:
        LibraryVersionError: a newer mmsearch made it.
    """
    with engine.connect() as connection:
        found = version_of(connection)
    if found == len(STEPS):
        return
    if found > len(STEPS):
        raise LibraryVersionError(
            f"this library has schema version {found}, and this mmsearch knows versions up to {len(STEPS)}; "
            "update mmsearch (pip install -U mmsearch), or choose another library with --library"
        )
    for number in range(found + 1, len(STEPS) + 1):
        with engine.connect().execution_options(immediate=True) as connection, connection.begin():
            if version_of(connection) >= number:  # another process was quicker
                continue
            for statement in STEPS[number - 1]:
                connection.execute(text(statement))
            connection.execute(text(f"PRAGMA user_version = {number}"))
