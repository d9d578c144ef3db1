"""CLIP and SigLIP towers, against transformers' own models and processors, on tiny checkpoints made here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_raw, assert_same, cosines, lowest_cosine
from PIL import Image
from tiny_models import CLIP_DIM, CLIP_SIDE, save_clip

from indexer.errors import ModelError, WeightsError
from indexer.types import ImageSample, TextSample, TowerSpec
from indexer.vectors import lengths
from mmsearch.encoders.transformers_clip import clip_towers

DIM = CLIP_DIM
SIDE = CLIP_SIDE
TEXTS = ["abba", "a", "ab ab ba", "b a b a b a", "aab bab", "ba", "abab abab abab"]
SIZES = [(32, 32), (48, 32), (33, 95), (100, 37), (640, 427), (20, 25), (9, 31), (31, 70)]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory) -> Path:
    return save_clip(tmp_path_factory.mktemp(family) / "tiny", family)


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))


def pictures() -> list[ImageSample]:
    random = np.random.default_rng(0)
    made = []
    for height, width in SIZES:
        coarse = Image.fromarray(random.integers(0, 256, (7, 5, 3), np.uint8))
        made.append(ImageSample(np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))))
    return made


def upstream_processor(folder: Path, backend: str):
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder, backend=backend)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def processed(image, sample: ImageSample) -> np.ndarray:
    """What the network is given of one picture: (3, side, side) float32."""
    return image._processor.normalise(image.prepare(sample)[None])[0]


def test_pictures_are_prepared_as_upstream_does(folder):
    """With Pillow to the last bit of a picture's bytes; torchvision's own resizing may differ by a level or two."""
    image, _ = clip_towers(str(folder))
    exact, close = upstream_processor(folder, "pil"), upstream_processor(folder, "torchvision")
    for sample in pictures():
        ours = processed(image, sample)
        assert ours.dtype == np.float32
        pixels = Image.fromarray(sample.pixels)
        np.testing.assert_allclose(ours, exact(pixels, return_tensors="np")["pixel_values"][0], rtol=0, atol=1e-6)
        other = close(pixels, return_tensors="np")["pixel_values"][0]
        level = 1 / 255 / 0.26
        assert np.abs(ours - other).max() <= 2.1 * level
        assert np.abs(ours - other).mean() <= 0.5 * level


def test_a_strip_is_not_blown_up(folder, family):
    from transformers import AutoImageProcessor

    image, _ = clip_towers(str(folder))
    random = np.random.default_rng(0)
    upstream = AutoImageProcessor.from_pretrained(folder, backend="pil")
    for height, width in ((500, 40), (40, 501), (3, 90)):
        sample = ImageSample(random.integers(0, 256, (height, width, 3), np.uint8))
        expected = upstream(Image.fromarray(sample.pixels), return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(processed(image, sample), expected, rtol=0, atol=2.1 / 255 / 0.26)
    strip = ImageSample(random.integers(0, 256, (1, 300_000, 3), np.uint8))
    assert image.prepare(strip).shape == (SIDE, SIDE, 3)


def test_vectors_are_those_of_the_upstream_model(folder, family):
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    image, text = clip_towers(str(folder), precision="float32")
    shown = [Image.fromarray(sample.pixels) for sample in pictures()]
    pixels = upstream_processor(folder, "pil")(shown, return_tensors="pt")
    padding = {"clip": True, "siglip": "max_length"}[family]
    tokens = tokenizer(TEXTS, padding=padding, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        seen = model.get_image_features(**pixels).pooler_output.numpy()
        words = model.get_text_features(**tokens).pooler_output.numpy()
    ours = image.encode([image.prepare(sample) for sample in pictures()])
    ours_of_texts = text.encode([text.prepare(TextSample(line)) for line in TEXTS])
    for found, want in ((ours, seen), (ours_of_texts, words)):
        assert_same(found, want, 1e-5)
        assert_raw(found)
        assert cosines(found, found).min() < 0.9


def test_a_vector_depends_neither_on_neighbours_nor_on_order(folder, family):
    image, text = clip_towers(str(folder), precision="float32")
    for tower, prepared in (
        (image, [image.prepare(sample) for sample in pictures() * 3]),
        (text, [text.prepare(TextSample(line)) for line in TEXTS * 3]),
    ):
        alone = np.concatenate([tower.encode([one]) for one in prepared])
        order = np.random.default_rng(1).permutation(len(prepared))
        assert_same(tower.encode(prepared), alone, 1e-5)
        assert_same(tower.encode([prepared[row] for row in order]), alone[order], 1e-5)
        assert_same(tower.encode(prepared[:5]), alone[:5], 1e-5)
        assert tower.encode([]).shape == (0, DIM[family])


def test_bfloat16_agrees_with_float32(folder):
    for whole, half in zip(clip_towers(str(folder)), clip_towers(str(folder), precision="bfloat16"), strict=True):
        samples = pictures() if whole.spec.modality == "image" else [TextSample(line) for line in TEXTS]
        exact = whole.encode([whole.prepare(sample) for sample in samples])
        rough = half.encode([half.prepare(sample) for sample in samples])
        assert lowest_cosine(exact, rough) > 0.999
        np.testing.assert_allclose(lengths(rough), lengths(exact), rtol=0.02)
        assert whole.fingerprint != half.fingerprint
        assert half.precision == "bfloat16"


def test_texts_are_padded_and_cut_as_in_training(folder, family):
    _, text = clip_towers(str(folder))
    limit = {"clip": 77, "siglip": 64}[family]
    assert text.max_tokens == limit
    assert len(text.prepare(TextSample("a b"))) == {"clip": 4, "siglip": 64}[family]
    assert len(text.prepare(TextSample("a b " * 50))) == limit
    special = {"clip": 2, "siglip": 1}[family]
    assert text.count_tokens("a b " * 50) == 100 + special
    assert text.count_tokens("a b") == 2 + special


def test_siglip_texts_are_as_in_training_whatever_the_tokenizer_says(tmp_path):
    """SigLIP 2's tokenizer is Gemma's, which keeps capitals; transformers' own for it pads left and makes a mask."""
    folder = save_clip(tmp_path / "siglip", "siglip")
    _, text = clip_towers(str(folder), precision="float32")
    expected = text.prepare(TextSample("ab ba"))
    assert list(expected[:4]) == [5, 6, 1, 0]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "normalizer": None}))
    edit(folder / "tokenizer_config.json", padding_side="left", model_input_names=["input_ids", "attention_mask"])
    _, other = clip_towers(str(folder), precision="float32")
    np.testing.assert_array_equal(other.prepare(TextSample("Ab BA")), expected)
    np.testing.assert_array_equal(other.encode([expected]), text.encode([expected]))


def test_the_table_is_known_without_heavy_imports(folder, family):
    code = (
        "import sys\nfrom mmsearch.encoders.transformers_clip import clip_towers\n"
        f"image, text = clip_towers({str(folder)!r})\n"
        f"assert (image.spec.dim, text.spec.dim, image.image_side) == ({DIM[family]}, {DIM[family]}, {SIDE})\n"
        "image.fingerprint, text.fingerprint, text.max_tokens\n"
        "sys.stdout.write(' '.join({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_specs(folder, family):
    image, text = clip_towers(str(folder))
    assert image.spec == TowerSpec("image", "clip", DIM[family])
    assert text.spec == TowerSpec("text", "clip", DIM[family])
    assert image.fingerprint != text.fingerprint


def test_settings_in_the_older_file_and_form(copy):
    """One number for a size, and preprocessor_config.json, as the first checkpoints of CLIP have them."""
    settings = json.loads((copy / "processor_config.json").read_text())["image_processor"]
    image, _ = clip_towers(str(copy))
    expected = processed(image, pictures()[3])
    (copy / "processor_config.json").unlink()
    if "shortest_edge" in settings["size"]:
        settings |= {"size": SIDE, "crop_size": SIDE, "feature_extractor_type": "CLIPFeatureExtractor"}
        settings.pop("image_processor_type")
    (copy / "preprocessor_config.json").write_text(json.dumps(settings))
    image, _ = clip_towers(str(copy))
    np.testing.assert_array_equal(processed(image, pictures()[3]), expected)


def test_settings_that_do_not_fit(copy):
    settings = json.loads((copy / "processor_config.json").read_text())["image_processor"]

    def refused(match: str, **changes: object) -> None:
        edit(copy / "processor_config.json", image_processor={**settings, **changes})
        with pytest.raises(ModelError, match=match):
            clip_towers(str(copy))

    refused("by ViTImageProcessor, expected", image_processor_type="ViTImageProcessor")
    refused("with padding", do_pad=True)
    refused("its network takes", size={"height": 64, "width": 64}, do_center_crop=False)
    refused("of the size", size={"longest_edge": 64})
    edit(copy / "processor_config.json", image_processor=None)
    with pytest.raises(WeightsError, match=r"neither preprocessor_config\.json nor"):
        clip_towers(str(copy))


def encode_both(folder: Path) -> None:
    image, text = clip_towers(str(folder), precision="float32")
    text.encode([text.prepare(TextSample("a"))])
    image.encode([image.prepare(pictures()[0])])


def test_truncated_and_missing_weights(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cut off"):
        encode_both(copy)
    weights.unlink()
    with pytest.raises(WeightsError, match="there are no weights in"):
        encode_both(copy)


def test_weights_of_another_dimension(copy, family):
    config = json.loads((copy / "config.json").read_text())
    if family == "clip":
        edit(copy / "config.json", projection_dim=20)
    else:
        edit(copy / "config.json", vision_config={**config["vision_config"], "hidden_size": 16})
    with pytest.raises(ModelError, match=r"cannot be loaded as transformers'|vectors of 32 numbers, .* says 16"):
        encode_both(copy)


def test_a_text_tower_of_another_width_is_refused(tmp_path):
    """SigLIP's two widths are two numbers in config.json, and must be one space."""
    from transformers import SiglipConfig, SiglipModel

    copy = save_clip(tmp_path / "siglip", "siglip")
    config = SiglipConfig.from_pretrained(copy)
    config.text_config.projection_size = 20
    SiglipModel(config).save_pretrained(copy)
    with pytest.raises(ModelError, match="vectors of 20 numbers"):
        encode_both(copy)


@pytest.mark.parametrize("kind", ["clap", "siglip2"])
def test_another_architecture(copy, kind):
    edit(copy / "config.json", model_type=kind)
    with pytest.raises(ModelError, match={"clap": "architecture 'clap', expected 'clip'", "siglip2": "NaFlex"}[kind]):
        clip_towers(str(copy))
