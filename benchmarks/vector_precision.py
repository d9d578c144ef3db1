"""Half or single precision for stored vectors: what float16 costs in rank and score, and what it saves.

usage: python benchmarks/vector_precision.py [--count 100000] [--queries 1000] [--json FILE]

Two sets, both searched by brute force in float32: MiniLM vectors of real texts (the labels of `mini`, all
ordered pairs of them blended, as pictures are), and clustered random vectors of the other dimensions that
models have. Reported for float16 against float32: how many of the ten best stay among the ten best, the
largest error of a score, and bytes a vector.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    centres = rng.normal(size=(max(1, count // 200), dim))
    return unit(centres[rng.integers(len(centres), size=count)] + 0.7 * rng.normal(size=(count, dim)))


def blended_labels(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors as `mini` makes them for pictures: weighted sums of text vectors; and the text vectors, as queries."""
    from indexer.types import TextSample
    from mmsearch.encoders import load_encoder
    from mmsearch.encoders.weights import LABELS_PATH

    encoder = load_encoder("mini")
    tower = encoder.spec.query_tower("text", "visual")
    labels = [line.split("\t")[0] for line in LABELS_PATH.read_text().splitlines() if line.strip()]
    texts = np.concatenate(
        [
            encoder.encode(tower, [encoder.prepare(tower, TextSample(label)) for label in labels[at : at + 100]])
            for at in range(0, len(labels), 100)
        ]
    )
    weights = rng.dirichlet(np.full(8, 0.3), size=count)
    chosen = rng.integers(len(texts), size=(count, 8))
    return unit(np.einsum("nk,nkd->nd", weights, texts[chosen])), texts


def compare(vectors: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    exact, half = queries @ vectors.T, queries @ vectors.astype(np.float16).astype(np.float32).T
    best = np.argpartition(-exact, 10, axis=1)[:, :10]
    near = np.argpartition(-half, 10, axis=1)[:, :10]
    kept = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(best, near, strict=True)])
    return {"top10_kept": float(kept), "largest_score_error": float(np.abs(exact - half).max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    vectors, texts = blended_labels(options.count, rng)
    rows.append({"set": "mini, 384-d", **compare(vectors, texts[: options.queries])})
    for dim in (512, 768, 1024):
        vectors = clustered(options.count + options.queries, dim, rng)
        rows.append({"set": f"clustered, {dim}-d", **compare(vectors[options.queries :], vectors[: options.queries])})
    print(f"{options.count:,} vectors, {options.queries:,} queries; float16 takes 2 bytes a number, float32 takes 4\n")
    print("| set | of the ten best, kept | largest error of a cosine |\n|---|---|---|")
    for row in rows:
        print(f"| {row['set']} | {row['top10_kept']:.4f} | {row['largest_score_error']:.6f} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
