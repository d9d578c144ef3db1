"""`--confident` from end to end: drawings are indexed with `mini`, and asked for by titles that are and are not there.

For each folder of openclipart a library is made of its drawings (of the test split: on them nothing was chosen), with
the whole pipeline, and asked through `Engine.query`; that `confident=True` says the same is checked for the surest:

- absent: titles of the other folders that have no word in common with any title in it; an answer is a false accept,
  and 1 % is promised;
- present: the folder's own titles. *Kept* is the share with an answer among those whose own drawing is the nearest;
- far: one-line descriptions of Debian's packages, which are of nothing that is drawn.

Once more with all drawings in one library, and `within=[folder]` as the filter: what chance scores is then known of
the whole library, and moved to the folder's size. Words are looked for in neither (`words=False`): the files are
renamed, so that nothing is found by its name.

    python benchmarks/no_match.py [--split development] [--limit N]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measures import interval, percent, save, show
from _openclipart import ROOT
from _sets import Items, absent_rows, encoder, packages, pictures

from mmsearch import Engine, Query
from mmsearch.rank import CONFIDENT

FAR_QUERIES = 60


def answers(engine: Engine, titles: Sequence[str], **how: Any) -> list[tuple[str, float, bool]]:
    """The nearest file, its confidence, and whether `--confident` answers, for each title."""
    found = []
    for title in titles:
        nearest = engine.query(Query.of_text(title, k=1, words=False, **how))[0]
        found.append((Path(nearest.path).name, nearest.confidence, nearest.confidence >= CONFIDENT))
    for title, (_, chance, accepted) in sorted(zip(titles, found, strict=True), key=lambda pair: -pair[1][1])[:10]:
        sure = engine.query(Query.of_text(title, k=1, words=False, confident=True, **how))
        if bool(sure) != accepted:
            raise AssertionError(f"{title!r}: --confident and the confidence {chance} disagree")
    return found


def outcome(
    engine: Engine, gallery: Items, absent: Items, far: Sequence[str], names: dict[str, str], **how: Any
) -> Any:
    present = answers(engine, gallery.titles, **how)
    first = [name == names[path] for (name, _, _), path in zip(present, gallery.paths, strict=True)]
    wrong = answers(engine, absent.titles, **how)
    elsewhere = answers(engine, far, **how)
    worst = sorted(zip(wrong, absent.titles, strict=True), key=lambda pair: -pair[0][1])[:3]
    shown = {names[path]: title for title, path in zip(gallery.titles, gallery.paths, strict=True)}
    kept = [sure for (_, _, sure), own in zip(present, first, strict=True) if own]
    return {
        "drawings": len(gallery),
        "absent": len(absent),
        "false accepts": float(np.mean([sure for _, _, sure in wrong])),
        "far accepts": float(np.mean([sure for _, _, sure in elsewhere])),
        "first": int(sum(first)),
        "kept": float(np.mean(kept)) if kept else float("nan"),
        "present accepted": float(np.mean([sure for _, _, sure in present])),
        "surest of the absent": [
            (title, shown.get(name, name), round(chance, 3)) for (name, chance, _), title in worst
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("development", "test"), default="test")
    parser.add_argument("--limit", type=int, default=150, help="ask at most N absent titles of each folder")
    options = parser.parse_args()
    drawings = pictures().split(options.split)
    descriptions = packages().split(options.split)
    far = [descriptions.titles[row] for row in np.random.default_rng(0).permutation(len(descriptions))[:FAR_QUERIES]]
    names = {path: f"{number:05}.png" for number, path in enumerate(drawings.paths)}
    rows: dict[str, list[Any]] = {"a library of its own": [], "one library, filtered": []}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for group in np.unique(drawings.groups):
            (folder / "all" / group).mkdir(parents=True)
            for path in drawings.of(drawings.groups == group).paths:
                shutil.copyfile(ROOT / "png" / path, folder / "all" / group / names[path])
        with Engine.open(folder / "library", model=encoder()) as whole:
            whole.index(folder / "all")
            for group in np.unique(drawings.groups):
                gallery = drawings.of(drawings.groups == group)
                absent = drawings.of(absent_rows(gallery, drawings))
                if len(gallery) < 15:
                    continue
                absent = absent.of(np.sort(rng.permutation(len(absent))[: options.limit]))
                with Engine.open(folder / f"library of {group}", model=encoder()) as own:
                    own.index(folder / "all" / group)
                    found = outcome(own, gallery, absent, far, names)
                rows["a library of its own"].append({"folder": str(group)} | found)
                found = outcome(whole, gallery, absent, far, names, within=(str(folder / "all" / group),))
                rows["one library, filtered"].append({"folder": str(group)} | found)
    summary = []
    for name, some in rows.items():
        show(
            name,
            [
                {
                    key: percent(cell) if isinstance(cell, float) else cell
                    for key, cell in row.items()
                    if key != "surest of the absent"
                }
                for row in some
            ],
        )
        for row in some:
            if row["false accepts"] > 0.02:
                print(f"{row['folder']}: surest of the absent {row['surest of the absent']}")
        cells = {
            key: interval(np.array([row[key] for row in some]))
            for key in ("false accepts", "far accepts", "kept", "present accepted")
        }
        summary.append({"": name} | {key: percent(cell) for key, cell in cells.items()})
    show("Means over folders, % (95 % bootstrap intervals over folders)", summary)
    save("no_match" if options.split == "test" else f"no_match_{options.split}", {"rows": rows, "summary": summary})


if __name__ == "__main__":
    main()
