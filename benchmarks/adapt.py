"""What an adapter gains, by the number of pairs; that it is refused where there is nothing to learn; how long it takes.

Pairs are drawings with their titles, as the vectors that version 1 of `mini` gives them: its labels know little of
drawings, so there is something to learn. Features come from the folder that train_mini_head.py fills (--work). For each
number of pairs, a draw of so many is divided as `mmsearch train` divides them, and learned from; the rows say recall on
the pairs held out, before and after, and whether the adapter would be applied. Drawings are openclipart's as long as
there are enough, then all that _captioned.py finds, emoji too, and after their titles the line of their keywords.

For one number (--others), other losses and ranks, and titles shuffled, from which nothing can be learned. Seconds are
of learning alone.

    python benchmarks/adapt.py [--work FOLDER] [--pairs 50 100 300 1000 3000 10000] [--others 3000]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from _captioned import Captioned, find_all
from _mini_features import pooled_of
from _mini_head import Texts, captions_of, label_vectors
from recall_openclipart import RESULTS

from mmsearch.training.fit import FitOptions, PairVectors, fit
from mmsearch.training.split import groups_of, split
from mmsearch.training.trial import general, run_trial

OTHERS = {
    "sigmoid loss": FitOptions("sigmoid"),
    "rank 16": FitOptions(rank=16),
    "rank 64": FitOptions(rank=64),
    "a whole W": FitOptions(rank=0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Pairs as vectors, and what their two sides are known by."""

    name: str
    pairs: PairVectors
    keys: list[tuple[str, str]]


def row_of(drawn: Drawn, options: FitOptions, bank: np.ndarray) -> dict[str, object]:
    name, pairs = drawn.name, drawn.pairs
    parts = split(groups_of(drawn.keys), options.seed)
    started = time.perf_counter()
    found = fit(pairs.rows(parts.train), pairs.rows(parts.validation), options)
    seconds = time.perf_counter() - started
    trial = run_trial(pairs.rows(parts.test), found.matrix)
    changed = general(bank, pairs.items, found.matrix, through=False)
    recall = trial.recall
    same = "" if changed is None else f"{changed.same:.0%}"
    print(
        f"| {name} | {len(parts.train)} | {trial.pairs} | {recall.before:.1%} | {recall.after:.1%}"
        f" | {100 * recall.gain:+.1f}"
        f" ({100 * recall.low:+.1f} to {100 * recall.high:+.1f}) | {'yes' if recall.helps else 'no'} | {same}"
        f" | {len(found.history)} | {seconds:.1f} |",
        flush=True,
    )
    return {"name": name, "seconds": seconds, **asdict(recall)}


def some_pairs(count: int, captions: Texts, drawings: list[Captioned], pooled: np.ndarray) -> Drawn:
    """So many pairs: titles of openclipart, or of everything, or of everything and its keywords."""
    said = captions_of(drawings)
    titles = [(at, drawing.titles[0]) for at, drawing in enumerate(drawings) if drawing.titles]
    keywords = [(at, next((text for kind, text, _ in rows if kind == "keywords"), "")) for at, rows in enumerate(said)]
    own = [(at, text) for at, text in titles if drawings[at].source == "openclipart"]
    every = own if len(own) >= count else titles
    every = every if len(every) >= count else titles + [(at, text) for at, text in keywords if text]
    chosen = [every[row] for row in np.random.default_rng(0).permutation(len(every))[:count]]
    at = np.array([row for row, _ in chosen])
    texts = [text for _, text in chosen]
    ids = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    items, _ = label_vectors(pooled[at])
    pairs = PairVectors(captions.vectors(texts), items, ids, at, np.zeros(len(at), np.bool_))
    name = f"{len(at):,}" + ("" if every is own else " (with emoji)")
    return Drawn(name, pairs, [(text, str(row)) for row, text in chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/mmsearch-head"))
    parser.add_argument("--pairs", type=int, nargs="+", default=[50, 100, 300, 1000, 3000, 10_000])
    parser.add_argument("--others", type=int, default=3000)
    asked = parser.parse_args()
    drawings = find_all(asked.work / "packages")
    pooled = pooled_of(drawings, 0, asked.work / "cache", None)
    if pooled is None:
        sys.exit("features are missing: run train_mini_head.py first")
    texts = Texts(asked.work)
    from mmsearch.background import background_texts

    bank = texts.vectors(list(background_texts()))
    print(
        "| pairs | learned from | held out | recall before | after | gain, points | applied | same first ten | epochs |"
        " s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for count in asked.pairs:
        drawn = some_pairs(count, texts, drawings, pooled)
        rows.append(row_of(drawn, FitOptions(), bank))
        if count == asked.others:
            for name, options in OTHERS.items():
                rows.append(row_of(replace(drawn, name=f"{drawn.name}, {name}"), options, bank))
            mixed = np.random.default_rng(1).permutation(len(drawn.keys))
            shuffled = replace(drawn.pairs, queries=drawn.pairs.queries[mixed], query_ids=drawn.pairs.query_ids[mixed])
            keys = [(drawn.keys[one][0], drawn.keys[at][1]) for at, one in enumerate(mixed)]
            rows.append(row_of(Drawn(f"{drawn.name}, titles shuffled", shuffled, keys), FitOptions(), bank))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "adapt.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
