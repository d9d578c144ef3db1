"""How fast each tower is, and how near indexing comes to what decoding and encoding alone allow.

usage: python benchmarks/encode.py [--quick] [--only towers|pipeline] [--folder DIR] [--json FILE]

Towers: each beside its own network on tensors that are ready (bare: the limit), and beside the same weights as ONNX on
ONNX Runtime, which is how rclip runs them. Pipeline: JPEGs of 640 x 480 and of 12 megapixels, with ViT-B-32 on these
cores, and with a made-up device that encodes without them, as a GPU does. All ways of one table take turns, round after
round, and medians are shown; on a busy machine, compare processor time. Peak memory is that of a process of its own.

Weights are random, because speed does not depend on them: no hub is needed. Photographs are pieces of scikit-image's.
--folder keeps both for another run. The packages onnx and simplejpeg are needed for what they are compared with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _encode_pipeline
import _encode_towers
from _alternate import machine

SIZES = {(640, 480): 192, (4000, 3000): 96}


def show_towers(folder: Path, quick: bool) -> list[dict[str, Any]]:
    print(
        "| tower | way | items/s | of the bare network | processor time, ms | peak memory, MB |\n"
        "|---|---|---|---|---|---|"
    )
    found = []
    for tower in _encode_towers.TOWERS:
        rows = _encode_towers.measure(folder, tower, *((2, 0.5) if quick else (7, 1.5)), memory=not quick)
        rates = {row["way"]: row["rate"] for row in rows}
        for row in rows:
            limit = rates.get("bare" + row["way"].removeprefix("mmsearch"))
            part = f"{row['rate'] / limit:.0%}" if limit and row["way"].startswith("mmsearch") else ""
            peak = "" if quick else f"{row['peak_mb']:,.0f}"
            print(f"| {tower} | {row['way']} | {row['rate']:.1f} | {part} | {row['cpu_ms']:.1f} | {peak} |", flush=True)
        found += rows
    return found


def show_pipeline(folder: Path, quick: bool) -> list[dict[str, Any]]:
    found = []
    for size, count in SIZES.items():
        rows, others = _encode_pipeline.measure(folder, count // (3 if quick else 1), size, 1 if quick else 3)
        print(
            "\n| pictures | encoder | decode alone, /s | encode alone, /s | index, /s | of the slower |"
            " of both on the same cores | processor time of index, ms |\n|---|---|---|---|---|---|---|---|"
        )
        for row in rows:
            shared = f"{row.index.rate / row.shared:.0%}" if row.encode.cpu_ms else ""
            print(
                f"| {row.pictures} | {row.encoder} | {row.decode.rate:.1f} | {row.encode.rate:.1f} |"
                f" {row.index.rate:.1f} | {row.index.rate / row.bound:.0%} | {shared} | {row.index.cpu_ms:.1f} |"
            )
            found.append(asdict(row))
        print("\n| the same files, otherwise | /s | processor time, ms |\n|---|---|---|")
        for name, speed in others.items():
            print(f"| {name} | {speed.rate:.1f} | {speed.cpu_ms:.1f} |", flush=True)
            found.append({"pictures": rows[0].pictures, "way": name, **asdict(speed)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, and no memory")
    parser.add_argument("--only", choices=("towers", "pipeline"))
    parser.add_argument("--folder", type=Path, help="where models and photographs are kept; else a temporary one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.absolute()
        print(machine(), "\n")
        found: dict[str, Any] = {}
        if options.only != "pipeline":
            found["towers"] = show_towers(folder, options.quick)
        if options.only != "towers":
            found["pipeline"] = show_pipeline(folder, options.quick)
        print(f"\n{machine()}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
