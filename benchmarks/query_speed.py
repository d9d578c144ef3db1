"""How long a warm query of one text takes in 100,000 segments, part by part, beside the plainest alternatives.

The library: 20,000 pictures, 2,000 videos of 20 frames and 10 lines of speech, 500 recordings of 10 lines, 1,500
documents of 10 passages; vectors are those that `mini` gave to drawings and package descriptions (_sets.py), each
moved at random by half its length. Queries are titles of these, through `Engine.query`. The first query of an engine,
which loads the indexes, is not counted, nor is a filter's first use, which has a column of its own: what a filter lets
through is kept until the library changes. Time is the median of the queries on the clock, and in processor time, which
says more where other programs run.

Other questions: pictures alone, a picture (a drawing of the sets, moved by three tenths of its length), and several
terms; with how many of the ten best they find, held against the same search with everything in its pool.

Alternatives: the matrix product in NumPy and its ten highest; the same with the rows that a filter lets through taken
first; FAISS alone (IndexFlatIP, which is also what mmsearch stands on); SQLite's LIKE with the query's longest word.
Last: how many of ten results are left when a filter is laid on the first 100 or 1,000 instead of inside the search.

    python benchmarks/query_speed.py [--segments 100000] [--queries 100]
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from _library import ROOT, MadeFile, MadeLibrary, reading
from _measures import save, show
from _sets import Items, encoder, packages, pictures
from sqlalchemy import text as sql

import mmsearch.engine
import mmsearch.nearest
import mmsearch.plan
import mmsearch.search
from indexer.admitted import admitted
from indexer.library import Library
from indexer.records import NewSegment
from indexer.types import Vectors
from mmsearch import Engine, Query
from mmsearch.held import filter_of
from mmsearch.readings import Reading
from mmsearch.terms import Term

FOLDERS = ((0.1, "tenth"), (0.01, "hundredth"), (0.001, "thousandth"))


def files_of(segments: int, drawings: Items, texts: Items) -> Iterator[MadeFile]:
    """The files, in folders that hold a tenth, a hundredth and a thousandth of them."""
    rng = np.random.default_rng(0)
    size = segments / 100_000

    def near(items: Items, count: int) -> tuple[Vectors, Sequence[int]]:
        rows = rng.integers(0, len(items), count)
        moved = items.items[rows] + rng.normal(0, 0.5 / np.sqrt(items.items.shape[1]), (count, items.items.shape[1]))
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32), rows.tolist()

    def speech(count: int) -> list[NewSegment]:
        vectors, rows = near(texts, count)
        return [
            NewSegment("speech", vector, at * 4.0, at * 4.0 + 4, texts.texts[row][:120])
            for at, (vector, row) in enumerate(zip(vectors, rows, strict=True))
        ]

    kinds = (
        ["image"] * round(20_000 * size)
        + ["video"] * round(2_000 * size)
        + ["audio"] * round(500 * size)
        + ["text"] * round(1_500 * size)
    )
    endings = {"image": "jpg", "video": "mp4", "audio": "mp3", "text": "txt"}
    for number, kind in enumerate(np.array(kinds)[rng.permutation(len(kinds))].tolist()):
        folder = next((name for share, name in reversed(FOLDERS) if number % round(1 / share) == 0), "rest")
        if kind == "image":
            made = [NewSegment("visual", near(drawings, 1)[0][0])]
        elif kind == "video":
            made = [
                NewSegment("visual", vector, at * 2.0, at * 2.0 + 2) for at, vector in enumerate(near(drawings, 20)[0])
            ] + speech(10)
        elif kind == "audio":
            made = speech(10)
        else:
            vectors, rows = near(texts, 10)
            made = [
                NewSegment("text", vector, text=texts.texts[row]) for vector, row in zip(vectors, rows, strict=True)
            ]
        yield MadeFile(kind, made, f"{folder}/IMG_{number:05}.{endings[kind]}")


class Parts:
    """Time spent in some functions, less what is spent in others of them that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[float] = []

    def watch(self, owner: Any, name: str, label: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.perf_counter() - start
                self.seconds[label] += taken - self._inside.pop()
                if self._inside:
                    self._inside[-1] += taken

        setattr(owner, name, watched)


def timed(ask: Callable[[Any], object], queries: Sequence[Any]) -> dict[str, float]:
    """Median milliseconds on the clock and of the processor, and the 95th percentile on the clock."""
    clock, processor = [], []
    for query in queries:
        start, busy = time.perf_counter(), time.process_time()
        ask(query)
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    return {
        "clock": 1e3 * float(np.median(clock)),
        "95th percentile": 1e3 * float(np.percentile(clock, 95)),
        "processor": 1e3 * float(np.median(processor)),
    }


def alternatives(
    library: Library, generation_id: int, vectors: Vectors, texts: Sequence[str], allowed: Any
) -> dict[str, dict[str, float]]:
    import faiss

    parts = [library.index(channel) for channel in ("visual", "speech", "text")]
    matrix = np.concatenate([part.vectors() for part in parts])
    flat = faiss.IndexFlatIP(matrix.shape[1])
    flat.add(matrix)
    rows = np.flatnonzero(np.isin(np.concatenate([part.ids for part in parts]), allowed))

    def best(scores: Vectors) -> Any:
        return np.argpartition(-scores, 10)[:10]

    def like(text: str) -> Any:
        word = max(text.split(), key=len)
        with library.store.reading() as connection:
            query = sql("SELECT id FROM segment WHERE text LIKE :pattern LIMIT 100000")
            return connection.execute(query, {"pattern": f"%{word}%"}).all()

    return {
        "NumPy, all vectors": timed(lambda vector: best(matrix @ vector), vectors),
        f"NumPy, the {len(rows):,} that --in lets through": timed(lambda vector: best(matrix[rows] @ vector), vectors),
        "FAISS IndexFlatIP alone": timed(lambda vector: flat.search(vector[None], 10), vectors),
        "SQLite LIKE, one word": timed(like, texts[:30]),
    }


def shortfall(
    library: Library, vectors: Vectors, wanted: dict[str, Any], generation_id: int, store: Any
) -> list[dict[str, Any]]:
    """Of ten segments wanted of the pictures' channel, how many a filter laid on the first k leaves."""
    rows = []
    for name, filter_ in wanted.items():
        allowed = admitted(store, generation_id, "visual", filter_)
        row: dict[str, Any] = {"": name}
        for k in (100, 1000):
            left = [
                min(10, int(np.isin(library.search("visual", vector[None], k)[1], allowed).sum())) for vector in vectors
            ]
            row[f"of the first {k:,}"] = f"{np.mean(left):.1f} of 10"
        row["inside the search"] = (
            f"{np.mean([library.search('visual', v[None], 10, allowed=allowed)[1].size for v in vectors]):.1f} of 10"
        )
        rows.append(row)
    return rows


def others_of(
    engine: Engine, asked: Sequence[str], drawings: Items, readings: dict[str, Reading]
) -> list[dict[str, Any]]:
    """Questions that are more than a text: how long they take, and how many of the ten best they find."""
    rng = np.random.default_rng(2)
    titles = [drawings.titles[row] for row in rng.choice(len(drawings), len(asked), replace=False)]
    noise = rng.normal(0, 0.3 / np.sqrt(drawings.items.shape[1]), (len(asked), drawings.items.shape[1]))
    seen = drawings.items[rng.choice(len(drawings), len(asked))] + noise
    for number, vector in enumerate(seen / np.linalg.norm(seen, axis=1, keepdims=True)):
        readings[f"picture {number}"] = reading(vector, "image", ["visual"])

    def mixed(*terms: Term, **how: Any) -> Query:
        return Query(terms, words=False, **how)

    numbers = range(len(asked) - 1)
    kinds = {
        "a title, of pictures alone": [mixed(Term("text", title), kinds=("image",)) for title in titles],
        "a picture": [mixed(Term("text", f"picture {at}")) for at in numbers],
        "two titles": [mixed(Term("text", titles[at]), Term("text", titles[at + 1])) for at in numbers],
        "a title and a picture": [mixed(Term("text", titles[at]), Term("text", f"picture {at}")) for at in numbers],
        "the same, by rank": [
            mixed(Term("text", titles[at]), Term("text", f"picture {at}"), fusion="rrf") for at in numbers
        ],
        "a picture, not a title": [
            mixed(Term("text", f"picture {at}"), Term("text", titles[at], -1.0)) for at in numbers
        ],
    }
    for title in titles:
        engine.query(title)  # encoded from now on
    rows = []
    pools = {"_POOL": mmsearch.search._POOL, "_POOL_BY_RANK": mmsearch.search._POOL_BY_RANK}
    for name, queries in kinds.items():
        for query in queries[:3]:
            engine.query(query)
        cells = timed(engine.query, queries)
        row: dict[str, Any] = {"": name} | cells
        if len(queries[0].terms) > 1:
            some = queries[:20]
            found = [{hit.path for hit in engine.query(query)} for query in some]
            for pool in pools:
                setattr(mmsearch.search, pool, 10**9)
            best = [{hit.path for hit in engine.query(query)} for query in some]
            for pool, size in pools.items():
                setattr(mmsearch.search, pool, size)
            row["of the ten best"] = float(
                np.mean([len(one & other) / len(other) for one, other in zip(found, best, strict=True)])
            )
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    drawings, texts = pictures(), packages()
    rng = np.random.default_rng(1)
    titles = [*drawings.titles, *texts.titles]
    asked = [titles[row] for row in rng.choice(len(titles), options.queries, replace=False)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = MadeLibrary.make(Path(folder) / "library", files_of(options.segments, drawings, texts))
        counts = {
            channel: made.library.store.position(made.generation_id, channel).vectors
            for channel in ("visual", "speech", "text")
        }
        taken = time.perf_counter() - start
        print(f"{sum(counts.values()):,} segments {counts}, made in {taken:.0f} s; load {os.getloadavg()[0]:.1f}")
        made.close()
        parts = Parts()
        with Engine.open(Path(folder) / "library", model=encoder()) as engine:
            for title in titles[:3]:
                engine.query(title)
            filters = {
                "no filter": {},
                "--kind video": {"kinds": ("video",)},
                "--name '*.mp3'": {"name": "*.mp3"},
                "--after 2024": {"after": datetime(2024, 1, 1)},
                **{f"--in {name} ({share:.1%})": {"within": (f"{ROOT}/{name}",)} for share, name in FOLDERS},
            }
            read, readings = mmsearch.engine.read_term, {}

            def remembered(term: Term, *how: Any) -> Reading:
                if term.value not in readings:
                    readings[term.value] = read(term, *how)
                return readings[term.value]

            mmsearch.engine.read_term = remembered
            for title in asked:
                engine.query(title)
            rows = []
            for name, how in filters.items():
                for words in (True, False):
                    start = time.perf_counter()
                    engine.query(Query.of_text(titles[5], words=words, **how))
                    first = time.perf_counter() - start
                    cells = timed(lambda title, h=how, w=words: engine.query(Query.of_text(title, words=w, **h)), asked)
                    found = np.mean(
                        [len(engine.query(Query.of_text(title, words=words, **how))) for title in asked[:20]]
                    )
                    rows.append(
                        {"filter": name, "words too": "yes" if words else "no", "results": float(found)}
                        | cells
                        | {"first use": 1e3 * first}
                    )
            show(
                "Milliseconds of a query, besides encoding",
                [{k: f"{c:.1f}" if isinstance(c, float) else c for k, c in row.items()} for row in rows],
            )
            more = others_of(engine, asked, drawings, readings)
            show(
                "Other questions: milliseconds, and how many of the ten best are found",
                [{k: f"{c:.2f}" if isinstance(c, float) else c for k, c in row.items()} for row in more],
            )
            mmsearch.engine.read_term = read
            parts.watch(mmsearch.engine, "read_term", "encode the text")
            parts.watch(mmsearch.engine, "filter_of", "read the filter")
            parts.watch(mmsearch.engine, "make_plan", "plan")
            parts.watch(mmsearch.engine, "find_literally", "words (FTS5)")
            parts.watch(engine._backgrounds, "read", "null distributions")
            parts.watch(Library, "search", "FAISS")
            parts.watch(mmsearch.plan.Plan, "keys", "hubness and keys")
            parts.watch(mmsearch.plan.Plan, "score", "score the files' segments")
            parts.watch(mmsearch.nearest, "contents_of", "segments' files (SQL)")
            parts.watch(mmsearch.search, "promising_of", "what words add, and to whom")
            parts.watch(mmsearch.search, "segments_of", "fetch the files' segments (SQL)")
            parts.watch(mmsearch.search, "files_of", "fetch the files (SQL)")
            parts.watch(mmsearch.search, "hits_of", "hits and moments")
            start = time.perf_counter()
            for title in asked:
                engine.query(title)
            whole = time.perf_counter() - start
            split = {label: 1e3 * taken / len(asked) for label, taken in parts.seconds.items()}
            split["the rest"] = 1e3 * whole / len(asked) - sum(split.values())
            show(
                "Part by part: milliseconds, means, no filter, words too",
                [{"part": label, "ms": f"{taken:.2f}"} for label, taken in split.items()],
            )
            library, generation = engine._library, engine._library.store.generation()
            assert generation is not None
            wanted = {name: filter_of(library, Query.of_text("x", **how)) for name, how in filters.items() if how}
            tenth = filter_of(library, Query.of_text("x", within=(f"{ROOT}/tenth",)))
            allowed = np.concatenate([admitted(library.store, generation[0], channel, tenth) for channel in counts])  # type: ignore[misc]
            plain = np.stack([readings[title]["visual"].vector for title in asked])
            others = alternatives(library, generation[0], plain, asked, allowed)
            show(
                "Alternatives: milliseconds",
                [{"": name} | {k: f"{c:.1f}" for k, c in row.items()} for name, row in others.items()],
            )
            short = shortfall(library, plain, wanted, generation[0], library.store)
            show("Filters inside the search, and after it", short)
        load = os.getloadavg()
        print(f"\nload average {load[0]:.1f}, {load[1]:.1f} on {os.cpu_count()} cores")
        save(
            "query_speed",
            {
                "segments": counts,
                "queries": rows,
                "others": more,
                "parts": split,
                "alternatives": others,
                "shortfall": short,
                "load": load,
            },
        )


if __name__ == "__main__":
    main()
