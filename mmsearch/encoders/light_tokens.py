"""Tokenizers of text towers without torch, open_clip and transformers: for a query, which does not wait for these.

`ClipTokens` is open_clip's own tokenizer (open_clip.tokenizer.SimpleTokenizer, after OpenAI's CLIP, MIT) written anew,
and `FastTokens` a tokenizer of the `tokenizers` package, as transformers drives it. `kept_text.py` makes sure that each
gives the same tokens as the original before it is used.
"""

from __future__ import annotations

import re
import string
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TokenIds = NDArray[np.int64]

# open_clip.tokenizer.SimpleTokenizer: its special tokens, the last of 49,408.
_SPECIAL = ("<start_of_text>", "<end_of_text>")
_BYTES = 256

_REST = r"|'s|'t|'re|'ve|'m|'ll|'d|{letters}|{digit}|[^\s{others}]+"
_PLAIN_WORDS = re.compile(
    "|".join(_SPECIAL) + _REST.format(letters="[a-z]+", digit="[0-9]", others="a-z0-9"), re.IGNORECASE | re.ASCII
)


class LightTokenizer(Protocol):
    """A text tower's tokenizer."""

    def prepare(self, text: str) -> TokenIds:
        """Token ids of a text, cut and padded as its tower reads them: (tokens,) int64."""

    def count(self, text: str) -> int:
        """How many tokens the whole text has, special ones included."""


@dataclass(frozen=True)
class ClipTokens:
    """open_clip's own tokenizer.

    `merges`: its table of pairs of symbols, one in a line, in the order in which they are joined. `clean`: what is done
    to a text before: a key of `CLEANERS`.
    """

    merges: bytes
    max_tokens: int
    clean: str

    def prepare(self, text: str) -> TokenIds:
        """Token ids, cut to `max_tokens` and padded with 0: (max_tokens,) int64."""
        ids = self._ids(text)
        if len(ids) > self.max_tokens:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        padded = np.zeros(self.max_tokens, np.int64)
        padded[: len(ids)] = ids
        return padded

    def count(self, text: str) -> int:
        """How many tokens the whole text has, special ones included."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        first = 2 * _BYTES + len(self._ranks)
        special = {word: first + at for at, word in enumerate(_SPECIAL)}
        ids = [special[_SPECIAL[0]]]
        for word in _words(CLEANERS[self.clean](text)):
            ids += [special[word]] if word in special else self._joined(word)
        return [*ids, special[_SPECIAL[1]]]

    def _joined(self, word: str) -> list[int]:
        """The ids of a word's symbols: its bytes, pairs of which are joined, the first in the table first."""
        symbols = [_SYMBOLS[byte] for byte in word.encode("utf-8", "surrogatepass")]
        ids = [_SYMBOL_IDS[symbol] for symbol in symbols]
        symbols[-1] += "</w>"
        ids[-1] += _BYTES
        while len(symbols) > 1:
            pairs = [f"{left} {right}" for left, right in pairwise(symbols)]
            rank, pair = min((self._ranks.get(pair, len(self._ranks)), pair) for pair in pairs)
            if rank == len(self._ranks):
                break
            at = 0
            while at < len(symbols) - 1:
                if f"{symbols[at]} {symbols[at + 1]}" == pair:
                    symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
                    ids[at : at + 2] = [2 * _BYTES + rank]
                at += 1
        return ids

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {pair: rank for rank, pair in enumerate(self.merges.decode("utf-8").split("\n"))}


@dataclass(frozen=True)
class FastTokens:
    """A tokenizer of the `tokenizers` package.

    `json`: what it is made of. `clean`: what is done to a text before: a key of `CLEANERS`. `pad_id`: what fills a text
    up to `max_tokens`; None for no filling. `zeroed_id`: a token that becomes 0 in the end.
    """

    json: bytes
    max_tokens: int
    clean: str
    pad_id: int | None
    zeroed_id: int | None = None

    def prepare(self, text: str) -> TokenIds:
        """Token ids, cut, and padded if there is a `pad_id`: (tokens,) int64."""
        text = CLEANERS[self.clean](text)
        with self._turn:
            ids = self._tokenizer.encode(text).ids
            if len(ids) > self.max_tokens:
                self._tokenizer.enable_truncation(self.max_tokens)
                ids = self._tokenizer.encode(text).ids
                self._tokenizer.no_truncation()
        if self.pad_id is not None:
            ids = ids + [self.pad_id] * (self.max_tokens - len(ids))
        found = np.array(ids, np.int64)
        return found if self.zeroed_id is None else np.where(found == self.zeroed_id, 0, found)

    def count(self, text: str) -> int:
        """How many tokens the whole text has, special ones included."""
        with self._turn:
            return len(self._tokenizer.encode(CLEANERS[self.clean](text)).ids)

    @cached_property
    def _turn(self) -> threading.Lock:
        """Held while it is used: whether it cuts is a state of the tokenizer."""
        return threading.Lock()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_buffer(self.json)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


KINDS: dict[str, Callable[..., Any]] = {"clip": ClipTokens, "fast": FastTokens}
"""What makes a tokenizer of its table (bytes) and its other fields, by name."""


# --- what is done to a text before ---


def _is_plain(text: str) -> bool:
    """Whether a text has nothing that needs mending: printable ASCII, without what could be an HTML entity."""
    return text.isascii() and text.isprintable() and "&" not in text


def _mended(text: str) -> str:
    """open_clip.tokenizer.basic_clean: mends what was decoded wrongly, and resolves HTML entities."""
    if _is_plain(text):  # importing ftfy takes 0.15 s
        return text.strip()
    import html

    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _whitespace(text: str) -> str:
    return " ".join(_mended(text).split())


def _canonical(text: str) -> str:
    """open_clip.tokenizer.canonicalize_text, after big_vision: lower case, no punctuation."""
    text = _mended(text).replace("_", " ").translate(str.maketrans("", "", string.punctuation)).lower()
    return " ".join(text.split())


CLEANERS: dict[str, Callable[[str], str]] = {
    "lower": lambda text: _whitespace(text).lower(),
    "whitespace": _whitespace,
    "canonicalize": _canonical,
    "only lower": str.lower,
    "": lambda text: text,
}
"""The first three are open_clip's, by its names."""


# --- CLIP's words and symbols ---


def _words(text: str) -> list[str]:
    """A text in words, digits and runs of signs."""
    if text.isascii():
        return _PLAIN_WORDS.findall(text)
    import regex  # type: ignore[import-untyped]  # knows letters of any script

    pattern = "|".join(_SPECIAL) + _REST.format(letters=r"[\p{L}]+", digit=r"[\p{N}]", others=r"\p{L}\p{N}")
    found: list[str] = regex.findall(pattern, text, regex.IGNORECASE)
    return found


def _symbols() -> tuple[dict[int, str], dict[str, int]]:
    """open_clip.tokenizer.bytes_to_unicode: a printable character for each byte, and their order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(_BYTES) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(_BYTES + at) for at, byte in enumerate(others)}
    return characters, {characters[byte]: at for at, byte in enumerate([*printable, *others])}


_SYMBOLS, _SYMBOL_IDS = _symbols()
