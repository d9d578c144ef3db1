"""Text as words: how the full-text tables of the store see text of any script, and how a query asks for it.

SQLite's tokenizer `unicode61` cuts at everything that is no letter, digit or mark, and folds case. Here is what it
cannot do itself, done to texts before they are stored in the tables and to the words of a query alike:

- compatible forms and accents are folded (Unicode NFKD, nonspacing accents dropped, NFC), and letters that have no
  decomposition are spelled as people without that key would (ø as o, ß as ss);
- scripts that put no spaces between words are cut into overlapping pieces of two characters (Han, kana, Hangul) or
  three (Thai, Lao, Burmese, Khmer), with shorter pieces at the end of a run. A word of any length is then a phrase of
  whole pieces, or a prefix of one: SQLite's own `trigram` tokenizer cannot find words of one or two characters,
  which is what most Chinese words are;
- an emoji is a word of its own.

What is stored must be the same tomorrow, or rows could not be taken out of the tables again. So Unicode's tables are
those of version 3.2 (2002), which Python keeps beside the current ones. A character that is younger is a word of its
own, as an emoji is. A change to anything here that is stored needs a migration that builds the tables again.
"""

from __future__ import annotations

import os
import re
import sqlite3
from functools import lru_cache
from unicodedata import ucd_3_2_0 as unicode_3_2

_SPELLED = str.maketrans(
    {
        **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"},
        **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ħ": "h", "Ħ": "H"},
        **{"ı": "i", "ς": "σ"},
        # Letters of Arabic and Persian that are typed for one another.
        **{"ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ـ": ""},
    }
)

_DROPPED = (  # accents, vowel points, variation selectors, and invisible signs that are written inside words
    *((0x00AD, 0x00AD), (0x0300, 0x036F), (0x0483, 0x0489), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670)),
    *((0x06D6, 0x06DC), (0x06DF, 0x06E4), (0x06E7, 0x06E8), (0x06EA, 0x06ED), (0x08D3, 0x08FF), (0x1AB0, 0x1AFF)),
    *((0x1DC0, 0x1DFF), (0x200D, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x20D0, 0x20FF), (0xFE00, 0xFE0F)),
    *((0xFE20, 0xFE2F), (0xFEFF, 0xFEFF), (0xE0001, 0xE007F), (0xE0100, 0xE01EF)),
)
_SKIN_TONES = range(0x1F3FB, 0x1F400)  # a thumb is a thumb
_SYMBOLS = ((0x2300, 0x24FF), (0x25A0, 0x2BFF), (0x3200, 0x33FF))  # of which only what is category So is a word

SHORTEST_PART = 4
"""Letters of a word that is looked for inside other words: one of three, such as "art", is in too many."""

_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HIRAGANA, _KATAKANA, _HANGUL = "\u3041-\u309f", "\u30a0-\u30ff\u31f0-\u31ff", "\uac00-\ud7a3"
_BY_TWO = _HAN + _HIRAGANA + _KATAKANA + _HANGUL
_BY_THREE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_OWN = "\ue000-\uf8ff"
"""The private use area, which stands for symbols and for characters that are younger than our Unicode."""

UNSPACED = _BY_TWO + _BY_THREE + _OWN
"""Characters that may be a word, or begin or end one, with no space beside them: for use in a regular expression."""

_SYMBOL = re.compile("([\ue000-\ue10f])([\ue200-\uf1ff])")
_RUN = re.compile(f"([{_BY_TWO}]+)|([{_BY_THREE}]+)")
_LAST_RUN = re.compile(f"(?:([{_BY_TWO}]+)|([{_BY_THREE}]+))$")
_SCRIPTS = (
    tuple(  # a plain word of these scripts that is longer than this is many words: each of its pieces is asked for
        (re.compile(f"[{script}]+"), longest)
        for script, longest in ((_HAN, 4), (_HIRAGANA, 4), (_KATAKANA, 12), (_HANGUL, 3), (_BY_THREE, 8))
    )
)
INNER_EDGE = re.compile(  # where a word inside a name begins
    r"(?<=[a-zа-яα-ω])(?=[A-ZА-ЯΑ-Ω])"  # holidayRome
    r"|(?<=[A-ZА-ЯΑ-Ω])(?=[A-ZА-ЯΑ-Ω][a-zа-яα-ω])"  # HTMLPage
    r"|(?<=[0-9])(?=[A-Za-zА-Яа-яΑ-Ωα-ω])|(?<=[A-Za-zА-Яа-яΑ-Ωα-ω])(?=[0-9])"  # IMG1234
)


class _Characters(dict[int, str]):
    """What becomes of each character, worked out when it is first met. For `str.translate`."""

    def __missing__(self, code: int) -> str:
        self[code] = kept = _kept(code)
        return kept


def _kept(code: int) -> str:
    """A letter, digit or mark itself; nothing for an accent; two private characters for a symbol; else a space."""
    if any(first <= code <= last for first, last in _DROPPED):
        return ""
    if code in _SKIN_TONES:
        return " "
    category = unicode_3_2.category(chr(code))
    if 0x0591 <= code <= 0x05C7 and category != "Po":  # Hebrew points; the older table calls some of them unassigned
        return "" if category in ("Mn", "Cn") else " "
    symbol = category == "So" and any(first <= code <= last for first, last in _SYMBOLS)
    if category != "Cs" and (code > 0xFFFF or symbol or category in ("Cn", "Co")):
        return f" {chr(0xE000 + (code >> 12))}{chr(0xE200 + (code & 0xFFF))} "
    return chr(code) if category[0] in "LNM" else " "


_CHARACTERS = _Characters()


def fold(text: str) -> str:
    """Letters, digits, marks and spaces, without accents; case is kept, for `unicode61` folds it."""
    return unicode_3_2.normalize("NFC", kept_characters(unicode_3_2.normalize("NFKD", text)))


def kept_characters(decomposed: str) -> str:
    """What stays of a text that was decomposed (NFKD), before it is composed again."""
    return decomposed.translate(_SPELLED).translate(_CHARACTERS)


def _cut(run: re.Match[str]) -> str:
    """A run of a script without spaces, as a piece for each of its characters."""
    return f" {' '.join(_pieces(run[0], 1 + (run.lastindex or 1)))} "


def _pieces(run: str, length: int) -> list[str]:
    return [run[at : at + length] for at in range(len(run))]


def text_words(text: str | None) -> str:
    """A text as the tables hold it."""
    if not text or text.isascii():  # unicode61 does the rest
        return text or ""
    return _RUN.sub(_cut, fold(text))


@lru_cache(maxsize=4096)
def name_words(name: str | bytes | None) -> str:
    """The name of a file or folder as the tables hold it: cut where case changes and at digits, and whole words too."""
    words = fold(_text_of(name)).split()
    cut = [INNER_EDGE.sub(" ", word) for word in words]
    whole = [word for word, parts in zip(words, cut, strict=True) if word != parts]
    return _RUN.sub(_cut, " ".join(cut + whole))


def whole_names(name: str | bytes | None) -> str:
    """A file's name without its suffix and with it, each as one long word: to find it by its exact name at once."""
    name = _text_of(name)
    return f"{whole_name(stem_of(name))} {whole_name(name)}".strip()


def whole_name(name: str) -> str:
    """A name as one long word."""
    return fold(name).replace(" ", "")


def name_parts(name: str | bytes | None) -> str:
    """A file's name without its suffix, as the table of parts of words holds it."""
    return " ".join(fold(stem_of(_text_of(name))).split())


def stem_of(name: str) -> str:
    """A file's name without its suffix."""
    return os.path.splitext(name)[0]


def _text_of(name: str | bytes | None) -> str:
    """A stored name as text; what is not UTF-8 of it is lost."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name or ""


def phrase(words: str) -> str | None:
    """An FTS5 expression for some words in a row, as in a text; None when there is no word.

    Whatever is asked, the expression is one quoted string of letters, digits, marks and spaces.
    """
    return _quoted(fold(words))


def name_phrase(words: str) -> str | None:
    """An FTS5 expression for some words in a row, as in a name: `holiday2019` is also `holiday 2019`."""
    folded = fold(words)
    cut = INNER_EDGE.sub(" ", folded)
    if cut == folded:
        return _quoted(folded)
    return f"({_quoted(cut)} OR {_quoted(folded)})"


def exact_name(name: str) -> str | None:
    """An FTS5 expression for the name of a file, with its suffix or without; signs and spaces do not matter."""
    words = fold(name).split()
    if not words:
        return None
    exact = f'whole : "{"".join(words)}"'
    return exact if len(words) == 1 else f"{exact} AND name : {name_phrase(name)}"  # "car pet" is no "carpet"


def part(word: str) -> str | None:
    """An FTS5 expression for one word as a part of others; None for several words, and for one that is too short."""
    folded = fold(word).strip()
    if len(folded) < SHORTEST_PART or " " in folded or re.search(f"[{UNSPACED}]", folded):
        return None
    return f'"{folded}"'


def _quoted(folded: str) -> str | None:
    before, last, prefix = folded.strip(), "", ""
    end = _LAST_RUN.search(before)
    if end is not None:
        # The text may go on after this run: whole pieces are asked for, and a run too short for one is a prefix.
        length = 1 + (end.lastindex or 1)
        pieces = _pieces(end[0], length)
        prefix = "*" if len(pieces) < length else ""
        last = " ".join(pieces[: max(1, len(pieces) - length + 1)])
        before = before[: end.start()]
    words = f"{_RUN.sub(_cut, before)} {last}".split()
    return f'"{" ".join(words)}"{prefix}' if words else None


def split_unspaced(word: str) -> list[str]:
    """A plain word of a query as the words that it may be made of, where its script puts no spaces between words.

    A change of script is a change of word, as it mostly is in Japanese; a run that is too long for one word is every
    two or three characters of it. A word of other scripts is left as it is.
    """
    folded = fold(word)
    if not re.search(f"[{UNSPACED}]", folded):
        return [word]
    found: list[tuple[int, str]] = []
    rest = folded
    for script, longest in _SCRIPTS:
        for run in script.finditer(folded):
            length = 3 if script is _SCRIPTS[-1][0] else 2
            short = len(run[0]) <= longest
            pieces = [run[0]] if short else _pieces(run[0], length)[: 1 - length]
            found += [(run.start() + at, piece) for at, piece in enumerate(pieces)]
        rest = script.sub(lambda run: " " * len(run[0]), rest)
    found += [(other.start(), other[0]) for other in re.finditer(r"\S+", rest)]
    return [_SYMBOL.sub(_as_written, piece) for _, piece in sorted(found)]


def _as_written(symbol: re.Match[str]) -> str:
    """The character that two private ones stand for."""
    return chr((ord(symbol[1]) - 0xE000) << 12 | (ord(symbol[2]) - 0xE200))


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that the store's views and triggers are written with."""
    for function in (text_words, name_words, whole_names, name_parts):
        connection.create_function(function.__name__, 1, function, deterministic=True)
