"""The head of `mini`, made from nothing: drawings, their features, training, measurements, and the file that ships.

What is learned, and from what, is in mmsearch/encoders/mini_head.md. The parts:

    _captioned.py       drawings with captions that anyone may use, split by author
    _mini_features.py   what the image network gives for them, in several views, kept in --work
    _tuxpaint.py        photographs and drawings that are only measured on
    _mini_head.py       training, and what is measured
    _mini_head_table.py the tables: the spread over seeds, and what a part is worth

    python benchmarks/train_mini_head.py --write                         # the file, from nothing
    python benchmarks/train_mini_head.py --views 2 --seeds 3 --choose    # recipes, on authors held out for that
    python benchmarks/train_mini_head.py --views 2 --seeds 3 --ablate    # without each part in turn, on everything
    python benchmarks/train_mini_head.py --alone                         # from one source; without the labels

The recipe that ships learns from the plain view alone; --views makes more for the recipes that learn from them, and
without it these are passed over. --seconds bounds the time for features: run it again to go on. --seeds trains
everything that often. What was measured of a recipe is kept in --work. --write puts the head of the first seed and its
digest into mmsearch/encoders/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _captioned import find_all
from _mini_features import pooled_of
from _mini_head import ABLATIONS, ALONE, CHOICES, Head, Recipe, Table, captions_of, head_files, read_head, train
from _mini_head_table import differences, header, line
from _tuxpaint import ROOT as STAMPS
from _tuxpaint import find_stamps

from mmsearch.encoders import weights
from mmsearch.encoders.weights import HEAD_PATH

RESULTS = Path(__file__).parent / "results"
BASE = "the whole recipe"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/mmsearch-head"), help="what is kept between runs")
    parser.add_argument("--stamps", type=Path, default=STAMPS, help="Tux Paint's stamps")
    parser.add_argument("--views", type=int, default=1, help="views of each drawing, the plain one included")
    parser.add_argument("--seconds", type=float, help="for features; what is left is left for another run")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # beside other work, a second one only waits
    started = time.monotonic()
    deadline = None if asked.seconds is None else started + asked.seconds
    drawings = find_all(asked.work / "packages")
    views = []
    for view in range(asked.views):
        pooled = pooled_of(drawings, view, asked.work / "cache", deadline)
        if pooled is None:
            sys.exit(f"view {view} is not done; run this again to go on")
        views.append(pooled)
        print(f"view {view}: {len(pooled):,} drawings after {time.monotonic() - started:.0f} s", flush=True)
    stamps = find_stamps(asked.stamps) if asked.stamps.is_dir() and not asked.choose else []
    pooled_stamps = pooled_of(stamps, 0, asked.work / "cache", None) if stamps else None
    splits = ("development",) if asked.choose else ("test",)
    table = Table(drawings, views[0], stamps, pooled_stamps, asked.work, splits)
    captions = captions_of(drawings)
    rows = {"version 1 (labels alone)": [table.measure(None)]}
    if not asked.choose:
        rows["the file that ships"] = [table.measure(read_head(HEAD_PATH))]
    recipes = CHOICES if asked.choose else {BASE: Recipe()}
    recipes = recipes | (ABLATIONS if asked.ablate else {}) | (ALONE if asked.alone else {})
    recipes = {name: recipe for name, recipe in recipes.items() if asked.views > 1 or not recipe.views}
    print(header(rows["version 1 (labels alone)"]))
    for name, measured in rows.items():
        print(line(name, measured), flush=True)
    rows |= {name: [] for name in recipes}
    for seed in range(asked.seeds):  # each seed for all before the next, so that a run that is cut short says something
        for name, recipe in recipes.items():
            own = replace(recipe, seed=seed, hold_out=("test", "development") if asked.choose else recipe.hold_out)
            views_learned = views if own.views else views[:1]
            described = f"{own} {len(views_learned)} {list(table.sets)}"
            place = asked.work / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.json"
            ships = asked.write and name == BASE and seed == 0
            if not place.exists() or ships:
                head = train(drawings, np.stack(views_learned), captions, own, asked.work)
                place.write_text(json.dumps(table.measure(head)))
                if ships:
                    _ship(head)
            rows[name].append(json.loads(place.read_text()))
            print(f"seed {seed}, {name}: after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    for name in recipes:
        print(line(name, rows[name]))
    print("\n" + differences(rows, next(iter(recipes))))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"mini_head{'_choices' * asked.choose}.json").write_text(json.dumps(rows) + "\n")


def _ship(head: Head) -> None:
    """Put a head into the package, with its digests."""
    trained, shipped = head_files(head)
    HEAD_PATH.write_bytes(shipped)
    source = Path(weights.__file__)
    text = source.read_text(encoding="utf-8")
    for name, content in (("HEAD_TRAINED_SHA256", trained), ("HEAD_SHA256", shipped)):
        text = re.sub(rf'^({name} = )"[^"]*"', rf'\1"{hashlib.sha256(content).hexdigest()}"', text, flags=re.MULTILINE)
    source.write_text(text, encoding="utf-8")
    print(f"wrote {HEAD_PATH}: {HEAD_PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
