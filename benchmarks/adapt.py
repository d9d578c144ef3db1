"""What an adapter gains, by the number of pairs; that it is refused where there is nothing to learn; how long it takes.

Pairs are drawings of openclipart with their titles, as the vectors that version 1 of `mini` gives them: its labels know
little of drawings, so there is something to learn. Features come from the folder that train_mini_head.py fills
(--work). For each number of pairs, a draw of so many titles is divided as `mmsearch train` divides them, and learned
from; the rows say recall on the pairs held out, before and after, and whether the adapter would be applied. Last,
10,000 pairs drawn at random from two turned copies of one cloud, for the time.

    python benchmarks/adapt.py [--work FOLDER] [--pairs 50 100 300 1000 2500]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from _captioned import find_all
from _mini_features import pooled_of
from _mini_head import Texts, label_vectors
from recall_openclipart import RESULTS

from mmsearch.training.fit import FitOptions, PairVectors, fit
from mmsearch.training.split import groups_of, split
from mmsearch.training.trial import general, run_trial


def row_of(
    name: str, pairs: PairVectors, titles: list[str], options: FitOptions, bank: np.ndarray
) -> dict[str, object]:
    keys = [(title, str(at)) for at, title in enumerate(titles)]
    parts = split(groups_of(keys), options.seed)
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
    return {"name": name, "before": recall.before, "after": recall.after, "low": recall.low, "high": recall.high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/mmsearch-head"))
    parser.add_argument("--pairs", type=int, nargs="+", default=[50, 100, 300, 1000, 2500])
    asked = parser.parse_args()
    drawings = find_all(asked.work / "packages")
    pooled = pooled_of(drawings, 0, asked.work / "cache", None)
    if pooled is None:
        sys.exit("features are missing: run train_mini_head.py first")
    own = [at for at, drawing in enumerate(drawings) if drawing.source == "openclipart" and drawing.titles]
    titles = [drawings[at].titles[0] for at in own]
    items, _ = label_vectors(pooled[own])
    texts = Texts(asked.work)
    queries = texts.vectors(titles)
    from mmsearch.background import background_texts

    bank = texts.vectors(list(background_texts()))
    order = np.random.default_rng(0).permutation(len(own))
    print(
        "| pairs | learned from | held out | recall before | after | gain, points | applied | same first ten | epochs |"
        " s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for count in asked.pairs:
        at = order[:count]
        ids = np.unique([titles[row] for row in at], return_inverse=True)[1].astype(np.int64)
        pairs = PairVectors(queries[at], items[at], ids, np.arange(len(at)), np.zeros(len(at), np.bool_))
        some = [titles[row] for row in at]
        rows.append(row_of(f"{len(at):,}", pairs, some, FitOptions(), bank))
        if count == asked.pairs[-1]:
            rows.append(row_of(f"{len(at):,}, sigmoid loss", pairs, some, FitOptions("sigmoid"), bank))
            rows.append(row_of(f"{len(at):,}, rank 16", pairs, some, FitOptions(rank=16), bank))
            rows.append(row_of(f"{len(at):,}, a whole W", pairs, some, FitOptions(rank=0), bank))
            mixed = np.random.default_rng(1).permutation(len(at))
            shuffled = PairVectors(queries[at][mixed], items[at], ids[mixed], np.arange(len(at)), pairs.through)
            rows.append(row_of(f"{len(at):,}, titles shuffled", shuffled, [some[n] for n in mixed], FitOptions(), bank))
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(10_000, 384))
    turned = cloud @ np.linalg.qr(rng.normal(size=(384, 384)))[0] * 0.3 + cloud + rng.normal(size=cloud.shape)
    both = [(part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in (cloud, turned)]
    ids = np.arange(10_000)
    pairs = PairVectors(both[0], both[1], ids, ids, np.zeros(10_000, np.bool_))
    rows.append(row_of("10,000 made up", pairs, [str(n) for n in ids], FitOptions(), bank))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "adapt.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
