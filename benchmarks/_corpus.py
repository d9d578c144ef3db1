"""A library of made-up text with the statistics of real speech, for benchmarks: no corpus can be fetched here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo

FUNCTION_WORDS = """
the of and to a in that is was he for it with as his on be at by had not are but from or have an they which one you
were her all she there would their we him been has when who will more no if out so said what up its about into than
them can only other new some could time these two may then do first any my now such like our over man me even most
made after also did many before must through back years where much your way well down should because each just
""".split()  # noqa: SIM905 - a text is easier to read here
_ONSETS = "b c ch d f g h j k l m n p qu r s sh st t tr v w br cl gr pl sl sp".split()  # noqa: SIM905
_VOWELS = "a e i o u ai ea ee oo ou".split()  # noqa: SIM905
_CODAS = ["", "", "n", "r", "s", "t", "l", "m", "d", "ck", "nd", "st", "ng"]


def vocabulary(words: int, rng: np.random.Generator) -> list[str]:
    """English function words, then invented ones of one to four syllables: common words are the shorter ones."""
    found = dict.fromkeys(FUNCTION_WORDS)
    while len(found) < words:
        syllables = min(4, 1 + int(len(found) / words * 2 + rng.random() * 2))
        found["".join(rng.choice(part) for _ in range(syllables) for part in (_ONSETS, _VOWELS, _CODAS))] = None
    return list(found)


class Corpus:
    """Lines of 4 to about 60 words drawn by the law of Zipf and Mandelbrot, p(rank) ~ 1 / (rank + 2.7)."""

    def __init__(self, seed: int = 0, words: int = 60_000) -> None:
        self.rng = np.random.default_rng(seed)
        self.words = np.array(vocabulary(words, self.rng))
        weights = 1 / (np.arange(words) + 2.7)
        self.share = np.cumsum(weights / weights.sum())

    def line(self) -> str:
        length = int(np.clip(self.rng.lognormal(2.9, 0.5), 4, 60))
        return " ".join(self.words[np.searchsorted(self.share, self.rng.random(length))]).capitalize() + "."

    def outcomes(self, root: int, segments: int, per_file: int, first: int = 0) -> Iterator[Outcome]:
        """Recordings with `per_file` spoken lines each, and the names that people and cameras give to files."""
        vectors = np.eye(384, dtype=np.float32)  # as long as those of `mini`: rows of the size that a search meets
        for number in range(first, first + segments // per_file):
            lines = [NewSegment("speech", vectors[at], at * 4.0, at * 4.0 + 4, self.line()) for at in range(per_file)]
            word = self.words[self.rng.integers(200, 20_000)]
            name = (f"IMG_{number:05}.mp3", f"{word}-{2000 + number % 25}.mp3", f"{word} ({number % 9}).mp3")[
                number % 3
            ]
            place = FilePlace(root, f"{2000 + number % 25}/{self.words[number % 300 + 200]}", f"{number} {name}", 1, 1)
            title = self.line()[:60] if number % 4 == 0 else None
            yield Outcome(place, NewContent(f"d{number}", MediaInfo("audio", "mp3", title=title), lines))

    def fill(self, store: Store, segments: int, per_file: int = 20, commit_files: int = 64) -> int:
        """Write that many segments into a store, as an indexing run would; the generation's id."""
        generation = store.start_generation(FakeEncoder().spec)
        root, _ = store.add_root("/media")
        waiting: list[Outcome] = []
        for outcome in self.outcomes(root, segments, per_file):
            waiting.append(outcome)
            if len(waiting) == commit_files:
                store.write(generation, waiting)
                waiting = []
        store.write(generation, waiting)
        return generation
