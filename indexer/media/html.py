"""Read web pages: the words that a reader sees, and the title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.element import Comment, NavigableString, PreformattedString, Tag

from indexer.errors import DamagedMediaError
from indexer.media.text import decode, read_bytes, samples
from indexer.types import DecodeSettings, MediaInfo, Sample

_UNSEEN = frozenset({"script", "style", "template", "noscript", "head", "svg", "iframe", "object", "select", "nav"})

_BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "td",
        "th",
        "title",
        "tr",
        "ul",
    }
)
"""Elements that begin and end a line; the words of all others run on."""

_PARAGRAPHS = frozenset(
    {"article", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "section", "table", "ul"}
)


def open_file(
    path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
) -> tuple[MediaInfo, Iterator[Sample]]:
    """Parse the page; chunks are cut when they are asked for."""
    data = read_bytes(path, settings)
    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    try:
        markup = data.decode(declared) if declared else decode(data, problems)
    except (LookupError, UnicodeDecodeError):
        markup = decode(data, problems)
    # html.parser rather than lxml: it is in the standard library, and reads what browsers would.
    page = BeautifulSoup(markup, "html.parser")
    title = " ".join(page.title.get_text().split()) if page.title else ""
    text = _visible(page)
    if not text:
        raise DamagedMediaError("the page holds no text: it may be filled in by scripts when a browser opens it")
    return MediaInfo("text", format, title=title or None), samples(text, settings)


def _visible(page: BeautifulSoup) -> str:
    parts: list[str] = []
    # A walk with a stack of its own: pages nested a thousand deep exist, and would end in a RecursionError.
    todo: list[Tag | NavigableString | str] = [page]
    while todo:
        node = todo.pop()
        if isinstance(node, Tag):
            if node.name in _UNSEEN:
                continue
            border = "\n\n" if node.name in _PARAGRAPHS else "\n" if node.name in _BLOCKS else ""
            parts.append(border)
            todo.append(_Border(border))
            todo.extend(reversed([child for child in node.contents if isinstance(child, (Tag, NavigableString))]))
        elif isinstance(node, _Border):
            parts.append(node)
        elif not isinstance(node, (Comment, PreformattedString)):
            parts.append(re.sub(r"\s+", " ", node))
    text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", "".join(parts)))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class _Border(str):
    """The end of an element, put on the stack after its children."""
