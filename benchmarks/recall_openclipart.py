"""How often words find the picture that they are the title of, on openclipart.

Text to image: each title of a picture (benchmarks/_openclipart.py tells how they are chosen) by an author that the head
of `mini` learned nothing from (benchmarks/_captioned.py) is a query, and exactly one picture, its own, counts as right.
The gallery is the pictures of the same authors. Recall@k is the share of queries whose picture is among the first k by
cosine similarity; the interval holds 95 % of 10,000 bootstrap samples of queries (percentile method, Efron and
Tibshirani 1993).

Beside the model: its version 1, which has no head; `top-1 label`, the text vector of the likeliest of the 1000 class
labels, and `random`, which is known without trying: k/n. Titles are of drawings that the image network never saw in
training, of which many show no ImageNet class at all, so the numbers are a floor for photographs.

    python benchmarks/recall_openclipart.py [--limit N]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _openclipart import Picture, find_pictures, read_pixels
from numpy.typing import NDArray

from indexer.types import ImageSample, TextSample
from mmsearch.encoders import load_encoder
from mmsearch.encoders.efficientnet import Classifier
from mmsearch.encoders.images import ImageTower
from mmsearch.encoders.mini import IMAGE, TEXT, MiniEncoder
from mmsearch.encoders.minilm import TextTower

RESULTS = Path(__file__).parent / "results"
DEPTHS = (1, 5, 10)


def ranks_of_own(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rank of gallery row i for query row i, from 1; among equal scores, the middle of their ranks.

    Equal means within 1e-6, so that rounding does not order pictures with one and the same label.
    """
    scores = queries @ gallery.T
    own = np.diag(scores)[:, None]
    above = (scores > own + 1e-6).sum(axis=1)
    equal = (np.abs(scores - own) <= 1e-6).sum(axis=1)
    return above + (equal + 1) / 2


def summarise(ranks: NDArray[np.float64]) -> dict[str, float | list[float]]:
    """Recall at each depth with its interval, median rank, and mean reciprocal rank."""
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(ranks), (10_000, len(ranks)), dtype=np.int32)
    summary: dict[str, float | list[float]] = {"median_rank": float(np.median(ranks)), "mrr": float((1 / ranks).mean())}
    for depth in DEPTHS:
        hits = ranks <= depth
        summary[f"recall@{depth}"] = float(hits.mean())
        summary[f"recall@{depth}_95"] = np.percentile(hits[samples].mean(axis=1), [2.5, 97.5]).tolist()
    return summary


def random_summary(size: int) -> dict[str, float | list[float]]:
    """What an order drawn at random has on average, among `size` pictures."""
    mrr = float((1 / np.arange(1, size + 1)).mean())
    return {"median_rank": (size + 1) / 2, "mrr": mrr} | {f"recall@{k}": min(k, size) / size for k in DEPTHS}


def prepare_all(pictures: list[Picture], prepare: Callable[[Picture], NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(prepare, pictures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="take only the first N pictures by path")
    from _captioned import is_held_out

    pictures = [picture for picture in find_pictures() if is_held_out(picture.path)][: parser.parse_args().limit]
    if len(pictures) < 2:
        sys.exit(f"found {len(pictures)} pictures, and need 2 or more")

    encoder = load_encoder("mini")
    start = time.perf_counter()
    prepared = prepare_all(pictures, lambda p: encoder.prepare(IMAGE, ImageSample(read_pixels(p.path))))
    decoded = time.perf_counter()
    gallery = encoder.encode(IMAGE, prepared)
    encoded = time.perf_counter()
    queries = encoder.encode(TEXT, [encoder.prepare(TEXT, TextSample(picture.title)) for picture in pictures])

    label_vectors = ImageTower(TextTower()).label_vectors
    top_labels = label_vectors[Classifier().logits(prepared).argmax(axis=1)]

    first = MiniEncoder(version=1).encode(IMAGE, prepared)
    rows = {
        "mini": summarise(ranks_of_own(queries, gallery)),
        "mini, version 1": summarise(ranks_of_own(queries, first)),
        "top-1 label": summarise(ranks_of_own(queries, top_labels)),
        "random": random_summary(len(pictures)),
    }
    print(f"{len(pictures)} pictures and titles; decoding {len(pictures) / (decoded - start):.0f} pictures/s,")
    print(f"encoding {len(pictures) / (encoded - decoded):.0f} pictures/s (the first load of the weights included)\n")
    print("| | recall@1 | recall@5 | recall@10 | median rank | MRR |\n|---|---|---|---|---|---|")
    for name, row in rows.items():
        cells = []
        for depth in DEPTHS:
            interval = row.get(f"recall@{depth}_95")
            bounds = f" ({interval[0]:.1%} to {interval[1]:.1%})" if isinstance(interval, list) else ""
            cells.append(f"{row[f'recall@{depth}']:.1%}{bounds}")
        print(f"| {name} | {' | '.join(cells)} | {row['median_rank']:.0f} | {row['mrr']:.3f} |")
    RESULTS.mkdir(exist_ok=True)
    result = {"pictures": len(pictures), "model": encoder.spec.fingerprint, "rows": rows}
    (RESULTS / "recall_openclipart.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
