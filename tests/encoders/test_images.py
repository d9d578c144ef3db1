from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from indexer.errors import WeightsError
from mmsearch.encoders import efficientnet, images
from mmsearch.encoders.efficientnet import MEAN, STANDARD_DEVIATION, Classifier
from mmsearch.encoders.images import ImageTower, conse, read_labels
from mmsearch.encoders.minilm import TextTower


@pytest.fixture(scope="module")
def text_tower() -> TextTower:
    return TextTower()


@pytest.fixture(scope="module", params=[False, True], ids=["labels", "with the head"])
def tower(text_tower, request) -> ImageTower:
    return ImageTower(text_tower, with_head=request.param)


@pytest.fixture(scope="module")
def gallery(photographs):
    """Every picture of scikit-image's data folder that Pillow reads: name -> pixels."""
    pictures = {}
    for path in sorted(photographs.iterdir()):
        if path.suffix in {".png", ".jpg", ".gif"}:
            with Image.open(path) as image:
                pictures[path.name] = np.array(image.convert("RGB"))
    return pictures


def test_conse_by_hand():
    labels = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    # Probabilities 3/4, 1/4 and (left out by T = 2) 1/1000 of these.
    logits = np.log(np.array([[3, 1, 0.001]], dtype=np.float32))
    np.testing.assert_allclose(conse(logits, labels, 1.0, 2), [[3 / 10**0.5, 1 / 10**0.5]], rtol=1e-6)
    # Temperature 1/2 squares them: 9 to 1.
    np.testing.assert_allclose(conse(logits, labels, 0.5, 2), [[9 / 82**0.5, 1 / 82**0.5]], rtol=1e-6)
    # One label: its own vector, whatever its probability.
    np.testing.assert_allclose(conse(logits, labels, 1.0, 1), labels[:1])


def test_conse_bears_extreme_logits_and_none():
    labels = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(conse(np.array([[1e4, 0, -1e4]], np.float32), labels, 1.0, 3), [[1, 0, 0]], atol=1e-6)
    assert conse(np.empty((0, 3), np.float32), labels, 1.0, 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a cat", {"chelsea.png"}),
        ("a cup of coffee", {"coffee.png"}),
        ("a rocket launch", {"rocket.jpg"}),
        ("a motorcycle", {"motorcycle_left.png", "motorcycle_right.png"}),
    ],
)
def test_photographs_are_found_by_words(query, expected, gallery, gallery_vectors, text_tower):
    scores = gallery_vectors @ text_tower.encode_texts([query])[0]
    found = np.array(list(gallery))[np.argsort(-scores)]
    assert set(found[: len(expected)]) == expected


@pytest.fixture(scope="module")
def gallery_vectors(gallery, tower):
    vectors = tower.encode([tower.prepare(pixels) for pixels in gallery.values()])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    return vectors


def test_a_vector_does_not_depend_on_its_neighbours(gallery, gallery_vectors, tower):
    prepared = [tower.prepare(pixels) for pixels in list(gallery.values())[:6]]
    alone = np.concatenate([tower.encode([picture]) for picture in prepared])
    np.testing.assert_array_equal(alone, gallery_vectors[:6])
    np.testing.assert_array_equal(tower.encode(prepared[::-1])[::-1], alone)


def test_the_network_equals_the_package_it_was_converted_in(gallery, tower):
    """Folding, padding and strides against efficientnet_lite_pytorch, layer for layer the original."""
    import torch

    reference = pytest.importorskip("efficientnet_lite_pytorch")
    network = reference.EfficientNet.from_name("efficientnet-lite2").eval()
    path = efficientnet.installed_file(efficientnet.EFFICIENTNET_WEIGHTS)
    network.load_state_dict(torch.load(path, weights_only=True))
    prepared = [tower.prepare(gallery[name]) for name in ("chelsea.png", "coffee.png")]
    batch = (torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2).float() - MEAN) / STANDARD_DEVIATION
    with torch.inference_mode():
        expected = network(batch).numpy()
    np.testing.assert_allclose(Classifier().logits(prepared), expected, atol=1e-4)


def test_pictures_of_every_shape_are_prepared(tower):
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 900), (700, 3), (260, 260), (2000, 1000)):
        prepared = tower.prepare(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
        assert prepared.shape == (260, 260, 3)
        assert prepared.dtype == np.uint8
        assert prepared.flags.writeable  # or torch warns
    flat = np.full((400, 300, 3), (10, 200, 30), dtype=np.uint8)
    assert (tower.prepare(flat) == (10, 200, 30)).all()
    assert tower.encode([]).shape == (0, 384)


def test_label_vectors_are_kept_and_mended(tower, text_tower, tmp_path, monkeypatch):
    vectors = tower.label_vectors
    calls = []

    class Counting:
        def encode_texts(self, labels):
            calls.append(len(labels))
            return vectors

    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path))
    for damage in (None, b"", b"rubbish", None):
        kept = list(tmp_path.glob("labels/*.npy"))
        if damage is not None:
            kept[0].write_bytes(damage)
        np.testing.assert_array_equal(ImageTower(Counting()).label_vectors, vectors)
    assert calls == [1000, 1000, 1000]  # at first, and after each damage
    np.save(kept[0], vectors * 2)
    np.testing.assert_array_equal(ImageTower(Counting()).label_vectors, vectors)
    np.save(kept[0], vectors[:10])
    np.testing.assert_array_equal(ImageTower(Counting()).label_vectors, vectors)
    assert len(calls) == 5


def test_labels_are_in_the_order_of_the_classes():
    labels = read_labels()
    assert len(labels) == 1000
    for row, name in ((0, "tench"), (281, "tabby cat"), (504, "coffee mug"), (999, "toilet paper")):
        assert labels[row].startswith(f"{name}: ")


def test_a_broken_label_file_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "labels.txt"
    path.write_text("tench: a fish\n")
    monkeypatch.setattr(images, "LABELS_PATH", path)
    with pytest.raises(WeightsError, match="1 lines, expected 1000"):
        read_labels()


def test_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    import torch

    path = tmp_path / "other.pth"
    monkeypatch.setattr(efficientnet, "installed_file", lambda weights: path)
    picture = np.zeros((260, 260, 3), np.uint8)
    torch.save({"layer.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Classifier().logits([picture])
    path.write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Classifier().logits([picture])
