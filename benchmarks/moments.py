"""How whole videos and recordings should be scored, and where their moments should begin and end.

Two libraries, whose scenes and passages have known times and titles:

- *videos*: MP4 files made of drawings from openclipart, each on the screen for 4 to 8 s while the view moves slowly
  into it, indexed with the whole pipeline and `mini`;
- *recordings*: transcripts, each a row of package descriptions of Debian's (3 to 6 sentences each, a line for a
  sentence, 15 characters a second): what is said, without the errors of hearing it.

Files have 1 to 32 scenes or passages. A third of those with 4 or more are about one thing: all their scenes come from
one folder or section. The rest is mixed.

Ranking whole files. The segments' scores over chance become the file's score in several ways. Asked for are

- a scene's title, where the one file that has the scene is right; scenes whose own drawing the model does not find
  among the first 20 of its split say nothing of pooling, and are not asked for. Two averages: over scenes (who looks
  for something has seen it somewhere) and over files (each file is looked for equally often, however long);
- a group's name ("birds"), with the share of a file's scenes that are of the group as its grade (nDCG@10).

Moments. The best moment of the right file is held against the time when the scene was on: intersection over union
(IoU), for several distances that a neighbour's score may lie below the best (`mmsearch.moments`: _LEVEL, in excess over
chance, and _LEVEL_COSINE where nothing is calibrated), and for several shares of the best's excess that it must have
(_SHARE, with the shipped _LEVEL as the least distance).

    python benchmarks/moments.py [--split development]
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _library import reading
from _measures import interval, percent, plain, ranks_of, save, show
from _moments_made import Made, Scene, recordings, videos
from _sets import packages, pictures
from numpy.typing import NDArray

from indexer.found import segments_of
from mmsearch import moments
from mmsearch.plan import Plan
from mmsearch.search import _candidates

Floats = NDArray[Any]

ASKED_FROM = 20  # the rank of its own item up to which a title is asked for
MOST_ASKED = 300


# --- whole files ---


def softmax(x: Floats, temperature: float) -> float:
    shares = np.exp((x - x.max()) / temperature)
    return float((shares * x).sum() / shares.sum())


def likelihood(x: Floats) -> float:
    """ln of the mean of exp(x): the log-odds of a match somewhere, were it equally likely in every segment."""
    return float(x.max() + np.log(np.exp(x - x.max()).mean()))


POOLS: dict[str, Callable[[Floats], float]] = {
    "best": lambda x: float(x.max()),
    "mean": lambda x: float(x.mean()),
    **{f"softmax, temperature {t:g}": lambda x, t=t: softmax(x, t) for t in (0.25, 0.5, 1.0, 2.0, 4.0)},
    "mean of the best 3": lambda x: float(np.sort(x)[-3:].mean()),
    "best - ln(n)": lambda x: float(x.max() - np.log(len(x))),
    "best - ln(n) / 2": lambda x: float(x.max() - np.log(len(x)) / 2),
    "best - ln(n) / 4": lambda x: float(x.max() - np.log(len(x)) / 4),
    "ln mean exp": likelihood,
    "ln sum exp": lambda x: likelihood(x) + float(np.log(len(x))),
    "(best + mean) / 2": lambda x: float((x.max() + x.mean()) / 2),
    "0.9 best + 0.1 mean": lambda x: float(0.9 * x.max() + 0.1 * x.mean()),
}


def scored_files(made: Made, plan: Plan) -> tuple[list[Floats], list[Floats]]:
    """Each file's segments' scores over chance, and their cosines."""
    library = made.library
    contents, keys, cosines = [], [], []
    for part in library.scored(plan):
        contents.append(part.segments.contents)
        keys.append(part.key)
        cosines.append(part.cosine)
    content, key, cosine = np.concatenate(contents), np.concatenate(keys), np.concatenate(cosines)
    by_number: list[Floats] = [np.empty(0)] * len(made.scenes)
    plain: list[Floats] = [np.empty(0)] * len(made.scenes)
    for id, number in library.number_of.items():
        by_number[number], plain[number] = key[content == id], cosine[content == id]
    return by_number, plain


def plan_of(made: Made, vector: Floats) -> Plan:
    """A text's plan for a library."""
    library = made.library
    channels = [
        channel
        for channel in ("visual", "speech")
        if library.library.store.position(library.generation_id, channel).vectors
    ]
    return library.plan([reading(vector, "text", channels)])


def ndcg(scores: Floats, grades: Floats, depth: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002), gains being the grades."""
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    order = np.argsort(-scores, kind="stable")[:depth]
    best = np.sort(grades)[::-1][:depth]
    return float((grades[order] * discounts[: len(order)]).sum() / (best * discounts[: len(best)]).sum())


def asked_for(made: Made) -> list[tuple[int, Scene]]:
    """The scenes whose titles are asked for, with their files: at most `MOST_ASKED`, drawn at random."""
    findable = ranks_of(made.items.queries @ made.items.items.T.astype(float), np.arange(len(made.items))) <= ASKED_FROM
    asked = [(number, scene) for number, some in enumerate(made.scenes) for scene in some if findable[scene.item]]
    drawn = np.random.default_rng(0).permutation(len(asked))[:MOST_ASKED]
    return [asked[at] for at in np.sort(drawn)]


def whole_files(made: Made) -> dict[str, dict[str, Any]]:
    """Each pooling's measures."""
    asked = asked_for(made)
    reciprocal: dict[str, list[float]] = defaultdict(list)
    for number, scene in asked:
        keys, cosines = scored_files(made, plan_of(made, made.items.queries[scene.item]))
        pooled = {name: np.array([pool(x) for x in keys]) for name, pool in POOLS.items()}
        pooled["best cosine"] = np.array([x.max() for x in cosines])
        for name, scores in pooled.items():
            reciprocal[name].append(float(1 / ranks_of(scores[None], np.array([number]))[0]))
    lengths = np.array([len(made.scenes[number]) for number, _ in asked])

    def over_files(values: Floats) -> Floats:
        by_file = defaultdict(list)
        for (number, _), value in zip(asked, values.tolist(), strict=True):
            by_file[number].append(value)
        return np.array([np.mean(some) for some in by_file.values()])

    topics: dict[str, list[float]] = defaultdict(list)
    for group, vector in made.names.items():
        shares = np.array([np.mean([made.items.groups[scene.item] == group for scene in some]) for some in made.scenes])
        if (shares >= 0.5).sum() < 1:
            continue
        keys, cosines = scored_files(made, plan_of(made, vector))
        for name, pool in POOLS.items():
            topics[name].append(ndcg(np.array([pool(x) for x in keys]), shares))
        topics["best cosine"].append(ndcg(np.array([x.max() for x in cosines]), shares))
    rows = {}
    for name, values in reciprocal.items():
        found = np.array(values)
        rows[name] = {
            "MRR over scenes": interval(found),
            "less best": interval(found - np.array(reciprocal["best"])),
            "over files": interval(over_files(found)),
            "over files, less best": interval(over_files(found - np.array(reciprocal["best"]))),
            "1 or 2 scenes": float(found[lengths <= 2].mean()),
            "16 or more": float(found[lengths >= 16].mean()),
            "nDCG@10 of groups": interval(np.array(topics[name])),
            "of groups, less best": interval(np.array(topics[name]) - np.array(topics["best"])),
            "queries": len(asked),
            "groups": len(topics[name]),
        }
    return rows


# --- moments ---

Rule = tuple[str, float, float, bool]
"""A name, the level, the share of the best's excess (1 is: only the level counts), whether anything is calibrated."""

RULES: list[Rule] = [
    *((f"{level:g} below", level, 1.0, True) for level in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 100.0)),
    *((f"{share:g} of the best", moments._LEVEL, share, True) for share in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
    *((f"cosine {level:g} below", level, 1.0, False) for level in (0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 2.0)),
]


def spans(made: Made) -> Iterator[tuple[str, dict[str, Any]]]:
    """IoU of the best moment of the right file, for each rule of joining neighbours."""
    ids = {number: content for content, number in made.library.number_of.items()}
    store = made.library.library.store
    shipped = moments._LEVEL, moments._SHARE, moments._LEVEL_COSINE
    overlaps: dict[str, list[float]] = defaultdict(list)
    hits: dict[str, list[bool]] = defaultdict(list)
    for number, scene in asked_for(made):
        if len(made.scenes[number]) < 2:
            continue
        segments = segments_of(store, made.library.generation_id, [ids[number]])
        plan = plan_of(made, made.items.queries[scene.item])
        plans = {True: plan, False: replace(plan, calibrated=False)}
        found = {
            calibrated: _candidates(some, [some.score(part) for part in segments], {})[ids[number]]
            for calibrated, some in plans.items()
        }
        for name, level, share, calibrated in RULES:
            moments._LEVEL, moments._SHARE, moments._LEVEL_COSINE = level, share, level
            moment = next(moments.moments_of(found[calibrated], plans[calibrated]))
            assert moment.start_seconds is not None
            assert moment.end_seconds is not None
            common = min(moment.end_seconds, scene.end) - max(moment.start_seconds, scene.start)
            union = max(moment.end_seconds, scene.end) - min(moment.start_seconds, scene.start)
            overlaps[name].append(max(0.0, common) / union)
            hits[name].append(common > 0)
    moments._LEVEL, moments._SHARE, moments._LEVEL_COSINE = shipped
    for name, values in overlaps.items():
        iou, right = np.array(values), np.array(hits[name])
        yield (
            name,
            {
                "mean IoU": interval(iou),
                "where it hits": interval(iou[right]),
                "IoU over 0.5": float((iou >= 0.5).mean()),
                "hits": float(right.mean()),
                "queries": len(iou),
            },
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("development", "test"), default="test")
    split = parser.parse_args().split
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, made in (
            ("videos", videos(pictures().split(split), split)),
            ("recordings", recordings(packages().split(split), Path(folder) / "library")),
        ):
            sizes = [len(some) for some in made.scenes]
            segments = sum(map(len, made.library.segments))
            rows = whole_files(made)
            first = next(iter(rows.values()))
            show(
                f"{name}: {len(sizes)} files, {sum(sizes)} scenes, {segments} segments, {first['queries']} titles, "
                f"{first['groups']} groups; {split} split",
                [
                    {"": way} | {key: plain(cell) for key, cell in row.items() if key not in ("queries", "groups")}
                    for way, row in rows.items()
                ],
            )
            result[name] = {"pooling": rows}
            found = result[name]["moments"] = dict(spans(made))
            show(
                f"{name}: the best moment of the right file, by how far below the best a neighbour may score",
                [
                    {
                        "": rule,
                        "mean IoU": plain(row["mean IoU"]),
                        "where it hits": plain(row["where it hits"][0]),
                        "IoU over 0.5, %": percent(row["IoU over 0.5"]),
                        "hits, %": percent(row["hits"]),
                    }
                    for rule, row in found.items()
                ],
            )
            made.close()
    save("moments" if split == "test" else f"moments_{split}", result)


if __name__ == "__main__":
    main()
