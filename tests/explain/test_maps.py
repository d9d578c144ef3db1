"""Heat maps: against what can be worked out by hand, against autograd, and where they lie over a picture."""

import numpy as np
import pytest
from tiny_models import TinyOpenClip

from indexer.testing import FakeEncoder
from indexer.types import ImageSample, TextSample
from mmsearch.encoders.cam import derivatives, integrated_grad_cam
from mmsearch.encoders.heat import ExplainsPictures, ExplainsTowers, HeatMaps
from mmsearch.encoders.open_clip import open_clip_towers
from mmsearch.encoders.preprocess import Preprocess
from mmsearch.explain.heat_colours import overlay, spread
from mmsearch.explain.occlusion import occlusion


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# --- occlusion ---


def encode_with(encoder):
    image = encoder.spec.tower_of("visual")
    return lambda samples: encoder.encode(image, [encoder.prepare(image, sample) for sample in samples])


def fake_target(word):
    encoder = FakeEncoder()
    (text, _) = encoder.spec.towers
    return encoder.encode(text, [encoder.prepare(text, TextSample(word))])


def test_what_is_red_is_hot_for_red():
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :, 1] = 255
    pixels[8:24, 48:72] = (255, 0, 0)
    found = occlusion(ImageSample(pixels), fake_target("red"), encode_with(FakeEncoder()))
    heat = spread(np.maximum(found.values[0], 0) / found.values.max(), found.box, (96, 64))
    inside = heat[8:24, 48:72].mean()
    outside = heat[40:, :].mean()
    assert found.values.shape == (1, 8, 8)
    assert inside > 0.5 > 10 * outside


def test_one_cell_is_covered_by_four_windows_whose_drops_are_averaged():
    """The formula, with a tower whose score is the brightness of one cell."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[3, 5] = 255

    def encode(samples):
        bright = np.array([sample.pixels[3, 5, 0] / 255 for sample in samples], np.float32)
        return np.stack([bright, np.ones_like(bright)], axis=1)

    target = np.array([[1.0, 0.0]], np.float32)
    heat = occlusion(ImageSample(pixels), target, encode).values[0]
    mean = round(255 / 64) / 255
    drop = 1 / np.sqrt(2) - mean / np.hypot(mean, 1)
    # Windows begin at rows 2 and 3, columns 4 and 5, and are two by two.
    expected = np.zeros((8, 8))
    for top in (2, 3):
        for left in (4, 5):
            expected[top : top + 2, left : left + 2] += drop / 4
    assert heat == pytest.approx(expected, abs=1e-6)


def test_pictures_of_a_few_pixels_have_maps_of_as_many():
    found = occlusion(ImageSample(np.full((2, 3, 3), 200, np.uint8)), fake_target("red"), encode_with(FakeEncoder()))
    assert found.values.shape == (1, 2, 3)
    assert np.abs(found.values).max() < 1e-6


# --- maps of the last features ---


def linear_head(rng, channels=6, dim=4):
    weight = rng.normal(size=(channels, dim)).astype(np.float32)
    return lambda means: means @ weight, weight


def test_derivatives_are_those_of_autograd():
    import torch

    rng = np.random.default_rng(0)
    feature_map = rng.random((6, 3, 5)).astype(np.float32)
    head, weight = linear_head(rng)
    targets = unit(rng.normal(size=(2, 4))).astype(np.float32)
    found = derivatives(feature_map, head, targets)
    features = torch.tensor(feature_map, dtype=torch.float64, requires_grad=True)
    vector = features.mean(dim=(1, 2)) @ torch.tensor(weight, dtype=torch.float64)
    scores = torch.tensor(targets, dtype=torch.float64) @ (vector / vector.norm())
    for at, score in enumerate(scores):
        (gradient,) = torch.autograd.grad(score, features, retain_graph=True)
        expected = (gradient * features).sum(dim=0).detach().numpy()  # Grad-CAM: the gradient is the same everywhere
        assert found[:, at].reshape(3, 5) == pytest.approx(expected, abs=2e-3)


def test_the_whole_way_adds_up_to_the_score():
    """Integrated gradients are complete: over all places they sum to s(p) - s(0)."""
    rng = np.random.default_rng(1)
    feature_map = rng.random((8, 4, 4)).astype(np.float32)
    weight = rng.normal(size=(8, 5)).astype(np.float32) * 0.3
    bias = rng.normal(size=5).astype(np.float32)

    def head(means):
        return means @ weight + bias

    target = unit(rng.normal(size=(1, 5))).astype(np.float32)
    heat = integrated_grad_cam(feature_map, head, target, reach=1.0)
    mean = feature_map.mean(axis=(1, 2))
    whole = (unit(head(mean[None])) - unit(head(np.zeros((1, 8), np.float32)))) @ target.T
    assert heat.sum() == pytest.approx(whole.item(), abs=5e-3)


# --- open_clip ---


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return open_clip_towers(str(TinyOpenClip.save(tmp_path_factory.mktemp("tiny"))), precision="float32")


def photograph(rng, height=40, width=56):
    return ImageSample(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_legrad_is_the_gradient_of_each_layers_attention(tiny):
    """An independent forward pass, with attention written out and gradients of torch, layer by layer."""
    import torch

    tower, _ = tiny
    rng = np.random.default_rng(2)
    sample = photograph(rng)
    targets = rng.normal(size=(2, 48)).astype(np.float32)
    found = tower.heat_maps(sample, targets)
    assert found.method == "LeGrad"

    network = tower._model.network
    visual = network.visual
    from mmsearch.encoders.preprocess import normalise

    preprocess = tower._model.source.preprocess
    x = torch.from_numpy(normalise(tower.prepare(sample)[None], preprocess.mean, preprocess.std))
    expected = np.zeros((2, 16))
    tokens = visual._embeds(x)
    for block in visual.transformer.resblocks:
        attention = block.attn
        normed = block.ln_1(tokens)
        _, weights = attention(normed, normed, normed, need_weights=True, average_attn_weights=False)
        weights = weights[0].detach().requires_grad_(True)
        dim, heads = attention.embed_dim, attention.num_heads
        value = normed @ attention.in_proj_weight[2 * dim :].T + attention.in_proj_bias[2 * dim :]
        value = value[0].reshape(-1, heads, dim // heads).permute(1, 0, 2)
        mixed = (weights @ value).permute(1, 0, 2).reshape(1, -1, dim)
        after = tokens + attention.out_proj(mixed)
        after = after + block.mlp(block.ln_2(after))
        vector = (visual._pool(after)[0] @ visual.proj)[0]
        scores = torch.from_numpy(targets) @ (vector / vector.norm())
        for at, score in enumerate(scores):
            (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
            expected[at] += gradient.clamp(min=0).mean(dim=(0, 1))[1:].numpy() / 2
        tokens = after.detach()
    assert found.values.reshape(2, 16) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_looking_leaves_the_network_as_it_was(tiny):
    tower, _ = tiny
    rng = np.random.default_rng(3)
    sample = photograph(rng)
    before = tower.encode([tower.prepare(sample)])
    tower.heat_maps(sample, before)
    after = tower.encode([tower.prepare(sample)])
    assert np.array_equal(before, after)
    assert not any(module._forward_hooks for module in tower._model.network.modules())
    assert not any(value.requires_grad for value in tower._model.network.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resnets_have_grad_cam(tmp_path, precision):
    config = TinyOpenClip.config(vision_cfg={"layers": [1, 1, 1, 1], "width": 16, "image_size": 64})
    for gone in ("patch_size",):
        config["vision_cfg"].pop(gone)
    config["vision_cfg"].pop("head_width")
    tower, _ = open_clip_towers(str(TinyOpenClip.save(tmp_path / "resnet", config)), precision=precision)
    sample = photograph(np.random.default_rng(4), 64, 64)
    found = tower.heat_maps(sample, tower.encode([tower.prepare(sample)]))
    assert found.method == "Grad-CAM"
    assert found.values.shape == (1, 2, 2)
    assert np.isfinite(found.values).all()


def test_what_no_method_knows_says_so(tiny):
    from mmsearch.encoders.legrad import heat_of_network

    class Other:
        pass

    import torch

    assert heat_of_network(Other(), torch.zeros(1, 3, 32, 32), np.zeros((1, 48), np.float32)) is None


def test_towers_and_encoders_say_whether_they_tell(tiny):
    from mmsearch.encoders.mini import MiniEncoder

    assert isinstance(tiny[0], ExplainsPictures)
    assert not isinstance(tiny[1], ExplainsPictures)
    assert isinstance(MiniEncoder(), ExplainsTowers)
    assert not isinstance(FakeEncoder(), ExplainsTowers)


# --- where a map lies ---


@pytest.mark.parametrize(
    ("mode", "size", "box"),
    [
        ("squash", (100, 200), (0.0, 0.0, 1.0, 1.0)),
        ("shortest", (100, 200), (0.25, 0.0, 0.75, 1.0)),
        ("shortest", (200, 100), (0.0, 0.25, 1.0, 0.75)),
        ("longest", (100, 200), (0.0, -0.5, 1.0, 1.5)),
    ],
)
def test_the_box_is_what_the_network_sees(mode, size, box):
    """A coloured dot lands at the same share of the network's input as the box says."""
    preprocess = Preprocess((32, 32), resize_mode=mode)
    assert preprocess.box(*size) == pytest.approx(box)
    pixels = np.zeros((*size, 3), np.uint8)
    y, x = size[0] // 2 - 8, size[1] // 2 - 8
    pixels[y - 6 : y + 6, x - 6 : x + 6] = 255
    rows, columns = np.nonzero(preprocess(pixels)[..., 0] > 128)
    assert box[0] + (columns.mean() + 0.5) / 32 * (box[2] - box[0]) == pytest.approx(x / size[1], abs=0.04)
    assert box[1] + (rows.mean() + 0.5) / 32 * (box[3] - box[1]) == pytest.approx(y / size[0], abs=0.04)


def test_heat_is_spread_over_its_box_alone():
    heat = spread(np.ones((3, 3), np.float32), (0.25, 0.0, 0.75, 1.0), (40, 20))
    assert heat.shape == (20, 40)
    assert heat[:, 10:30].min() == 1.0
    assert heat[:, :10].max() == 0.0
    assert heat[:, 30:].max() == 0.0
    beyond = spread(np.ones((2, 2), np.float32), (0.0, -0.5, 1.0, 1.5), (40, 20))
    assert beyond.min() == 1.0


def test_heat_is_in_colour_and_the_rest_grey():
    from PIL import Image

    heat = np.zeros((2, 2), np.float32)
    heat[0, 0] = 1.0
    pixels = np.asarray(overlay(Image.new("RGB", (20, 20), (200, 40, 40)), heat, (0.0, 0.0, 1.0, 1.0)), int)
    assert np.ptp(pixels[2, 2]) > 60
    assert np.ptp(pixels[17, 17]) <= 2
    assert pixels[2, 2].sum() > pixels[17, 17].sum()


def test_maps_that_are_none_are_refused():
    with pytest.raises(ValueError, match="heat maps are"):
        HeatMaps(np.full((1, 2, 2), np.nan, np.float32), "x")
    with pytest.raises(ValueError, match="shape"):
        HeatMaps(np.zeros((2, 2), np.float32), "x")


def test_an_engine_with_an_open_clip_model_explains_by_its_tower(tmp_path, photographs):
    """The whole way, with a model that cuts the middle out of a picture; and the other way when it is asked for."""
    import shutil

    from mmsearch import Engine

    folder = TinyOpenClip.save(tmp_path / "model", resize_mode="shortest")
    (tmp_path / "media").mkdir()
    shutil.copy(photographs / "rocket.jpg", tmp_path / "media")
    with Engine.open(tmp_path / "library", model=f"open_clip:{folder}", speech="off") as engine:
        engine.index(tmp_path / "media")
        why = engine.explain("a rocket", tmp_path / "media" / "rocket.jpg")
        (one,) = why.maps
        assert one.method == "LeGrad"
        assert one.values.shape == (4, 4)
        assert one.values.max() == 1.0
        left, top, right, bottom = one.box
        assert (top, bottom) == (0.0, 1.0)
        assert 0.1 < left < right < 0.9
        assert one.cosine == pytest.approx(why.cosine, abs=0.002)
        covered = engine.explain("a rocket", tmp_path / "media" / "rocket.jpg", method="occlusion").maps[0]
        assert (covered.method, covered.values.shape, covered.box) == ("occlusion", (8, 8), (0.0, 0.0, 1.0, 1.0))
        assert covered.values[:, 0].max() < 0.2  # what is cut away cannot matter but for the mean colour
