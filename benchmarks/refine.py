"""One round of feedback against none: does "more like 3, not 2" find more of what was meant?

Drawings of openclipart by `mini`. A query is a keyword that 8 drawings or more have; these are relevant. The first ten
results are looked at: the first three relevant ones among them are liked, the first three others are not, and all ten
are then put aside (the residual collection method: Salton and Buckley, JASIS 1990), so that nothing is gained by
showing again what was seen. Queries with nothing relevant among the first ten cannot give feedback and are left out.
Files are ranked as the engine ranks them.

"Terms of their own" asks the liked pictures as further terms of the query, each kind held against its own chance, in
place of moving it.

    python benchmarks/refine.py
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _library import MadeFile, MadeLibrary, reading
from _measures import interval, plain, save, show
from _openclipart import keywords_of
from _sets import pictures, texts_as_vectors
from numpy.typing import NDArray

from indexer.records import NewSegment
from indexer.types import Vectors
from mmsearch import session
from mmsearch.session import rocchio

LEAST = 8
SEEN = 10
MARKED = 3
NO_CONTENT = frozenset(
    """
    hash signs_and_symbols unsorted networksym weathersym mapsym musicsym icon icons appicon black white red green blue
    old day rating clip_art cartoon
    """.split()  # noqa: SIM905 - a text is easier to read here
)


def average_precision(order: Sequence[int], relevant: NDArray[np.bool_]) -> float:
    hits = relevant[np.asarray(order)]
    places = np.flatnonzero(hits)
    return float(np.mean((np.arange(len(places)) + 1) / (places + 1))) if len(places) else float("nan")


def unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def main() -> None:
    items = pictures()
    keywords = [set(keywords_of(path)) for path in items.paths]
    counts = Counter(word for some in keywords for word in some)
    asked = [word for word, count in counts.items() if count >= LEAST and word not in NO_CONTENT]
    asked = sorted(word for word in asked if re.fullmatch("[a-z ]{3,}", word))
    queries = texts_as_vectors(tuple(asked))
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = MadeLibrary.make(
            Path(folder) / "library", [MadeFile("image", [NewSegment("visual", vector)]) for vector in items.items]
        )
        for word, query in zip(asked, queries, strict=True):
            relevant = np.array([word in some for some in keywords])
            base = made.ranking([reading(query, "text", ["visual"])])
            seen = base[:SEEN]
            good = [number for number in seen if relevant[number]][:MARKED]
            bad = [number for number in seen if not relevant[number]][:MARKED]
            rest = relevant.copy()
            rest[seen] = False
            if not good or not rest.any():
                continue

            def note(
                name: str, order: Sequence[int], seen: Sequence[int] = seen, rest: NDArray[np.bool_] = rest
            ) -> None:
                left = [number for number in order if number not in seen]
                found.setdefault(name, []).append((average_precision(left, rest), float(rest[left[:10]].mean())))

            note("none", base)
            likes, others = items.items[good], items.items[bad] if bad else None
            for name, beta, gamma in (
                ("moved, 0.75 and 0.25 (as shipped)", session.BETA, session.GAMMA),
                ("moved, liked only", session.BETA, 0.0),
                ("moved, 0.4 and 0.1", 0.4, 0.1),
                ("moved, 1.5 and 0.5", 1.5, 0.5),
            ):
                kept = session.BETA, session.GAMMA
                session.BETA, session.GAMMA = beta, gamma
                note(name, made.ranking([reading(rocchio(query, likes, others), "text", ["visual"])]))
                session.BETA, session.GAMMA = kept
            terms = [reading(query, "text", ["visual"]), reading(unit(likes.mean(axis=0)), "image", ["visual"])]
            weights = [1.0, session.BETA]
            if others is not None:
                terms.append(reading(unit(others.mean(axis=0)), "image", ["visual"]))
                weights.append(-session.GAMMA)
            note("terms of their own", made.ranking(terms, weights))
            shuffled = np.random.default_rng(len(found["none"])).permutation(len(items))[: len(good)]
            note("moved towards random drawings", made.ranking(
                [reading(rocchio(query, items.items[shuffled], None), "text", ["visual"])]))  # fmt: skip
        made.close()
    none = np.array(found["none"])
    rows = []
    for name, values in found.items():
        scores = np.array(values)
        rows.append(
            {
                "feedback": name,
                "average precision": plain(interval(scores[:, 0])),
                "precision of the next 10": plain(interval(scores[:, 1])),
                "gain in average precision": plain(interval(scores[:, 0] - none[:, 0])),
            }
        )
    show(f"{len(none)} keywords of {len(asked)}, {len(items)} drawings, the first {SEEN} results put aside", rows)
    save("refine", {"queries": len(none), "rows": rows})


if __name__ == "__main__":
    main()
