"""Paths as the store keeps them: relative to a root, with "/" between parts, of any Unicode or none."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import ColumnElement, Dialect, LargeBinary, Text, TypeDecorator, and_, or_, true, type_coerce


class PathText(TypeDecorator[str]):
    """A path as text; one whose bytes are not UTF-8 as a BLOB of those bytes, so that no name is lost."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Text where it is UTF-8, bytes where it is not."""
        return None if value is None else storable(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Back to the str that `os` functions take."""
        return os.fsdecode(value) if isinstance(value, bytes) else value


def storable(path: str) -> str | bytes:
    """What SQLite can hold of a path: itself, or its bytes when they are not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def relative_to(path: str, root: str) -> str | None:
    """Where `path` lies in `root`, with "/" between parts and "" for the root itself; None when it does not."""
    if path == root:
        return ""
    prefix = root.rstrip(os.sep) + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None


def under(column: Any, scope: str) -> ColumnElement[bool]:
    """Whether a stored folder is `scope` or below it, whether SQLite holds it as text or (not UTF-8) as bytes."""
    if not scope:
        return true()
    # "0" is the character after "/", so from "scope/" to "scope0" is every path that begins with "scope/".
    raw, as_bytes = os.fsencode(scope), type_coerce(column, LargeBinary)
    conditions = [column == scope, and_(as_bytes >= raw + b"/", as_bytes < raw + b"0")]
    if isinstance(storable(scope), str):
        as_text = type_coerce(column, Text)
        conditions.append(and_(as_text >= scope + "/", as_text < scope + "0"))
    return or_(*conditions)
