"""LeGrad on a network that was taught where to look: a tiny CLIP, trained here on squares whose place is known."""

import json

import numpy as np
import pytest
from tiny_models import TinyOpenClip

from indexer.types import ImageSample
from mmsearch.encoders.open_clip import open_clip_towers
from mmsearch.encoders.preprocess import normalise
from mmsearch.explain.faithfulness import faithfulness, random_heat
from mmsearch.explain.occlusion import occlusion

pytestmark = pytest.mark.slow

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220), "white": (250, 250, 250)}
SIDE, CELL = 32, 8
STEPS = 120


def drawn(rng, colour):
    """A square of one colour on grey noise, and the cell that it lies in."""
    pixels = rng.integers(70, 130, (SIDE, SIDE, 1)).repeat(3, axis=2).astype(np.uint8)
    row, column = rng.integers(0, SIDE // CELL, 2)
    pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = COLOURS[colour]
    return pixels, (int(row), int(column))


@pytest.fixture(scope="module")
def targets():
    """A vector for each colour, as a text tower would give it: (48,) float32 of length 1, all at right angles."""
    square = np.linalg.qr(np.random.default_rng(1).normal(size=(48, 48)))[0].astype(np.float32)
    return dict(zip(COLOURS, square, strict=False))


@pytest.fixture(scope="module")
def image(tmp_path_factory, targets):
    """The image tower of a network that tells the colours apart."""
    import torch
    from safetensors.torch import save_file

    folder = TinyOpenClip.save(tmp_path_factory.mktemp("taught"))
    network = TinyOpenClip.network(TinyOpenClip.CONFIG)
    visual = network.visual.train()
    row = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    texts = torch.from_numpy(np.stack(list(targets.values())))
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(visual.parameters(), lr=1e-3)
    for _ in range(STEPS):
        labels = rng.integers(0, len(COLOURS), 32)
        pictures = np.stack([drawn(rng, list(COLOURS)[label])[0] for label in labels])
        vectors = visual(torch.from_numpy(normalise(pictures, row["mean"], row["std"])))
        logits = 10 * torch.nn.functional.normalize(vectors, dim=1) @ texts.T
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5, "the network did not learn its colours"
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return open_clip_towers(str(folder), precision="float32")[0]


def test_the_hottest_place_is_where_the_square_is(image, targets):
    rng = np.random.default_rng(5)
    found = 0
    for number in range(32):
        colour = list(COLOURS)[number % 4]
        pixels, cell = drawn(rng, colour)
        heat = image.heat_maps(ImageSample(pixels), targets[colour][None]).values[0]
        assert heat.shape == (4, 4)
        found += np.unravel_index(heat.argmax(), heat.shape) == cell
    assert found >= 16  # by chance, two of 32


def test_maps_are_faithful_and_agree_with_occlusion(image, targets):
    rng = np.random.default_rng(6)

    def encode(samples):
        return image.encode([image.prepare(sample) for sample in samples])

    by_map, by_occlusion, by_chance = [], [], []
    for colour in COLOURS:
        pixels, _ = drawn(rng, colour)
        target = targets[colour]

        def score(pictures, target=target):
            vectors = encode([ImageSample(np.ascontiguousarray(picture)) for picture in pictures])
            return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ target).astype(np.float64)

        def worth(heat, pixels=pixels, score=score):
            found = faithfulness(pixels, heat, score, steps=8, grid=16)
            return found.insertion - found.deletion

        by_map.append(worth(image.heat_maps(ImageSample(pixels), target[None]).values[0]))
        by_occlusion.append(worth(occlusion(ImageSample(pixels), target[None], encode).values[0]))
        by_chance += [worth(random_heat(rng, 4)) for _ in range(3)]
    assert np.mean(by_map) > np.mean(by_chance) + 0.3
    assert np.mean(by_occlusion) > np.mean(by_chance) + 0.3
