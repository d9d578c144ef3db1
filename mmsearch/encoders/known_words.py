"""What of a text a WordPiece tokenizer made for English knows: its words, and not the letters of other scripts.

The vocabulary of BERT uncased (Devlin et al., NAACL 2019) has a token for each of some thousand characters of other
scripts, but hardly a word of them. A text in Russian, Greek or Korean becomes its letters, and a text in Thai or in
emoji the one token for what is unknown. Either way its vector says in what script it is written and not what it says:
with `mini`, a question about a red car found a Korean text about a sleeping dog with 98 %. Words in Latin letters are
pieces that were learned, in other languages than English too: what these score by chance is low.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING

from indexer.legible import Legible

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_LONGEST_WORD = 100  # characters: WordPiece takes a longer word for unknown
_LATIN_RUN = re.compile(r"[0-9A-Za-z\u00c0-\u024f\u1e00-\u1eff]+")
_PREFIX = "##"  # of a piece that goes on with a word


class KnownWords:
    """What a WordPiece tokenizer can read.

    Args:
        tokenizer: it neither cuts nor pads.
        unknown: its token for what it does not know.
    """

    def __init__(self, tokenizer: Tokenizer, unknown: str = "[UNK]") -> None:
        self._tokenizer = tokenizer
        self._unknown = unknown

    def legible(self, text: str) -> Legible:
        """The known words of a text, with the known signs and numbers between them.

        Signs and numbers alone are no text where something was left out: "20" says nothing of "火车晚点20分钟". An
        emoji beside words is a sign that is left out, and no word that the text is then short of.
        """
        if text.isascii() and max(map(len, text.split()), default=0) <= _LONGEST_WORD:
            return Legible.whole(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if encoding.ids and self._foreign_ids.isdisjoint(encoding.ids):
            return Legible.whole(text)
        plain = unicodedata.normalize(
            "NFKC", text
        )  # without ligatures and wide letters, which no word was learned with
        if plain != text:
            return self.legible(plain)
        words = _words(encoding)
        known = unknown = 0
        kept: list[str] = []
        at = 0
        for begin, end, tokens in words:
            if self._is_known(tokens):
                known += _has_letter(text[begin:end])
                continue
            unknown += _has_letter(_LATIN_RUN.sub("", text[begin:end]))
            runs = _LATIN_RUN.findall(text[begin:end])
            read = [run for run in runs if self._reads(run)]
            known += sum(map(_has_letter, read))
            unknown += len(runs) - len(read)
            kept += [text[at:begin], " ", *(f"{run} " for run in read)]
            at = end
        if not kept and words:
            return Legible.whole(text)
        if not known:
            return Legible("", 0.0)
        return Legible("".join([*kept, text[at:]]), known / (known + unknown))

    def _reads(self, word: str) -> bool:
        return self._foreign_ids.isdisjoint(self._tokenizer.encode(word, add_special_tokens=False).ids)

    def _is_known(self, tokens: list[str]) -> bool:
        """Whether the pieces of a word say something."""
        if len(tokens) == 1 and len(tokens[0]) == 1 and tokens[0] in self._symbols:
            return True
        return not self._foreign.intersection(tokens)

    @cached_property
    def _symbols(self) -> frozenset[str]:
        """Letters that are words of English texts: α, β, π."""
        return frozenset(
            token for token in self._tokenizer.get_vocab() if len(token) == 1 and _script(token) == "GREEK"
        )

    @cached_property
    def _foreign_ids(self) -> frozenset[int]:
        vocabulary = self._tokenizer.get_vocab()
        return frozenset(vocabulary[token] for token in self._foreign if token in vocabulary)

    @cached_property
    def _foreign(self) -> frozenset[str]:
        """The token for what is unknown, and those with a letter of another script."""
        foreign = {self._unknown}
        for token in self._tokenizer.get_vocab():
            letters = token.removeprefix(_PREFIX)
            if not letters.isascii() and any(_is_foreign(letter) for letter in letters):
                foreign.add(token)
        return frozenset(foreign)


def _words(encoding: Encoding) -> list[tuple[int, int, list[str]]]:
    """The words of a text: where each begins and ends, and its tokens."""
    words: list[tuple[int, int, list[str]]] = []
    last = None
    for number, (begin, end), token in zip(encoding.word_ids, encoding.offsets, encoding.tokens, strict=True):
        if number == last and words:
            words[-1] = (words[-1][0], end, [*words[-1][2], token])
        else:
            words.append((begin, end, [token]))
        last = number
    return words


def _has_letter(word: str) -> bool:
    return any(character.isalpha() for character in word)


def _script(character: str) -> str:
    """The first word of a character's name, which for a letter is its script."""
    return unicodedata.name(character, "").split(" ")[0]


_OURS = frozenset({"LATIN", "FULLWIDTH", "SUPERSCRIPT", "SUBSCRIPT", "MODIFIER", "FEMININE", "MASCULINE", "MICRO"})


def _is_foreign(character: str) -> bool:
    """Whether a character is a letter, or a sign on one, of another script than Latin."""
    return unicodedata.category(character)[0] in "LM" and _script(character) not in _OURS
