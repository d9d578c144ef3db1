"""Peak memory and rate of `mmsearch index` on folders of 1,000 and 10,000 small images: memory must stay flat.

usage: python benchmarks/index_memory.py [--model mini|fake] [--counts 1000,10000] [--json FILE]

The pictures are 160x120 JPEGs of random gradients, each different, made in a temporary folder. Each count is
indexed in a process of its own, whose peak resident memory the operating system tells. `fake` shows the
pipeline without a model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

CHILD = """
import json, resource, sys
from indexer.testing import FakeEncoder
from mmsearch import Engine
model, library, media = sys.argv[1:4]
with Engine.open(library, model=FakeEncoder() if model == "fake" else model) as engine:
    report = engine.index(media)
    again = engine.index(media)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
row = {"peak_bytes": peak, "seconds": report.seconds, "added": report.added, "again_seconds": again.seconds}
print(json.dumps(row))
"""


def make_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(count)
    for number in range(count):
        corners = rng.integers(0, 256, (3, 4, 3), np.uint8)
        path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(corners).resize((160, 120), Image.Resampling.BICUBIC).save(path, quality=85)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--counts", default="1000,10000")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for count in map(int, options.counts.split(",")):
        with tempfile.TemporaryDirectory() as place:
            make_images(Path(place) / "media", count)
            command = [sys.executable, "-c", CHILD, options.model, f"{place}/library", f"{place}/media"]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append({"images": count, "model": options.model, **row})
    print("| images | model | peak memory MB | images/s | second run, s |")
    print("|---|---|---|---|---|")
    for row in rows:
        rate = row["added"] / row["seconds"]
        print(
            f"| {row['images']:,} | {row['model']} | {row['peak_bytes'] / 1e6:.0f} | {rate:.0f} | "
            f"{row['again_seconds']:.2f} |"
        )
    first, last = rows[0], rows[-1]
    print(
        f"\n{last['images'] / first['images']:.0f} times the images: "
        f"{last['peak_bytes'] / first['peak_bytes']:.2f} times the memory"
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
