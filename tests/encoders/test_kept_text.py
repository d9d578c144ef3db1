"""Text towers kept for queries: the same tokens and vectors as torch's, and no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import assert_same, lowest_cosine
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TinyOpenClip, save_clap, save_clip

from indexer.types import TextSample
from mmsearch.encoders import kept_text, text_forward
from mmsearch.encoders.clap import clap_towers
from mmsearch.encoders.kept_text import KeptText, kept_path, why_not_kept
from mmsearch.encoders.light_tokens import CLEANERS, ClipTokens
from mmsearch.encoders.open_clip import open_clip_towers
from mmsearch.encoders.transformers_clip import clip_towers

# None of them is among the texts of the check.
TEXTS = ["two cats", "ab ba", "A train, at NIGHT!", "née & 雪", "b a b a", "the sea " * 40]

SIGLIP = {
    "custom_text": True,
    "text_cfg": {
        "no_causal_mask": True,
        "pool_type": "last",
        "proj_bias": True,
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}
COCA = {
    "custom_text": True,
    "vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {"embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "ViT": {},
    "quick_gelu": {"quick_gelu": True},
    "no causal mask": {"text_cfg": {"no_causal_mask": True}},
    "SigLIP": SIGLIP,
    "end of text by its id": {"text_cfg": {"pool_type": "eos", "eos_id": 49407}},
    "first token": {"custom_text": True, "text_cfg": {"pool_type": "first", "no_causal_mask": True}},
    "no projection": {"custom_text": True, "text_cfg": {"proj_type": "none", "width": 48}},
}
Make = Callable[[], Any]


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    """What a processor with AMX would choose is asked for by name where it is meant."""
    monkeypatch.setenv("MMSEARCH_PRECISION", "float32")


@pytest.fixture(autouse=True)
def _on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache that is empty but for the weights that are always the same."""
    unpacked = kept_text.cache_directory() / "weights"
    cache = tmp_path / "cache"
    cache.mkdir()
    if unpacked.is_dir():
        (cache / "weights").symlink_to(unpacked)
    monkeypatch.setenv("MMSEARCH_CACHE", str(cache))
    monkeypatch.setenv("MMSEARCH_KEEP_TEXT", "on")


@pytest.fixture(params=[*(f"open_clip, {kind}" for kind in OPEN_CLIP), "clip", "siglip", "clap"])
def make_tower(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A text tower of each kind, new at each call, as another process would make it."""
    kind = request.param
    if kind == "clap":
        folder = save_clap(tmp_path / "model")
        return lambda: clap_towers(str(folder), precision="float32")[1]
    if kind in ("clip", "siglip"):
        folder = save_clip(tmp_path / "model", kind)
        return lambda: clip_towers(str(folder), precision="float32")[1]
    folder = TinyOpenClip.save(tmp_path / "model", TinyOpenClip.config(**OPEN_CLIP[kind.partition(", ")[2]]))
    return lambda: open_clip_towers(str(folder), precision="float32")[1]


@pytest.fixture
def plain(tmp_path: Path) -> Make:
    folder = TinyOpenClip.save(tmp_path / "model")
    return lambda: open_clip_towers(str(folder), precision="float32")[1]


def encoded(tower: Any, texts: list[str] = TEXTS) -> np.ndarray:
    return tower.encode([tower.prepare(TextSample(text)) for text in texts])


def is_loaded(tower: Any) -> bool:
    return (tower._model if hasattr(tower, "_model") else tower._half).is_loaded


def kept(make: Make) -> tuple[Any, np.ndarray]:
    """A tower that was loaded and kept, and its vectors of TEXTS."""
    tower = make()
    want = encoded(tower)
    assert is_loaded(tower)
    tower.keep()
    return tower, want


def test_the_kept_tower_gives_the_same_without_the_network(make_tower):
    original, want = kept(make_tower)
    assert why_not_kept(original.fingerprint) is None
    tower = make_tower()
    found = encoded(tower)
    assert not is_loaded(tower)
    assert_same(found, want, 1e-3)
    assert lowest_cosine(found, want) > 0.9999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.linalg.norm(want, axis=1), rtol=2e-3)
    # The network can tell these texts apart, so that being the same says something.
    assert lowest_cosine(want[:1], want[1:2]) < 0.999
    for text in TEXTS:
        np.testing.assert_array_equal(tower.prepare(TextSample(text)), original.prepare(TextSample(text)))
        assert tower.count_tokens(text) == original.count_tokens(text)
    assert not is_loaded(tower)


def test_bfloat16_is_kept_in_half_the_size(tmp_path):
    folder = str(TinyOpenClip.save(tmp_path / "model"))
    sizes = {}
    for precision in ("float32", "bfloat16"):
        original, want = kept(lambda precision=precision: open_clip_towers(folder, precision=precision)[1])
        tower = open_clip_towers(folder, precision=precision)[1]
        found = encoded(tower)
        assert not is_loaded(tower)
        # torch rounds all that is between two layers to eight bits; the kept weights are the same.
        assert lowest_cosine(found, want) > (0.99999 if precision == "float32" else 0.999)
        _, tensors = kept_text._mapped(kept_path(original.fingerprint))
        del tensors["tokenizer"], tensors["tokens"]
        sizes[precision] = sum(values.nbytes for values in tensors.values())
    assert sizes["bfloat16"] < 0.55 * sizes["float32"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (COCA, "CoCa"),
        ({"text_cfg": {"ls_init_value": 0.1}}, "scale"),
        ({"text_cfg": {"tokenizer_kwargs": {"additional_special_tokens": ["dog"]}, "vocab_size": 49409}}, "tokens"),
    ],
    ids=["CoCa", "layer scale", "tokenizer"],
)
def test_what_is_not_known_goes_on_through_torch(tmp_path, changes, reason):
    folder = str(TinyOpenClip.save(tmp_path / "model", TinyOpenClip.config(**changes)))
    original, want = kept(lambda: open_clip_towers(folder)[1])
    assert reason in why_not_kept(original.fingerprint)
    assert not kept_path(original.fingerprint).exists()
    tower = open_clip_towers(folder)[1]
    np.testing.assert_allclose(encoded(tower), want, rtol=1e-5, atol=1e-6)
    assert is_loaded(tower)


def test_a_tower_that_disagrees_with_torch_is_not_kept(plain, monkeypatch):
    own = text_forward.ACTIVATIONS["gelu"]
    monkeypatch.setitem(text_forward.ACTIVATIONS, "gelu", text_forward.ACTIVATIONS["relu"])
    tower, _ = kept(plain)
    assert "cosine" in why_not_kept(tower.fingerprint)
    assert not kept_path(tower.fingerprint).exists()
    monkeypatch.setitem(text_forward.ACTIVATIONS, "gelu", own)
    tower.keep()  # it was found not to fit, and is not tried again and again
    assert not kept_path(tower.fingerprint).exists()


@pytest.mark.parametrize(
    ("found", "agrees"),
    [([[3.0, 4.0]], True), ([[3.0, 4.1]], False), ([[3.03, 4.04]], False), ([[np.nan, 4.0]], False), ([[3.0]], False)],
)
def test_agreement_is_of_direction_and_of_length(found, agrees):
    disagreement = kept_text._disagreement(np.array(found, np.float32), np.array([[3.0, 4.0]], np.float32))
    assert (disagreement is None) is agrees


@pytest.mark.parametrize("damage", ["deleted", "cut off", "another file", "no stamp", "damaged before it was stamped"])
def test_a_lost_or_damaged_file_is_made_again(plain, damage):
    original, want = kept(plain)
    path = kept_path(original.fingerprint)
    good = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(good[: len(good) // 2])
    elif damage == "another file":
        path.write_bytes(b"x" * len(good))
        os.utime(path, (1, 1))
    elif damage == "no stamp":
        path.with_name(path.name + ".stamp").unlink()
    else:
        path.write_bytes(b"\x10" + b"\0" * 7 + b"{}" + b" " * 100)
        kept_text.write_stamp(path)
    tower = plain()
    np.testing.assert_allclose(encoded(tower), want, rtol=1e-5, atol=1e-6)
    assert is_loaded(tower)
    tower.keep()
    assert path.read_bytes() == good
    again = plain()
    assert_same(encoded(again), want, 1e-3)
    assert not is_loaded(again)


def test_other_weights_have_a_file_of_their_own(plain, tmp_path):
    original, want = kept(plain)
    folder = TinyOpenClip.save(tmp_path / "other", seed=1)
    other = open_clip_towers(str(folder), precision="float32")[1]
    assert kept_path(other.fingerprint) != kept_path(original.fingerprint)
    assert lowest_cosine(encoded(other), want) < 0.99
    assert is_loaded(other)


def test_many_texts_go_through_torch(plain):
    kept(plain)
    tower = plain()
    encoded(tower, ["a dog"] * 3)
    assert not is_loaded(tower)
    encoded(tower, ["a dog"] * kept_text.NUMPY_TEXTS)
    assert is_loaded(tower)


def test_it_can_be_turned_off(plain, monkeypatch):
    original, _ = kept(plain)
    monkeypatch.setenv("MMSEARCH_KEEP_TEXT", "off")
    assert "off" in why_not_kept(original.fingerprint)
    tower = plain()
    encoded(tower)
    assert is_loaded(tower)


def test_a_cache_that_cannot_be_written_to_is_no_trouble(plain, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "file"))
    tower, want = kept(plain)
    np.testing.assert_allclose(encoded(tower), want, rtol=1e-6)


def test_nothing_is_loaded_to_be_kept(plain):
    tower = plain()
    tower.keep()
    assert not is_loaded(tower)
    assert "next" in why_not_kept(tower.fingerprint)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    for header in ({}, {"__metadata__": {}}, {"__metadata__": {"kind": "clip", "fields": "{}", "layout": "{}"}}, []):
        line = json.dumps(header).encode()
        path.write_bytes(len(line).to_bytes(8, "little") + line)
        with pytest.raises(ValueError, match=r"x\.safetensors"):
            KeptText.read(path)


# --- tokens ---


@pytest.fixture(scope="module")
def clip_tokens() -> dict[str, tuple[Any, ClipTokens]]:
    """open_clip's tokenizer and ours, by how they clean a text."""
    from open_clip.tokenizer import SimpleTokenizer

    own = {clean: SimpleTokenizer(clean=clean) for clean in ("lower", "whitespace", "canonicalize")}
    table = "\n".join(" ".join(pair) for pair in own["lower"].bpe_ranks).encode()
    return {clean: (tokenizer, ClipTokens(table, 77, clean)) for clean, tokenizer in own.items()}


@settings(max_examples=150, deadline=None)
@given(
    text=st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=120),
        st.text("abcdefghij'stdllve ABC019.,;&<>_\t\n", max_size=200),
        st.text("äÄßẞſK²½犬日本한글😀👍🏽\u200d\u00a0 ", max_size=60),
        st.sampled_from(
            ["<start_of_text> x <END_OF_TEXT><end_of_text>", "&amp;lt;", "I'LL we've", "é" * 200, "a" * 300]
        ),
    ),
    clean=st.sampled_from(["lower", "whitespace", "canonicalize"]),
)
def test_tokens_are_open_clips_own(clip_tokens, text, clean):
    own, light = clip_tokens[clean]
    assert CLEANERS[clean](text) == own.clean_fn(text)
    np.testing.assert_array_equal(light.prepare(text), own([text])[0].numpy())
    assert light.count(text) == len(own.encode(text)) + 2


# --- what a query imports ---

HEAVY = {
    *("torch", "torchvision", "torchaudio", "open_clip", "transformers", "timm", "onnxruntime", "faster_whisper"),
    *("PIL", "av", "scipy", "sklearn", "pandas", "matplotlib", "huggingface_hub", "rich"),
}
QUERY = """
import sys
from mmsearch.cli import main
sys.argv = ["mmsearch", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code
sys.stderr.write("modules: " + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
raise SystemExit(code)
"""


def imported(*arguments: str | Path) -> tuple[set[str], str]:
    """The modules that a command imports, and what it prints."""
    run = subprocess.run(
        [sys.executable, "-c", QUERY, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode in (0, 1), run.stderr
    return set(run.stderr.rpartition("modules: ")[2].split()), run.stdout


@pytest.fixture(scope="module")
def media(tmp_path_factory, make) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for number in range(12):
        make.image(folder / f"{number}.png", (number * 20, 30, 200 - number * 10))
    make.tones(folder / "sound.wav", ["red", "green"], rate=48_000)
    return folder


def test_a_text_query_imports_no_torch(tmp_path, media):
    from mmsearch import Engine

    model = f"open_clip:{TinyOpenClip.save(tmp_path / 'clip')}+clap:{save_clap(tmp_path / 'clap')}"
    library = tmp_path / "library"
    with Engine.open(library, model=model, speech="off") as engine:
        assert engine.index(media).failed == 0
        scores = {hit.path: hit.score for hit in engine.query("a dog", k=20)}
    files = sorted((tmp_path / "cache" / "text_towers").glob("*.safetensors"))
    assert len(files) == 2  # CLIP's and CLAP's
    query = ("query", "a dog", "-k", "20", "--library", library, "--json")
    modules, printed = imported(*query)
    assert not modules & HEAVY
    assert "mmsearch" in modules
    assert {hit["path"]: hit["score"] for hit in json.loads(printed)["hits"]} == pytest.approx(scores, abs=1e-3)
    # The first query after the files are lost goes through torch, and keeps the towers again.
    for file in files:
        file.unlink()
    modules, printed = imported(*query)
    assert {"torch", "open_clip"} <= modules
    assert {hit["path"]: hit["score"] for hit in json.loads(printed)["hits"]} == pytest.approx(scores, abs=1e-3)
    assert all(file.exists() for file in files)
    assert not imported(*query)[0] & HEAVY
    modules, printed = imported("status", "--library", library)
    assert not modules & {"torch", "open_clip", "transformers"}
    assert "Queries   in words need no torch" in printed
    files[0].unlink()
    assert "not kept yet" in imported("status", "--library", library)[1]


def test_a_text_query_of_mini_and_help_import_nothing_heavy(tmp_path, media):
    from mmsearch import Engine

    with Engine.open(tmp_path / "library", model="mini", speech="off") as engine:
        engine.index(media / "0.png")
    assert not imported("query", "a dog", "--library", tmp_path / "library")[0] & HEAVY
    assert not imported("--help")[0] & (HEAVY | {"numpy", "sqlalchemy", "faiss", "tokenizers"})
