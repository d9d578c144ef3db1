"""Words in 100,000 lines of text: how long a query takes, beside a scan with LIKE, and what the tables cost.

    python benchmarks/words.py [--segments 100000] [--json words.json]

The lines are made up (see `_corpus.py`), with the word frequencies of English. A query is a few words of one line,
common words included, as a person would remember them; LIKE looks for the rarest of them only, and ranks nothing.
Times are of warm queries through `find_words`: texts, titles and names, with up to 100 hits of each made and marked.
They are the processor's, for other work on the machine stretches those of the clock; a query is one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _corpus import Corpus
from sqlalchemy import text

from indexer.lookup import Filter
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.words import find_words

FILTERS = {"no filter": Filter(), "--kind audio": Filter(kinds=("audio",)), "--in 2003": Filter(places=((1, "2003"),))}


def times(ask: Callable[[str], object], queries: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each query, by the clock and of the processor: the quicker of two, after one to warm up."""
    walls, processors = [], []
    for query in queries:
        runs = []
        for _ in range(3):
            start, busy = time.perf_counter(), time.process_time()
            ask(query)
            runs.append((time.perf_counter() - start, time.process_time() - busy))
        wall, processor = np.min(runs[1:], axis=0) * 1000
        walls.append(wall)
        processors.append(processor)
    return np.array(walls), np.array(processors)


def queries_of(store: Store, words: int, count: int, rng: np.random.Generator, quoted: bool = False) -> list[str]:
    """Words in a row from random lines: the way people quote what they heard."""
    found: list[str] = []
    with store.reading() as connection:
        last = connection.execute(text("SELECT max(id) FROM segment")).scalar_one()
        while len(found) < count:
            id = int(rng.integers(1, last + 1))
            line = connection.execute(text("SELECT text FROM segment WHERE id = :id"), {"id": id}).scalar_one()
            spoken = line.rstrip(".").lower().split()
            if len(spoken) >= words:
                at = int(rng.integers(len(spoken) - words + 1))
                query = " ".join(spoken[at : at + words])
                found.append(f'"{query}"' if quoted else query)
    return found


def like(store: Store, rare: Callable[[str], str]) -> Callable[[str], object]:
    def ask(query: str) -> object:
        pattern = query.strip('"') if query.startswith('"') else rare(query)
        with store.reading() as connection:
            found = text("SELECT id FROM segment WHERE text LIKE :pattern LIMIT 100000")
            return connection.execute(found, {"pattern": f"%{pattern}%"}).all()

    return ask


def cost_of_indexing(folder: Path, segments: int) -> dict[str, float]:
    """Seconds to write and to remove some segments, with the full-text tables and with their triggers dropped."""
    seconds: dict[str, list[float]] = {"with": [], "without": [], "remove with": [], "remove without": []}
    for run in range(3):
        for kind in ("with", "without"):
            store = Store(folder / f"{kind}{run}.sqlite")
            generation = store.start_generation(FakeEncoder().spec)
            root, _ = store.add_root("/media")
            if kind == "without":
                with store.writing() as connection:
                    names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
                    for name in names.all():
                        connection.execute(text(f"DROP TRIGGER {name}"))
            outcomes = list(Corpus().outcomes(root, segments, 20))
            start = time.perf_counter()
            for at in range(0, len(outcomes), 64):
                store.write(generation, outcomes[at : at + 64])
            seconds[kind].append(time.perf_counter() - start)
            start = time.perf_counter()
            store.remove(root, "")
            seconds[f"remove {kind}"].append(time.perf_counter() - start)
            store.close()
    return {name: min(taken) for name, taken in seconds.items()}


def sizes(store: Store) -> dict[str, float]:
    """Megabytes of the texts, of each full-text table with its helpers, and of the whole database."""
    with store.reading() as connection:
        rows = connection.execute(text("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")).all()
        texts = connection.execute(text("SELECT sum(length(CAST(text AS BLOB))) FROM segment")).scalar_one()
    found = {"texts": texts / 1e6, "database": sum(size for _, size in rows) / 1e6}
    for table in ("segment_words", "title_words", "file_words", "file_parts"):
        found[table] = sum(size for name, size in rows if name.startswith(table)) / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cost = cost_of_indexing(Path(folder), 10_000)
        store = Store(Path(folder) / "library.sqlite")
        corpus = Corpus()
        generation = corpus.fill(store, options.segments)
        rank = {word: number for number, word in enumerate(corpus.words)}
        scan = like(store, lambda query: max(query.split(), key=lambda word: rank[word]))
        for words, quoted in ((1, False), (2, False), (3, False), (5, False), (8, False), (3, True)):
            queries = queries_of(store, words, options.queries, rng, quoted)
            _, scanned = times(scan, queries[:20])
            for name, wanted in FILTERS.items():
                walls, taken = times(lambda query, w=wanted: find_words(store, generation, query, w), queries)
                row = {"query": f"{words} words" + (", quoted" if quoted else ""), "filter": name}
                row |= {"wall_ms": float(np.median(walls)), "median_ms": float(np.median(taken))}
                row |= {"p95_ms": float(np.percentile(taken, 95)), "like_ms": float(np.median(scanned))}
                rows.append({**row, "ratio": row["like_ms"] / row["median_ms"]})
        megabytes = sizes(store)
        store.close()
    print(f"{options.segments:,} segments, {options.queries} queries of each kind; milliseconds of the processor\n")
    print(
        "| query | filter | median | 95th percentile | LIKE | ratio | median by the clock |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['query']} | {row['filter']} | {row['median_ms']:.1f} | {row['p95_ms']:.1f} |"
            f" {row['like_ms']:.0f} | {row['ratio']:.1f} | {row['wall_ms']:.1f} |"
        )
    print("\n| 10,000 segments | with the tables, s | without, s | for each segment, microseconds |\n|---|---|---|---|")
    for name, prefix in (("written", ""), ("removed", "remove ")):
        with_, without = cost[f"{prefix}with"], cost[f"{prefix}without"]
        print(f"| {name} | {with_:.2f} | {without:.2f} | {(with_ - without) / 10_000 * 1e6:.0f} |")
    print("\n" + ", ".join(f"{name} {size:.1f} MB" for name, size in megabytes.items()))
    if options.json:
        options.json.write_text(json.dumps({"queries": rows, "cost": cost, "megabytes": megabytes}, indent=2) + "\n")


if __name__ == "__main__":
    main()
