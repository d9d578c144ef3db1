"""Looking for a text by its meaning, by its words, and by both: what fusing them is worth, and how to fuse them.

Text to text: the short descriptions of Debian packages (titles) ask for the long ones, each exactly one, of the set
that benchmarks/_sets.py describes. Meaning is the excess over chance of `mini`'s text vectors, as the engine computes
it; words are `indexer.words.find_words` with the engine's limit. Ways to fuse:

- `evidence in log-odds`: what `mmsearch/literal.py` does, with other weights beside the shipped one, and without the
  share of terms or the relative BM25 in it;
- `reciprocal rank fusion` (k = 60), and either signal alone.

The weight was chosen on the development split; --split test (the default) reports on the rest.

    python benchmarks/words_and_meaning.py [--split development] [--queries 1000]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from _sets import bank, packages
from numpy.typing import NDArray

from indexer.filters import Filter
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo
from indexer.word_query import parse_words
from indexer.words import find_words
from mmsearch.calibration import OFFSET, fit, hubness
from mmsearch.fusion import reciprocal_rank
from mmsearch.literal import MOST, WEIGHT, telling

RESULTS = Path(__file__).parent / "results"


def library(texts: tuple[str, ...], folder: Path) -> tuple[Store, int, dict[int, int]]:
    """A store with each text as a file, its generation, and which row each content is."""
    store = Store(folder / "library.sqlite")
    generation = store.start_generation(FakeEncoder().spec)
    root, _ = store.add_root("/texts")
    one = np.ones(4, np.float32)
    for start in range(0, len(texts), 500):
        rows = range(start, min(start + 500, len(texts)))
        store.write(
            generation,
            [
                Outcome(
                    FilePlace(root, "", f"{row:06}.txt", 1, 1),
                    NewContent(str(row), MediaInfo("text", "text"), [NewSegment("text", one, text=texts[row])]),
                )
                for row in rows
            ],
        )
    with store.reading() as connection:
        found = connection.exec_driver_sql("SELECT id, CAST(digest AS INTEGER) FROM content").all()
    return store, generation, {int(id): int(row) for id, row in found}


def recalls(scores: NDArray[np.float64], own: NDArray[np.int64]) -> dict[str, float]:
    """Recall at 1, 5 and 10, and mean reciprocal rank; ties count as lost."""
    best = scores[np.arange(len(own)), own][:, None]
    ranks = (scores >= best).sum(axis=1)
    return {f"recall@{k}": float((ranks <= k).mean()) for k in (1, 5, 10)} | {"MRR": float((1 / ranks).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("development", "test"), default="test")
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    everything = packages()
    asked = np.flatnonzero(everything.development == (options.split == "development"))[: options.queries]
    queries, items, background = everything.queries[asked], everything.items, bank()

    hubs = hubness(items, background)
    null = fit((background @ items.T - hubs).max(axis=1), size=len(items), mean=0.0, least=float(hubs.min()), rest=0.0)
    assert null is not None
    meaning = null.excess(queries @ items.T - hubs) - OFFSET

    bm25, share = np.zeros(meaning.shape), np.zeros(meaning.shape)
    with tempfile.TemporaryDirectory() as folder:
        store, generation, row_of = library(everything.texts, Path(folder))
        for at, row in enumerate(asked):
            terms = parse_words(everything.titles[row])
            counting = telling([term.text for term in terms.terms])
            for hit in find_words(store, generation, terms, Filter(), MOST):
                column = row_of[hit.content_id]
                bm25[at, column] = max(bm25[at, column], hit.score)
                share[at, column] = max(share[at, column], len(counting.intersection(hit.terms)) / len(counting))
        store.close()
    relative = bm25 / np.maximum(bm25.max(axis=1, keepdims=True), 1e-9)
    missing = np.where(bm25 > 0, bm25, np.nan)
    ways = {"meaning": meaning, "words (BM25)": bm25}
    ways["reciprocal rank fusion"] = np.stack(
        [reciprocal_rank(np.stack([m, w]), [1.0, 1.0]) for m, w in zip(meaning, missing, strict=True)]
    )
    for weight in (2.0, 4.0, WEIGHT, 8.0, 12.0):
        shipped = " (as shipped)" if weight == WEIGHT else ""
        ways[f"evidence in log-odds, weight {weight:g}{shipped}"] = meaning + weight * share**2 * relative
    ways[f"evidence, weight {WEIGHT:g}, without the share of terms"] = meaning + WEIGHT * relative
    ways[f"evidence, weight {WEIGHT:g}, without relative BM25"] = meaning + WEIGHT * share**2
    table = {name: recalls(scores, asked) for name, scores in ways.items()}
    print(f"{len(asked)} queries of the {options.split} split, {len(items)} texts")
    for name, row in table.items():
        print(f"{name:<55}" + "".join(f"  {measure} {value:.3f}" for measure, value in row.items()))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"words_and_meaning_{options.split}.json").write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
