"""How long measures take: ours beside ranx and pytrec_eval, on the same lists; and ours on a whole gallery.

usage: python benchmarks/evaluation.py [--queries 1000] [--items 100000] [--depths 100,1000] [--runs 3] [--json FILE]

Lists: the first 100 and the first 1,000 results of random queries, five graded relevant items each. `make` is the way
from a Python dictionary of dictionaries to what the library evaluates, `measure` is all measures that the three share,
query by query and as means; ranx is compiled before it is timed, and takes all cores; pytrec_eval takes the
dictionary as it is.
The means must agree, or the script stops. Ratios are their time over ours: above 1, ours is quicker.

Whole gallery: every query against every item from embeddings of 512 numbers, exact ranks of all relevant items,
all default measures, and intervals of 10,000 resamples. Figures are the best of the runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.evaluation import Qrels, Resampling, Run, evaluate, rank_scores, score_blocks

# Ours, ranx's name, pytrec_eval's name.
MEASURES = [
    *((f"P@{k}", f"precision@{k}", f"P_{k}") for k in (1, 5, 10)),
    *((f"R@{k}", f"recall@{k}", f"recall_{k}") for k in (1, 5, 10)),
    *((f"Success@{k}", f"hit_rate@{k}", f"success_{k}") for k in (1, 5, 10)),
    ("nDCG@10", "ndcg@10", "ndcg_cut_10"),
    ("nDCG", "ndcg", "ndcg"),
    ("AP@10", "map@10", "map_cut_10"),
    ("AP", "map", "map"),
    ("RR", "mrr", "recip_rank"),
    ("Rprec", "r-precision", "Rprec"),
]
NAMES = [ours for ours, _, _ in MEASURES]


def best(runs: int, function: Callable[[], Any]) -> tuple[float, Any]:
    times, value = [], None
    for _ in range(runs):
        start = time.perf_counter()
        value = function()
        times.append(time.perf_counter() - start)
    return min(times), value


def lists(queries: int, items: int, depth: int) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Random lists without ties, in which the relevant items tend to come early."""
    rng = np.random.default_rng(0)
    qrels, run = {}, {}
    for number in range(queries):
        found = rng.choice(items, depth, replace=False)
        at = np.minimum(rng.geometric(0.02, 4) - 1, depth - 1)
        relevant = {int(found[place]) for place in at} | {int(rng.integers(items))}
        qrels[f"q{number}"] = {f"d{item}": int(rng.integers(1, 4)) for item in relevant}
        scores = np.linspace(1, 0, depth)
        run[f"q{number}"] = {f"d{item}": float(s) for item, s in zip(found.tolist(), scores, strict=True)}
    return qrels, run


def compare(queries: int, items: int, depth: int, runs: int) -> dict[str, Any]:
    import pytrec_eval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ranx

        small = lists(5, 50, 10)
        ranx.evaluate(ranx.Qrels(small[0]), ranx.Run(small[1]), [name for _, name, _ in MEASURES])  # compiles
    qrels, run = lists(queries, items, depth)
    make_ours, (our_qrels, our_run) = best(runs, lambda: (Qrels.from_mapping(qrels), Run.from_mapping(run)))
    none = Resampling(resamples=0)
    measure_ours, ours = best(runs, lambda: evaluate(our_run, our_qrels, NAMES, resampling=none))
    intervals, _ = best(runs, lambda: evaluate(our_run, our_qrels, NAMES))
    make_ranx, (ranx_qrels, ranx_run) = best(runs, lambda: (ranx.Qrels(qrels), ranx.Run(run)))
    measure_ranx, theirs = best(
        runs, lambda: ranx.evaluate(ranx_qrels, ranx_run, [name for _, name, _ in MEASURES], make_comparable=False)
    )
    asked = {"P.1,5,10", "recall.1,5,10", "success.1,5,10", "ndcg_cut.10", "ndcg", "map_cut.10", "map"}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, asked | {"recip_rank", "Rprec"})
    measure_trec, per_query = best(runs, lambda: evaluator.evaluate(run))
    for name, in_ranx, in_trec in MEASURES:
        trec = np.mean([values[in_trec] for values in per_query.values()])
        if not np.allclose([theirs[in_ranx], trec], ours[name], atol=1e-6):
            raise SystemExit(f"{name}: ours {ours[name]}, ranx {theirs[in_ranx]}, pytrec_eval {trec}")
    return {
        "queries": queries,
        "depth": depth,
        "ours_make": make_ours,
        "ours_measure": measure_ours,
        "ours_measure_with_intervals": intervals,
        "ranx_make": make_ranx,
        "ranx_measure": measure_ranx,
        "pytrec_eval_measure": measure_trec,
        "ranx_over_ours_measure": measure_ranx / measure_ours,
        "ranx_over_ours_whole": (make_ranx + measure_ranx) / (make_ours + measure_ours),
        "pytrec_eval_over_ours_whole": measure_trec / (make_ours + measure_ours),
    }


def whole_gallery(queries: int, items: int, runs: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    gallery = rng.normal(size=(items, 512)).astype(np.float32)
    relevant = rng.integers(0, items, (queries, 5))
    asked = gallery[relevant].mean(axis=1) + 1.2 * rng.normal(size=(queries, 512)).astype(np.float32)
    names, ids = [f"q{n}" for n in range(queries)], [f"d{n}" for n in range(items)]
    qrels = Qrels.from_mapping({q: {f"d{n}" for n in row} for q, row in zip(names, relevant.tolist(), strict=True)})
    product, _ = best(runs, lambda: sum(len(block) for block in score_blocks(asked, gallery)))
    rank, (placements, _) = best(runs, lambda: rank_scores(score_blocks(asked, gallery), names, ids, qrels))
    measure, evaluation = best(runs, lambda: evaluate(placements))
    return {
        "queries": queries,
        "items": items,
        "product": product,
        "product_and_rank": rank,
        "measure_with_intervals": measure,
        "all": rank + measure,
        "recall@10": evaluation["recall@10"],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def show(title: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    print(f"\n{title}\n\n| {' | '.join(column.replace('_', ' ') for column in columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(f'{v:.3g}' if isinstance(v, float) else f'{v:,}' for v in row.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--depths", default="100,1000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {
        "Whole gallery, from embeddings (seconds)": [whole_gallery(options.queries, options.items, options.runs)],
        "Lists (seconds)": [
            compare(options.queries, options.items, int(depth), options.runs) for depth in options.depths.split(",")
        ],
    }
    for title, rows in results.items():
        show(title, rows)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
