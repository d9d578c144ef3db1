"""Which way to put several terms together finds most, on queries whose answers are known.

Four sets of queries, through the real ranking, in a library of vectors made once (_library.py):

- *two sides*: descriptions of Debian's packages that their maintainers tagged (debtags). A query is one tag in words
  ("viewing") and one package as an example of another tag (works-with::image) that does not have the first. Right are
  all packages with both. Only the two terms together say what is asked for.
- *title and neighbour*: openclipart. A query is a drawing's title and another drawing of its folder, the deepest one.
  Right is the drawing of that title.
- *seen and said*: each file has a drawing (channel visual) and a package's description (channel speech), paired at
  random, as a video has pictures and speech. A query is the drawing's title and the package's synopsis. Right is the
  one file with both. Beside it, files with only one of the two kinds: a third of all each.
- *less of*: packages of one tag (in words) without another (in words). Right are packages with the first and not the
  second; *leak* is the share of packages with the second among the first ten.

Reported are mean reciprocal rank of the first right answer, recall among the first ten (of as many as could be there),
with 95 % bootstrap intervals over queries. `first` and `second` ask with one term alone. Temperatures and the ranks'
constant were chosen on the development split; the tables are of the test split.

    python benchmarks/fusion.py [--split development] [--queries 150]
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _library import MadeFile, MadeLibrary, reading
from _measures import interval, percent, plain, save, show
from _sets import Items, package_tags, packages, pictures, texts_as_vectors

from indexer.records import NewSegment
from mmsearch import fusion
from mmsearch.readings import Reading

KINDS = ("sum", "concat", "attention", "mean", "rrf", "borda")
FACETS = ("use", "works-with", "field", "game", "protocol", "sound", "web", "mail", "security", "network")
MOST_PACKAGES = 1500
FEWEST, MOST = 3, 60  # right answers of one query


@dataclass(frozen=True, slots=True)
class Asked:
    """A query: its terms, the files that are right, and those that should not come (`leaks`)."""

    terms: tuple[Reading, ...]
    right: frozenset[int]
    weights: tuple[float, ...] = ()
    leaks: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Set:
    """A library's files, and queries with known answers."""

    files: list[MadeFile]
    queries: list[Asked]


def said(tag: str) -> str:
    """A tag in words: "works-with::image:raster" is "raster image"."""
    facet, _, value = tag.partition("::")
    words = " ".join(reversed(re.sub("-", " ", value).split(":")))
    return {"game": f"{words} game", "protocol": f"{words} protocol", "sound": f"sound {words}", "web": f"web {words}",
            "mail": f"mail {words}", "network": f"network {words}"}.get(facet, words)  # fmt: skip


def tagged(items: Items) -> dict[str, frozenset[int]]:
    """Which packages have each tag that says what they are about."""
    tags = package_tags()
    found: dict[str, set[int]] = defaultdict(set)
    for row, name in enumerate(items.paths):
        for tag in tags.get(name, ()):
            if tag.partition("::")[0] in FACETS and "TODO" not in tag:
                found[tag].add(row)
    return {tag: frozenset(rows) for tag, rows in found.items()}


def text_files(items: Items) -> list[MadeFile]:
    return [MadeFile("text", [NewSegment("text", vector, text=None)]) for vector in items.items]


def two_sides(items: Items, drawings: Items, limit: int, rng: np.random.Generator) -> Set:
    have = tagged(items)
    words = dict(zip(have, texts_as_vectors([said(tag) for tag in have]), strict=True))
    queries = []
    for first in sorted(have):
        for second in sorted(have):
            both, examples = have[first] & have[second], have[second] - have[first]
            if FEWEST <= len(both) <= MOST and len(have[first] - both) >= len(both) and len(examples) >= len(both):
                example = int(rng.choice(sorted(examples)))
                terms = (
                    reading(words[first], "text", ("text",)),
                    reading(items.items[example], "text", ("text",)),
                )
                queries.append(Asked(terms, both, hidden=frozenset({example})))
    return Set(text_files(items), chosen(queries, limit, rng))


def title_and_neighbour(items: Items, drawings: Items, limit: int, rng: np.random.Generator) -> Set:
    folders: dict[str, list[int]] = defaultdict(list)
    for row, path in enumerate(drawings.paths):
        folders[path.rpartition("/")[0]].append(row)
    queries = []
    for rows in folders.values():
        for row in rows:
            others = [other for other in rows if other != row]
            if others:
                neighbour = int(rng.choice(others))
                terms = (
                    reading(drawings.queries[row], "text", ("visual",)),
                    reading(drawings.items[neighbour], "image", ("visual",)),
                )
                queries.append(Asked(terms, frozenset({row}), hidden=frozenset({neighbour})))
    files = [MadeFile("image", [NewSegment("visual", vector)]) for vector in drawings.items]
    return Set(files, chosen(queries, limit, rng))


def seen_and_said(items: Items, drawings: Items, limit: int, rng: np.random.Generator) -> Set:
    count = min(len(items), len(drawings)) // 2
    seen, heard = rng.permutation(len(drawings)), rng.permutation(len(items))
    files, queries = [], []
    for number in range(count):
        picture, text = drawings.items[seen[number]], items.items[heard[number]]
        files.append(MadeFile("video", [NewSegment("visual", picture, 0.0, 5.0), NewSegment("speech", text, 0.0, 5.0)]))
        terms = (
            reading(drawings.queries[seen[number]], "text", ("visual", "speech")),
            reading(items.queries[heard[number]], "text", ("visual", "speech")),
        )
        queries.append(Asked(terms, frozenset({number})))
    files += [MadeFile("image", [NewSegment("visual", drawings.items[row])]) for row in seen[count : 2 * count]]
    files += [MadeFile("audio", [NewSegment("speech", items.items[row], 0.0, 5.0)]) for row in heard[count : 2 * count]]
    return Set(files, chosen(queries, limit, rng))


def less_of(items: Items, drawings: Items, limit: int, rng: np.random.Generator) -> Set:
    have = tagged(items)
    words = dict(zip(have, texts_as_vectors([said(tag) for tag in have]), strict=True))
    queries = []
    for first in sorted(have):
        for second in sorted(have):
            both, right = have[first] & have[second], have[first] - have[second]
            if first != second and len(both) >= FEWEST and FEWEST <= len(right) <= MOST:
                terms = (reading(words[first], "text", ("text",)), reading(words[second], "text", ("text",)))
                queries.append(Asked(terms, right, (1.0, -1.0), leaks=both))
    return Set(text_files(items), chosen(queries, limit, rng))


def chosen(queries: list[Asked], limit: int, rng: np.random.Generator) -> list[Asked]:
    return [queries[at] for at in rng.permutation(len(queries))[:limit]]


SETS: dict[str, Callable[[Items, Items, int, np.random.Generator], Set]] = {
    "two sides": two_sides,
    "title and neighbour": title_and_neighbour,
    "seen and said": seen_and_said,
    "less of": less_of,
}


def measured(library: MadeLibrary, queries: Sequence[Asked], pick: slice, **how: Any) -> dict[str, Any]:
    """Measures of one way over all queries. `pick`: which of the terms are asked with."""
    reciprocal, recall, leak = [], [], []
    for asked in queries:
        ranking = library.ranking(asked.terms[pick], asked.weights[pick], **how)
        ranking = [number for number in ranking if number not in asked.hidden]
        places = [place for place, number in enumerate(ranking) if number in asked.right]
        reciprocal.append(1 / (1 + places[0]) if places else 0.0)
        recall.append(sum(place < 10 for place in places) / min(10, len(asked.right)))
        leak.append(len(asked.leaks.intersection(ranking[:10])) / 10)
    row = {"MRR": interval(np.array(reciprocal)), "recall@10": interval(np.array(recall))}
    if any(asked.leaks for asked in queries):
        row["leak"] = interval(np.array(leak))
    return row


def ways(library: MadeLibrary, made: Set, tune: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    queries = made.queries
    yield "first term alone", measured(library, queries, slice(0, 1))
    if not queries[0].leaks:
        yield "second term alone", measured(library, queries, slice(1, 2))
        for kind in KINDS:
            yield kind, measured(library, queries, slice(None), fusion=kind)
    else:
        for size in (0.25, 0.5, 1.0, 2.0):
            lighter = [Asked(a.terms, a.right, (1.0, -size), a.leaks, a.hidden) for a in queries]
            yield f"less, weight {size:g}", measured(library, lighter, slice(None), fusion="sum")
        for limit in (0.3, 0.4, 0.5):
            yield f"less, --not-below {limit:g}", measured(library, queries, slice(None), fusion="sum", not_below=limit)
    if tune and not queries[0].leaks:
        shipped = fusion.ATTENTION_TEMPERATURE
        for temperature in (0.25, 0.5, 2.0, 4.0):
            fusion.attention.__defaults__ = (temperature,)  # type: ignore[attr-defined]
            yield f"attention, temperature {temperature:g}", measured(library, queries, slice(None), fusion="attention")
        fusion.attention.__defaults__ = (shipped,)  # type: ignore[attr-defined]
        constant = fusion.RRF_K
        for k in (1, 10, 200):
            fusion.reciprocal_rank.__defaults__ = (k,)  # type: ignore[attr-defined]
            yield f"rrf, k {k}", measured(library, queries, slice(None), fusion="rrf")
        fusion.reciprocal_rank.__defaults__ = (constant,)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("development", "test"), default="test")
    parser.add_argument("--queries", type=int, default=150, help="at most this many of each set")
    options = parser.parse_args()
    items, drawings = packages().split(options.split), pictures().split(options.split)
    items = items.of(np.random.default_rng(0).permutation(len(items))[:MOST_PACKAGES])
    result: dict[str, Any] = {}
    for name, make in SETS.items():
        made = make(items, drawings, options.queries, np.random.default_rng(0))
        with tempfile.TemporaryDirectory() as folder:
            library = MadeLibrary.make(Path(folder) / "library", made.files)
            rows = dict(ways(library, made, options.split == "development"))
            library.close()
        result[name] = {"files": len(made.files), "queries": len(made.queries), "rows": rows}
        show(
            f"{name}: {len(made.queries)} queries, {len(made.files)} files, {options.split} split (recall, leak in %)",
            [
                {"": way} | {key: (plain if key == "MRR" else percent)(cell) for key, cell in row.items()}
                for way, row in rows.items()
            ],
        )
    save("fusion" if options.split == "test" else f"fusion_{options.split}", result)


if __name__ == "__main__":
    main()
