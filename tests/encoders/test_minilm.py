from __future__ import annotations

import math

import numpy as np
import pytest

from indexer.errors import WeightsError
from mmsearch.encoders import minilm
from mmsearch.encoders.bert import bert_numpy, erf, read_safetensors
from mmsearch.encoders.minilm import BATCH_TOKENS, MAX_TOKENS, TextTower, batches_of_equal_length

TEXTS = [
    "a cat",
    "a",
    ".",
    "\u200b",  # of which the tokenizer leaves nothing
    "Two dogs play in the snow.",
    "Üñïçødé: 你好, мир, ﷺ, 🐱🐶",
    "ALL CAPS, and antidisestablishmentarianism",
    "word " * 100,
    "a very long text, " * 400,
    "x" * 5000,
]


@pytest.fixture(scope="module")
def tower() -> TextTower:
    return TextTower()


@pytest.fixture(scope="module")
def torch_tower() -> TextTower:
    tower = TextTower()
    tower._encoded_tokens = minilm.NUMPY_TOKENS
    return tower


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """Vectors of TEXTS by transformers, with its own BERT, cutting and padding."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from mmsearch.encoders.weights import MINILM_TOKENIZER, MINILM_WEIGHTS, unpacked_file

    tokenizer = BertTokenizerFast(tokenizer_file=str(unpacked_file(MINILM_TOKENIZER)))
    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    state = {name: torch.from_numpy(w.copy()) for name, w in read_safetensors(unpacked_file(MINILM_WEIGHTS)).items()}
    missing, _ = model.load_state_dict(state, strict=False)
    assert not [name for name in missing if "position_ids" not in name]
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(pooled).numpy()


@pytest.mark.parametrize("backend", ["tower", "torch_tower"])
def test_equals_transformers(backend, request, expected):
    vectors = request.getfixturevalue(backend).encode_texts(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("backend", ["tower", "torch_tower"])
def test_a_vector_depends_on_neither_neighbours_nor_order(backend, request):
    tower = request.getfixturevalue(backend)
    together = tower.encode_texts(TEXTS)
    alone = np.concatenate([tower.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(tower.encode_texts(TEXTS[::-1])[::-1], together, atol=1e-6)


def test_close_in_meaning_is_close_in_space(tower):
    kitten, car, query = tower.encode_texts(["a small kitten", "a fast car", "a baby cat"])
    assert query @ kitten > 0.6 > 0.3 > query @ car


def test_long_texts_are_cut_at_256_tokens_and_counted_in_full(tower):
    text = "one two three " * 200
    assert tower.count_tokens(text) == 602
    ids = tower.prepare(text)
    assert (len(ids), ids[0], ids[-1]) == (MAX_TOKENS, 101, 102)
    assert tower.count_tokens("a cat") == len(tower.prepare("a cat")) == 4


def test_nothing_to_encode(tower):
    assert tower.encode([]).shape == (0, 384)


def test_changes_to_torch_after_some_tokens(monkeypatch):
    tower = TextTower()
    monkeypatch.setattr(minilm, "NUMPY_TOKENS", 6)
    monkeypatch.setattr(minilm, "map_with_torch", lambda function, batches: pytest.fail("torch was used"))
    tower.encode_texts(["a cat"])
    with pytest.raises(pytest.fail.Exception, match="torch was used"):
        tower.encode_texts(["a cat"])


def test_batches_hold_one_length_and_not_too_many_tokens():
    lengths = [5, 3, 5, 4000, 4000, *[1] * (BATCH_TOKENS + 1)]
    batches = batches_of_equal_length(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len({lengths[row] for row in batch}) == 1 for batch in batches)
    assert batches[:4] == [[0, 2], [1], [3], [4]]
    assert [len(batch) for batch in batches[4:]] == [BATCH_TOKENS, 1]


def test_error_function():
    x = np.concatenate([np.linspace(-6, 6, 20001), [0.0, -100.0, 100.0]]).astype(np.float32)
    np.testing.assert_allclose(erf(x), [math.erf(value) for value in x], atol=6e-7)


def test_one_layer_by_hand():
    """With every linear layer at zero, a layer only normalises what enters it."""
    width = 32
    weights = {
        "embeddings.word_embeddings.weight": np.eye(4, width, dtype=np.float32),
        "embeddings.position_embeddings.weight": np.zeros((8, width), np.float32),
        "embeddings.token_type_embeddings.weight": np.zeros((2, width), np.float32),
    }
    inner = 2 * width
    for name, rows, columns in (
        ("attention.self.query", width, width),
        ("attention.self.key", width, width),
        ("attention.self.value", width, width),
        ("attention.output.dense", width, width),
        ("intermediate.dense", inner, width),
        ("output.dense", width, inner),
    ):
        weights[f"encoder.layer.0.{name}.weight"] = np.zeros((rows, columns), np.float32)
        weights[f"encoder.layer.0.{name}.bias"] = np.zeros(rows, np.float32)
    for name in ("embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"):
        weights[f"{name}.LayerNorm.weight"] = np.ones(width, np.float32)
        weights[f"{name}.LayerNorm.bias"] = np.zeros(width, np.float32)
    hidden = bert_numpy(weights, np.array([[2, 0]]))
    # A one among 31 zeros has mean 1/32 and variance 31/1024.
    for row, place in enumerate((2, 0)):
        expected = (np.eye(width)[place] - 1 / 32) / math.sqrt(31 / 1024)
        np.testing.assert_allclose(hidden[0, row], expected, rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0not json", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]"])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_safetensors(path)
