"""Our index beside flat scans and graphs on the same vectors, asked in and out of distribution.

Vectors are made (_vectors.py): clusters with a modality gap, so that text queries lie far from every vector, as texts
do from pictures. The effort of every approximate way is chosen on texts that are not asked again, to a recall@10 of
0.99: ours by itself, the graphs by the first of ef 64, 128 ... 2048 that reaches it. Truth is NumPy's product in single
precision with the vectors as they are stored (half precision).

Single queries are in one thread, batches in all. Each round asks every way in turn, so that what else the machine does
hits all of them. Memory is what a new process that loads the saved index and asks it holds of no file's, above what it
held before; ours has its vectors in a mapped file besides. Adding and removing are the first after loading or building.

    python benchmarks/ann.py [--size 100000] [--dim 512] [--only mmsearch --only SQfp16] [--no-graphs]

A million vectors (--size 1000000) take an hour with the graphs, and five minutes without.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _alternate import machine
from _ann_loaded import loaded_mb
from _ann_ways import Tuning, Way, recall, ways
from _measures import save, show
from _vectors import shelf

from indexer.ann.calibration import best_of
from indexer.ann.exact import Rows
from indexer.halves import Halves, scales_of
from indexer.types import Vectors

_K = 10
_SHARES = (0.5, 0.1, 0.01, 0.001)


def truth(vectors: Halves, scales: Vectors, queries: Vectors, allowed: np.ndarray | None = None) -> np.ndarray:
    """The ids of the ten best by NumPy."""
    alive = None
    if allowed is not None:
        alive = np.zeros(len(vectors), bool)
        alive[allowed] = True
    return best_of(Rows(np.arange(len(vectors)), vectors, alive, None), scales, queries, _K)


def asked_singly(way: Way, queries: Vectors, **how: Any) -> tuple[list[float], np.ndarray]:
    """Seconds of each query, and what was found."""
    seconds, found = [], []
    for at in range(len(queries)):
        start = time.perf_counter()
        found.append(way.search(queries[at : at + 1], _K, **how)[0])
        seconds.append(time.perf_counter() - start)
    return seconds, np.stack(found)


def timed(do: Any) -> float | None:
    """Milliseconds of a call; None where it cannot be done."""
    start = time.perf_counter()
    try:
        do()
    except NotImplementedError:
        return None
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Build, ask in turns, print two tables and write a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=300, help="of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="ways whose names hold this; may be repeated")
    parser.add_argument("--no-graphs", action="store_true", help="leave out what takes long to build")
    options = parser.parse_args()
    print(machine())
    made = shelf(options.size, options.dim, options.queries)
    scales = scales_of(made.vectors)
    kinds = {"text": made.texts, "picture": made.pictures}
    wanted = {kind: truth(made.vectors, scales, queries) for kind, queries in kinds.items()}
    tuning = Tuning(made.tuning, truth(made.vectors, scales, made.tuning), 0.99)
    only = options.only or (["mmsearch", "Flat", "SQfp16"] if options.no_graphs else [])

    built: dict[str, Way] = {}
    figures: dict[str, dict[str, Any]] = {}
    for name, make in ways(made.vectors, tuning, only=only).items():
        start = time.perf_counter()
        built[name] = make(built)
        figures[name] = {"effort": built[name].effort, "build s": time.perf_counter() - start}
        if "exact" not in name:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"index.{options.dim}"
                built[name].save(path)
                figures[name]["MB"] = loaded_mb(built[name].package, path)
        print(f"{name}: {built[name].effort}, {figures[name]['build s']:.1f} s", flush=True)

    seconds: dict[tuple[str, str], list[float]] = {}
    rates: dict[str, list[float]] = {name: [] for name in built}
    for number in range(options.rounds + 1):
        for name, way in built.items():
            for kind, queries in kinds.items():
                slow = "exact" in name and number > 1  # one round of these tells enough
                if slow:
                    continue
                took, found = asked_singly(way, queries[: 5 if not number else len(queries)])
                if number:  # the first round warms up
                    seconds.setdefault((name, kind), []).extend(took)
                    figures[name][f"recall {kind}"] = recall(found, wanted[kind])
                    milliseconds = np.array(took) * 1000
                    print(
                        f"round {number}, {name}, {kind}: recall {figures[name][f'recall {kind}']:.4f}, p50 "
                        f"{np.median(milliseconds):.2f} ms, p99 {np.quantile(milliseconds, 0.99):.2f} ms",
                        flush=True,
                    )
            start = time.perf_counter()
            way.search(made.texts, _K)
            rates[name].append(len(made.texts) / (time.perf_counter() - start))

    rng = np.random.default_rng(1)
    filters = {
        share: np.sort(rng.choice(options.size, max(_K, round(options.size * share)), False)) for share in _SHARES
    }
    by_filter = []
    for share, allowed in filters.items():
        some = made.texts[:50]
        best = truth(made.vectors, scales, some, allowed)
        for name, way in built.items():
            if "exact" in name:
                continue
            try:
                way.search(made.texts[:1], _K, allowed=allowed)
            except NotImplementedError:
                continue
            took, found = asked_singly(way, some, allowed=allowed)
            by_filter.append(
                {
                    "filter": f"{share:.1%}",
                    "way": name,
                    "recall text": recall(found, best),
                    "p50 ms": float(np.median(took)) * 1000,
                    "p99 ms": float(np.quantile(took, 0.99)) * 1000,
                }
            )

    rows = []
    for name, way in built.items():
        took = np.array(seconds[name, "text"]) * 1000
        more = np.arange(options.size, options.size + 1000)
        gone = rng.choice(options.size, 1000, replace=False)
        figure = figures[name]
        shared = name == "mmsearch --exact"
        row = {
            "way": name,
            "effort": figure["effort"],
            "build s": "" if shared else figure["build s"],
            "MB": "" if shared else round(figure["MB"]),
            "recall@10 text": round(figure["recall text"], 4),
            "recall@10 picture": round(figure["recall picture"], 4),
            "p50 ms": float(np.median(took)),
            "p99 ms": float(np.quantile(took, 0.99)),
            "batch QPS": round(float(np.median(rates[name][1:]))),
            "add 1,000 ms": "" if shared else timed(lambda way=way, more=more: way.add(more, made.vectors[:1000])),
            "remove 1,000 ms": "" if shared else timed(lambda way=way, gone=gone: way.remove(gone)),
        }
        rows.append({key: "–" if value is None else value for key, value in row.items()})
    show(f"{options.size:,} vectors of {options.dim} dimensions; {options.queries} queries of each kind", rows)
    show("Filters that let through a share of the vectors, drawn at random", by_filter)
    save(f"ann-{options.size}-{options.dim}", {"machine": machine(), "ways": rows, "filters": by_filter})


if __name__ == "__main__":
    main()
