"""What each part of the bridge is worth, in two made-up spaces where the truth is known.

Things have meanings of 24 numbers. Each of two spaces turns these into more dimensions; each of four towers adds noise
and a gap of its own, and brings the sum to length 1. Maps are learned from 4,000 captions whose meanings are random.

    python benchmarks/bridge.py
"""

from __future__ import annotations

import numpy as np

from mmsearch.bridge import carried
from mmsearch.bridge.build import media_mean
from mmsearch.bridge.fit import centred, fit, procrustes, ranks, ridge

LATENT, SIGHT, HEARING = 24, 40, 32
CAPTIONS, THINGS, SEEDS = 4000, 300, 5


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def recalls(gap: float, noise: float, seed: int) -> dict[str, float]:
    """Recall@1 of pictures asked for with sounds."""
    rng = np.random.default_rng(seed)
    turns = [np.linalg.qr(rng.normal(size=(dim, LATENT)))[0].T for dim in (HEARING, SIGHT)]
    gaps = {}

    def tower(meanings, side, name):
        rows = meanings @ turns[side]
        if name not in gaps:
            direction = rng.normal(size=rows.shape[1])
            gaps[name] = gap * direction / np.linalg.norm(direction)
        return unit(rows + noise * rng.normal(size=rows.shape) + gaps[name])

    texts = unit(rng.normal(size=(CAPTIONS, LATENT)))
    things = unit(rng.normal(size=(THINGS, LATENT)))
    heard_text, seen_text = tower(texts, 0, "text, hearing"), tower(texts, 1, "text, sight")
    heard, seen = tower(things, 0, "audio"), tower(things, 1, "image")
    found = fit(heard_text, seen_text, np.arange(CAPTIONS) % 5)
    plain = ridge(heard_text, seen_text, found.strength) if found.strength else procrustes(heard_text, seen_text)
    order = rng.permutation(CAPTIONS)
    shuffled = ridge(centred(heard_text, heard_text.mean(0)), centred(seen_text[order], seen_text.mean(0)), 0.1)
    truth = (turns[0].T @ turns[1]).astype(np.float32)
    numbers = np.arange(THINGS)
    heard_mean, seen_mean = media_mean(numbers, heard), media_mean(numbers, seen)
    gallery = centred(seen, seen_mean)
    scores = {
        "the true map": carried(heard, truth, heard_mean) @ gallery.T,
        "the bridge": carried(heard, found.there, heard_mean) @ gallery.T,
        "pictures not centred": carried(heard, found.there, heard_mean) @ seen.T,
        "the texts' mean, not the sounds'": carried(heard, found.there, heard_text.mean(0)) @ gallery.T,
        "nothing centred": heard @ plain @ seen.T,
        "captions shuffled": carried(heard, shuffled, heard_mean) @ gallery.T,
    }
    return {name: float((ranks(each) == 1).mean()) for name, each in scores.items()}


def main() -> None:
    print(f"recall@1 among {THINGS}, sounds to pictures; mean of {SEEDS} seeds; chance is {1 / THINGS:.3f}")
    for gap in (0.5, 1.5, 3.0):
        for noise in (0.06, 0.12):
            rows = [recalls(gap, noise, seed) for seed in range(SEEDS)]
            print(f"gap {gap}, noise {noise} in each dimension")
            for name in rows[0]:
                print(f"  {name:<34}{np.mean([row[name] for row in rows]):.3f}")


if __name__ == "__main__":
    main()
