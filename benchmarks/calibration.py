"""What each step of calibration is worth: false accepts at the promised 1 %, true matches kept, mixed lists.

Titles are put to galleries. A title is *present* when its own item is in the gallery, and *absent* when the gallery
holds no item of its group and no title with a word of it (_sets.py). A query is *accepted* when its best score goes
above what one background query in a hundred should reach. Reported are

- false accepts: the share of absent queries that are accepted; 1 % is promised;
- kept: the share of present queries that are accepted among those whose own item is first;
- accepted: the share of all present queries that are accepted, right or wrong;
- kept at 1 %: the same as *kept*, were the threshold laid where exactly 1 % of the gallery's absent queries are
  accepted: how well the scores tell the two apart, whatever the null distribution says;
- taken out: the share of present queries that are accepted although their own item, and all whose titles share a word
  with theirs, are taken out of the gallery. The hardest absent queries, and not all absent: others may match them;
- broad: the share of galleries of one group that accept the group's own name ("games"), which most of it matches.

All are means over galleries with 95 % bootstrap intervals over galleries. Galleries: the drawings of one folder, the
drawings of all other folders, and the same for sections of Debian's packages. A variant differs from the shipped way
in what it is named by. Choices are made on the development split; the tables are of the test split (`--split`).

Then: whether confidences are true (reliability, expected calibration error, the Platt curve that would fit best), for
as many present as absent queries; and lists that hold drawings and packages, ranked by cosine and by other ways, also
with the drawings' cosines squeezed to where CLIP's lie (0.2 + 0.1 s).

    python benchmarks/calibration.py [--split development]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _calibration_ways import SHIPPED, VARIANTS, Way
from _measures import calibration_error, interval, percent, platt, ranks_of, reliability, save, show
from _sets import BROAD, Items, absent_rows, alike, bank, packages, pictures, texts_as_vectors, usual_words, words_of
from numpy.typing import NDArray

from mmsearch.calibration import OFFSET, confidence, hubness

Floats = NDArray[Any]


BROAD_VECTORS: dict[str, Floats] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A gallery, and titles that are absent from it."""

    gallery: Items
    absent: Items
    same: NDArray[np.bool_]
    broad: Floats


def cases(items: Items, whole: bool, usual: frozenset[str]) -> Iterator[Case]:
    """A gallery for each group: the group itself, or (`whole`) all the others."""
    for group in np.unique(items.groups):
        mine = items.groups == group
        gallery = items.of(~mine if whole else mine)
        others = items.of(mine if whole else ~mine)
        absent = others.of(absent_rows(gallery, others, usual))
        if len(gallery) >= 15 and len(absent) >= 10:
            names = [] if whole or group not in BROAD else [BROAD[group]]
            broad = BROAD_VECTORS[names[0]][None] if names else np.empty((0, gallery.items.shape[1]), np.float32)
            yield Case(gallery, absent, alike(gallery, usual), broad)


def outcome(way: Way, case: Case, background: Floats) -> dict[str, Any]:
    """How one way does on one gallery."""
    items = case.gallery.items
    chance = way.scores(background, items, background)
    present = way.excess(way.scores(case.gallery.queries, items, background), chance)
    absent = way.excess(way.scores(case.absent.queries, items, background), chance).max(axis=1)
    best = present.max(axis=1)
    taken_out = np.where(case.same, -np.inf, present).max(axis=1)
    broad = way.excess(way.scores(case.broad, items, background), chance)
    first = np.diag(present) >= best - 1e-9
    true_limit = np.quantile(absent, 0.99)
    return {
        "false accepts": float((absent > OFFSET).mean()),
        "kept": float((best[first] > OFFSET).mean()) if first.any() else float("nan"),
        "accepted": float((best > OFFSET).mean()),
        "kept at 1 %": float((best[first] > true_limit).mean()) if first.any() else float("nan"),
        "taken out": float((taken_out > OFFSET).mean()),
        "broad": float((broad.max(axis=1) > OFFSET).mean()) if len(broad) else float("nan"),
        "first": first,
        "best": best,
        "best_at": present.argmax(axis=1),
        "absent": absent,
    }


def fixed_limits(settings: dict[str, list[Case]]) -> dict[str, float]:
    """The cosines that 1 % of all absent queries reach: one for both channels, and one each."""
    found: dict[str, list[Floats]] = {}
    for name, some in settings.items():
        for case in some:
            best = (case.absent.queries @ case.gallery.items.T).max(axis=1)
            found.setdefault("both", []).append(best)
            found.setdefault(name.split(",")[0], []).append(best)
    return {name: float(np.quantile(np.concatenate(values), 0.99)) for name, values in found.items()}


def with_limit(limit: float, case: Case) -> dict[str, Any]:
    """What one fixed cosine would do, as `outcome`."""
    present = case.gallery.queries @ case.gallery.items.T
    best, absent = present.max(axis=1), (case.absent.queries @ case.gallery.items.T).max(axis=1)
    first = np.diag(present) >= best - 1e-6
    return {
        "false accepts": float((absent > limit).mean()),
        "kept": float((best[first] > limit).mean()) if first.any() else float("nan"),
        "accepted": float((best > limit).mean()),
        "kept at 1 %": float((best[first] > np.quantile(absent, 0.99)).mean()) if first.any() else float("nan"),
        "taken out": float((np.where(case.same, -np.inf, present).max(axis=1) > limit).mean()),
        "broad": float(((case.broad @ case.gallery.items.T).max(axis=1) > limit).mean()) if len(case.broad) else np.nan,
    }


def table(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over galleries."""
    cells = {
        name: interval(np.array([found[name] for found in outcomes]))
        for name in ("false accepts", "kept", "accepted", "kept at 1 %", "taken out", "broad")
    }
    return cells | {"worst": max(found["false accepts"] for found in outcomes)}


def printed(name: str, cells: dict[str, Any]) -> dict[str, str]:
    return {
        "": name,
        "false accepts, %": percent(cells["false accepts"]),
        "worst gallery": percent(cells["worst"]),
        "kept, %": percent(cells["kept"]),
        "kept at 1 %": percent(cells["kept at 1 %"][0]),
        "accepted": percent(cells["accepted"][0]),
        "taken out": percent(cells["taken out"][0]),
        "broad": "" if np.isnan(cells["broad"][0]) else percent(cells["broad"][0], 0),
    }


def confidences(cases_: Sequence[Case], background: Floats, way: Way = SHIPPED) -> dict[str, Any]:
    """Whether confidences are true: a best hit is right when it is the title's own item, or shares a word with it.

    Present and absent queries of a gallery weigh the same in sum, and every gallery the same.
    """
    excess, right, weights = [], [], []
    for case in cases_:
        found = outcome(way, case, background)
        words = [words_of(title) for title in case.gallery.titles]
        same = np.array([bool(words[row] & words[at]) for row, at in enumerate(found["best_at"])])
        excess += [found["best"], found["absent"]]
        right += [found["first"] | same, np.zeros(len(found["absent"]), bool)]
        weights += [np.full(len(part), 1 / len(part)) for part in excess[-2:]]
    x, y, w = np.concatenate(excess), np.concatenate(right).astype(float), np.concatenate(weights)
    rows = reliability(confidence(x), y, w)
    slope, constant = platt(x, y, w)
    refit = reliability(1 / (1 + np.exp(-(slope * x + constant))), y, w)
    return {
        "curve": rows,
        "calibration error": calibration_error(rows),
        "slope": slope,
        "constant": constant,
        "error after fitting": calibration_error(refit),
        "error of the share alone": float(2 * y.dot(w) / w.sum() * (1 - y.dot(w) / w.sum())),
    }


def mixed(drawings: Items, texts: Items, background: Floats, squeeze: bool) -> list[dict[str, Any]]:
    """One list of drawings and texts: how often a title finds its own item among both."""
    queries = np.concatenate([drawings.queries, texts.queries])
    own = np.arange(len(queries))
    raw = [queries @ drawings.items.T.astype(np.float64), queries @ texts.items.T.astype(np.float64)]
    chance = [background @ drawings.items.T.astype(np.float64), background @ texts.items.T.astype(np.float64)]
    hubs = [hubness(drawings.items, background), hubness(texts.items, background)]
    if squeeze:
        raw[0], chance[0] = 0.2 + 0.1 * raw[0], 0.2 + 0.1 * chance[0]
        nearest = np.sort(chance[0].T, axis=1)[:, -128:]
        hubs[0] = 0.75 * nearest.mean(axis=1)
    lower, lower_chance = ([s - h for s, h in zip(some, hubs, strict=True)] for some in (raw, chance))

    def joined(how: Any, scores: list[Floats], null: list[Floats]) -> Floats:
        return np.concatenate([how(s, n) for s, n in zip(scores, null, strict=True)], axis=1)

    def standard(scores: Floats, null: Floats) -> Floats:
        return np.asarray((scores - null.mean()) / null.std())

    def reciprocal(scores: Floats, _: Floats) -> Floats:
        ranks = np.argsort(np.argsort(-scores, axis=1), axis=1) + 1
        return np.asarray(1 / (60 + ranks))

    ways = {
        "cosine": joined(lambda s, _: s, raw, chance),
        "cosine less hubness (NNN)": joined(lambda s, _: s, lower, chance),
        "place in its own list (RRF)": joined(reciprocal, raw, chance),
        "z-score over mismatched pairs": joined(standard, raw, chance),
        "NNN, z-score over mismatched pairs": joined(standard, lower, lower_chance),
        "Gumbel without NNN": joined(Way(alpha=0).excess, raw, chance),
        "confidence, as shipped": joined(SHIPPED.excess, lower, lower_chance),
    }
    rows = []
    split = len(drawings)
    for name, scores in ways.items():
        ranks = ranks_of(scores, own)
        parts = {"drawings": ranks[:split], "texts": ranks[split:]}
        cells: dict[str, Any] = {"": name}
        for part, some in parts.items():
            for depth in (1, 10, 50):
                cells[f"{part} @{depth}"] = interval(some <= depth)
        cells["mean @10"] = (cells["drawings @10"][0] + cells["texts @10"][0]) / 2
        rows.append(cells)
    alone = [
        ranks_of(scores[at : at + len(scores[0])], np.arange(len(scores[0])))
        for scores, at in zip(raw, (0, split), strict=True)
    ]
    cells = {"": "each kind in a list of its own, by cosine"}
    for part, some in zip(("drawings", "texts"), alone, strict=True):
        for depth in (1, 10, 50):
            cells[f"{part} @{depth}"] = interval(some <= depth)
    cells["mean @10"] = (cells["drawings @10"][0] + cells["texts @10"][0]) / 2
    rows.append(cells)
    return rows


def recall(items: Items, background: Floats) -> list[dict[str, Any]]:
    """How often a title finds its own item, in a list of one kind, by cosine and less hubness."""
    rows = []
    for label, way in (
        ("cosine", Way(alpha=0)),
        ("centred", Way(alpha=0, centre=True)),
        *(
            (f"NNN, alpha {alpha}, k {k}", Way(alpha=alpha, k=k))
            for alpha in (0.25, 0.5, 0.75, 1.0)
            for k in (8, 32, 128)
        ),
    ):
        ranks = ranks_of(way.scores(items.queries, items.items, background), np.arange(len(items)))
        rows.append(
            {"": label}
            | {f"@{depth}": interval(ranks <= depth) for depth in (1, 10, 50)}
            | {"MRR": interval(1 / ranks)}
        )
    return rows


def bonferroni(first: Sequence[Case], second: Sequence[Case], background: Floats) -> list[dict[str, Any]]:
    """False accepts of a query that is put to two channels and absent from both, with and without the correction."""
    rows: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    for one, other in zip(first, second, strict=False):
        for asked, there in ((one, other), (other, one)):
            # Titles of the other kind are of nothing in this gallery: their fields do not meet.
            best = []
            own_best = []
            for case in (asked, there):
                chance = SHIPPED.scores(background, case.gallery.items, background)
                best.append(
                    SHIPPED.excess(SHIPPED.scores(asked.absent.queries, case.gallery.items, background), chance).max(
                        axis=1
                    )
                )
                own_best.append(
                    SHIPPED.excess(SHIPPED.scores(asked.gallery.queries, case.gallery.items, background), chance)
                )
            absent = np.maximum(*best)
            first_in_own = np.diag(own_best[0]) >= np.maximum(own_best[0].max(axis=1), own_best[1].max(axis=1)) - 1e-9
            kept = own_best[0].max(axis=1)[first_in_own]
            for name, channels in (("with", 2), ("without", 1)):
                limit = OFFSET + np.log(channels)
                rows[name].append(((absent > limit).mean(), (kept > limit).mean() if len(kept) else np.nan))
    return [
        {
            "": f"{name} Bonferroni's correction",
            "false accepts": interval(np.array([a for a, _ in some])),
            "kept": interval(np.array([b for _, b in some])),
        }
        for name, some in rows.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("development", "test"), default="test")
    split = parser.parse_args().split
    background = bank()
    whole = {"drawings": pictures(), "packages": packages()}
    BROAD_VECTORS.update(zip(BROAD.values(), texts_as_vectors(list(BROAD.values())), strict=True))

    def settings_of(split: str) -> dict[str, list[Case]]:
        found = {}
        for name, items in whole.items():
            usual = frozenset() if name == "drawings" else usual_words(items)
            for label, all_but_one in (("one group", False), ("all but one", True)):
                found[f"{name}, {label}"] = list(cases(items.split(split), all_but_one, usual))
        return found

    settings = settings_of(split)
    limits = fixed_limits(settings_of("development"))
    result: dict[str, Any] = {"split": split, "limits": limits, "settings": {}}
    for name, some in settings.items():
        sizes = [len(case.gallery) for case in some]
        absent = sum(len(case.absent) for case in some)
        rows = {label: table([outcome(way, case, background) for case in some]) for label, way in VARIANTS.items()}
        for label, limit in (("both", limits["both"]), ("its own", limits[name.split(",")[0]])):
            rows[f"one cosine for {label} ({limit:.2f})"] = table([with_limit(limit, case) for case in some])
        result["settings"][name] = {"galleries": len(some), "sizes": sizes, "absent": absent, "rows": rows}
        show(
            f"{name}: {len(some)} galleries of {min(sizes)} to {max(sizes)} ({absent} absent queries), {split} split",
            [printed(label, cells) for label, cells in rows.items()],
        )
    result["confidence"] = {name: confidences(some, background) for name, some in settings.items()}
    show(
        "Confidence of the best hit, with as many present as absent queries",
        [
            {"": name, "calibration error": f"{found['calibration error']:.3f}", "Platt slope": f"{found['slope']:.2f}",
             "Platt constant": f"{found['constant']:.2f}", "error after fitting": f"{found['error after fitting']:.3f}"}
            for name, found in result["confidence"].items()
        ],
    )  # fmt: skip
    for name, found in result["confidence"].items():
        show(
            f"Reliability, {name}",
            [
                {
                    "confidence": f"{row['confidence']:.2f}",
                    "right": f"{row['right']:.2f}",
                    "queries": row["count"],
                    "share": percent(row["share"]),
                }
                for row in found["curve"]
            ],
        )
    drawings, texts = (items.split(split) for items in whole.values())
    result["recall"] = {}
    for name, items in (("drawings", drawings), ("packages", texts)):
        rows = result["recall"][name] = recall(items, background)
        show(
            f"{len(items)} {name} in a list of their own: own item among the first, %",
            [
                {
                    key: cell if isinstance(cell, str) else percent(cell if key != "MRR" else cell[0])
                    for key, cell in row.items()
                }
                for row in rows
            ],
        )
    result["mixed"] = {}
    rng = np.random.default_rng(0)
    few = texts.of(np.sort(rng.choice(len(texts), min(len(texts), len(drawings)), replace=False)))
    for label, some, squeeze in (
        ("as many texts", few, False),
        ("all texts", texts, False),
        ("as many texts, cosines of drawings squeezed", few, True),
    ):
        rows = mixed(drawings, some, background, squeeze)
        result["mixed"][label] = rows
        show(
            f"One list of {len(drawings)} drawings and {len(some)} texts ({label}): own item among the first, %",
            [
                {
                    key: cell if isinstance(cell, str) else percent(cell[0] if isinstance(cell, tuple) else cell)
                    for key, cell in row.items()
                }
                for row in rows
            ],
        )
    result["bonferroni"] = bonferroni(settings["drawings, one group"], settings["packages, one group"], background)
    show(
        "A folder of drawings and a section of packages in one library",
        [
            {key: percent(cell) if isinstance(cell, tuple) else cell for key, cell in row.items()}
            for row in result["bonferroni"]
        ],
    )
    save(f"calibration_{split}" if split != "test" else "calibration", result)


if __name__ == "__main__":
    main()
