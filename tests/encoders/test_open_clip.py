"""open_clip's towers against open_clip's own calls, on tiny random checkpoints."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import assert_raw, assert_same, lowest_cosine
from PIL import Image

from indexer.errors import ModelError, UsageError, WeightsError
from indexer.types import ImageSample, TextSample
from indexer.vectors import lengths
from mmsearch.encoders import load_encoder, open_clip_source
from mmsearch.encoders import open_clip as towers
from mmsearch.encoders.open_clip import CHUNK, open_clip_towers
from mmsearch.encoders.open_clip_source import Source, tags_of
from mmsearch.encoders.precision import choose_precision
from mmsearch.encoders.preprocess import STRIP_RATIO, Preprocess, normalise

# The one kind of network that brings its vectors to length 1 unless it is told not to.
COCA = {
    "custom_text": True,
    "vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {"embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}

TEXTS = ["a cat", "two red dogs on a beach", "", "ein Hund; 犬!", "rain"] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    return tiny.save(tmp_path_factory.mktemp("open_clip") / "tiny")


@pytest.fixture
def architectures(tmp_path, monkeypatch, tiny) -> Path:
    """A folder of configurations in place of open_clip's own, with one small architecture."""
    made = tmp_path / "model_configs"
    made.mkdir()
    (made / "ViT-tiny.json").write_text(json.dumps(tiny.CONFIG))
    monkeypatch.setattr(open_clip_source, "config_folder", lambda: made)
    return made


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(20, 90, (count, 2))
    smooth = [generator.integers(0, 256, (4, 5, 3), dtype=np.uint8) for _ in range(count)]
    resized = [Image.fromarray(s).resize((int(w), int(h))) for s, (w, h) in zip(smooth, sizes, strict=True)]
    return [np.array(image) for image in resized]


def own_image_vectors(model, folder: Path, images: list[np.ndarray]) -> np.ndarray:
    """What open_clip makes of them, one by one, with its own transform."""
    import open_clip

    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        rows = [model.encode_image(transform(Image.fromarray(i))[None], normalize=False)[0] for i in images]
    return torch.stack(rows).numpy()


# --- the vectors ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"quick_gelu": True},
        {"text_cfg": {"no_causal_mask": True}},
        {"custom_text": True, "text_cfg": {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}},
        {"custom_text": True, "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "avg", "image_size": 160}},
        COCA,
    ],
    ids=["ViT", "quick_gelu", "no causal mask", "SigLIP-like", "timm", "CoCa"],
)
def test_vectors_are_open_clips_own(tmp_path, tiny, changes):
    import open_clip

    folder = tiny.save(tmp_path / "model", tiny.config(**changes))
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    image, text = open_clip_towers(str(folder), precision="float32")
    images = pictures(2 * CHUNK + 3)
    found = image.encode([image.prepare(ImageSample(pixels)) for pixels in images])
    want = own_image_vectors(model, folder, images)
    assert found.shape == (len(images), tiny.CONFIG["embed_dim"])
    assert found.dtype == np.float32
    assert_same(found, want, 1e-5)
    assert_raw(found)
    assert lowest_cosine(want[:1], want[1:2]) < 0.999  # the network can tell two pictures apart
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    texts = [words for words in TEXTS if words]
    found = text.encode([text.prepare(TextSample(words)) for words in texts])
    with torch.inference_mode():
        want = model.encode_text(tokenizer(texts), normalize=False).numpy()
    assert_same(found, want, 1e-5)
    assert_raw(found)


@pytest.mark.parametrize("causal", [True, False])
def test_what_pads_a_text_is_read_only_where_it_counts(tmp_path, tiny, causal, monkeypatch):
    monkeypatch.setattr(towers, "TEXT_CHUNK", 1)
    folder = tiny.save(tmp_path / "model", tiny.config(text_cfg={} if causal else {"no_causal_mask": True}))
    _, text = open_clip_towers(str(folder), precision="float32")
    read = []
    embedding = text._model.network.token_embedding
    embedding.register_forward_hook(lambda module, inputs, output: read.append(inputs[0].shape[1]))
    texts = ["dog", "a dog", "a dog in the snow by the sea and a cat in the snow by the sea and a bird"]
    text.encode([text.prepare(TextSample(words)) for words in texts])
    assert sorted(read) == ([3, 4, 16] if causal else [16, 16, 16])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_vector_does_not_depend_on_its_neighbours(folder, tiny, precision):
    image, text = open_clip_towers(str(folder), precision=precision)
    prepared = [image.prepare(ImageSample(pixels)) for pixels in pictures(21)]
    alone = np.concatenate([image.encode([one]) for one in prepared])
    # Passes of another size multiply in another order: rounding differs, and nothing else.
    bound, part = (1 - 1e-6, 1e-5) if precision == "float32" else (1 - 1e-4, 0.02)
    for size in (2, CHUNK, CHUNK + 1, 21):
        batches = np.concatenate([image.encode(prepared[start : start + size]) for start in range(0, 21, size)])
        assert lowest_cosine(batches, alone) > bound
        np.testing.assert_allclose(lengths(batches), lengths(alone), rtol=part)
    order = np.random.default_rng(1).permutation(21)
    assert lowest_cosine(image.encode([prepared[i] for i in order]), alone[order]) > bound
    tokens = [text.prepare(TextSample(words)) for words in TEXTS if words]
    alone = np.concatenate([text.encode([one]) for one in tokens])
    for size in (2, 3, len(tokens)):
        batches = np.concatenate([text.encode(tokens[at : at + size]) for at in range(0, len(tokens), size)])
        assert lowest_cosine(batches, alone) > bound
        np.testing.assert_allclose(lengths(batches), lengths(alone), rtol=part)
    order = np.random.default_rng(1).permutation(len(tokens))
    assert lowest_cosine(text.encode([tokens[i] for i in order]), alone[order]) > bound
    assert image.encode([]).shape == (0, tiny.CONFIG["embed_dim"])


def test_bfloat16_agrees_with_float32(folder):
    exact, exact_text = open_clip_towers(str(folder), precision="float32")
    short, short_text = open_clip_towers(str(folder), precision="bfloat16")
    prepared = [exact.prepare(ImageSample(pixels)) for pixels in pictures(16)]
    assert lowest_cosine(exact.encode(prepared), short.encode(prepared)) > 0.999
    np.testing.assert_allclose(lengths(short.encode(prepared)), lengths(exact.encode(prepared)), rtol=0.02)
    assert not np.array_equal(exact.encode(prepared), short.encode(prepared))
    tokens = [exact_text.prepare(TextSample(words)) for words in TEXTS if words]
    assert lowest_cosine(exact_text.encode(tokens), short_text.encode(tokens)) > 0.999
    assert exact.fingerprint != short.fingerprint
    assert (exact.precision, short.precision) == ("float32", "bfloat16")


def test_precision_is_chosen_by_the_call_then_the_environment_then_the_processor(monkeypatch):
    from mmsearch.encoders import precision

    monkeypatch.delenv("MMSEARCH_PRECISION", raising=False)
    for flags, want in (({"amx_bf16", "avx512_bf16"}, "bfloat16"), ({"avx512_bf16"}, "float32"), (set(), "float32")):
        monkeypatch.setattr(precision, "_processor_flags", lambda flags=flags: frozenset(flags))
        assert choose_precision() == choose_precision("auto") == want
    monkeypatch.setenv("MMSEARCH_PRECISION", "bf16")
    assert choose_precision() == "bfloat16"
    assert choose_precision("float32") == "float32"
    monkeypatch.setenv("MMSEARCH_PRECISION", "int8")
    with pytest.raises(UsageError, match=r"'int8' \(from MMSEARCH_PRECISION\).*bfloat16"):
        choose_precision()
    # float16 is for GPUs, but what was made on one may be asked anywhere.
    monkeypatch.setenv("MMSEARCH_PRECISION", "float16")
    monkeypatch.setattr("mmsearch.encoders.devices.device", lambda: "cpu")
    with pytest.raises(UsageError, match="float16 is for GPUs"):
        choose_precision()
    assert choose_precision("float16") == "float16"


# --- preprocessing ---


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [32, (40, 24)])
def test_preprocessing_is_open_clips_own_bit_for_bit(resize_mode, interpolation, size):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    chosen = {"resize_mode": resize_mode, "interpolation": interpolation, "fill_color": 7}
    chosen |= {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    transform = image_transform_v2(PreprocessCfg(size=size, **chosen), is_train=False)
    ours = Preprocess.of_config(size, chosen)
    generator = np.random.default_rng(3)
    for shape in [(32, 32), (33, 32), (31, 64), (100, 77), (20, 90), (5, 6), (40, 24), (1, 3), (64, 300)]:
        pixels = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        found = normalise(ours(pixels)[None], ours.mean, ours.std)[0]
        np.testing.assert_array_equal(found, transform(Image.fromarray(pixels)).numpy())


def test_a_thin_strip_does_not_fill_the_memory():
    ours = Preprocess((32, 32))
    for shape in [(2, 60_000, 3), (60_000, 2, 3)]:
        found = ours(np.full(shape, 90, np.uint8))
        assert found.shape == (32, 32, 3)
        assert (found == 90).all()
    # Just past the ratio the middle is still the middle.
    pixels = np.zeros((10, 10 * STRIP_RATIO + 10, 3), np.uint8)
    pixels[:, pixels.shape[1] // 2 - 5 : pixels.shape[1] // 2 + 5] = 255
    assert ours(pixels)[:, 4:28].min() > 200


@pytest.mark.parametrize(
    "wrong", [{"resize_mode": "crop"}, {"mean": (0.5, 0.5)}, {"std": (1, 1, 0)}, {"size": 0}], ids=str
)
def test_impossible_preprocessing_is_refused(wrong):
    with pytest.raises(ModelError):
        Preprocess.of_config(wrong.pop("size", 32), wrong)


# --- what a name means ---


def test_names_are_canonical(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, want in {
        "ViT-B-32/laion2b_s34b_b79k": "ViT-B-32/laion2b_s34b_b79k",
        "hf-hub:timm/ViT-B-16-SigLIP2": "hf-hub:timm/ViT-B-16-SigLIP2",
        f"ViT-B-32/{tmp_path}/w.safetensors": f"ViT-B-32/{tmp_path}/w.safetensors",
        "ViT-B-32/w.safetensors": f"ViT-B-32/{tmp_path}/w.safetensors",
        "./tiny": f"{tmp_path}/tiny",
        f"{tmp_path}/a/../tiny": f"{tmp_path}/tiny",
    }.items():
        assert Source.parse(name).name == want
        assert Source.parse(want).name == want
    with pytest.raises(ModelError, match="ARCHITECTURE/TAG"):
        Source.parse("ViT-B-32")


def test_the_spec_needs_neither_torch_nor_open_clip(folder):
    code = f"""
import sys
from mmsearch.encoders import load_encoder
from mmsearch.encoders.open_clip import open_clip_towers
image, text = open_clip_towers("ViT-B-32/{folder}/open_clip_model.safetensors")
print(image.spec.dim, text.max_tokens, load_encoder("open_clip:{folder}").spec.image_side)
print([name for name in ("torch", "open_clip", "transformers") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["512 77 32", "[]"]


def test_the_tags_are_open_clips_and_are_kept(tmp_path, monkeypatch):
    import open_clip

    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path))
    assert set(tags_of("ViT-B-32")) == set(open_clip.list_pretrained_tags_by_model("ViT-B-32"))
    (kept,) = (tmp_path / "open_clip").iterdir()
    kept.write_text(json.dumps({"ViT-B-32": {"kept": {}}}))
    assert tags_of("ViT-B-32") == {"kept": {}}
    assert tags_of("ViT-none") == {}


def test_preprocessing_follows_the_tag_the_folder_or_what_the_tags_agree_on(folder, tiny, tmp_path):
    assert Source.parse("PE-Core-B-16/meta").preprocess == Preprocess(
        (224, 224), (0.5,) * 3, (0.5,) * 3, "bilinear", "squash"
    )
    assert Source.parse("PE-Core-B-16/x.safetensors").preprocess == Source.parse("PE-Core-B-16/meta").preprocess
    assert Source.parse("ViT-L-14/x.safetensors").preprocess == Preprocess((224, 224))  # its tags disagree
    assert Source.parse(str(folder)).preprocess == Preprocess.of_config(32, tiny.PREPROCESS)
    assert Source.parse(str(folder)).preprocess.mean == (0.4, 0.45, 0.5)


def test_quick_gelu_is_the_tags():
    assert Source.parse("ViT-B-32/openai").config["quick_gelu"]
    assert "quick_gelu" not in Source.parse("ViT-B-32/laion2b_s34b_b79k").config


def test_every_named_model_has_a_tag_in_open_clips_table():
    from mmsearch.encoders import MODELS

    for model in MODELS.values():
        if model.parts.startswith("open_clip:"):
            source = Source.parse(model.parts.partition("+")[0].removeprefix("open_clip:"))
            assert source.preprocess.size[0] in (224, 336)


# --- tokens ---


def word_tokenizer():
    """A tokenizer of six words for transformers, which ends a text as SigLIP's do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", "cat", "dog", "red"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def test_a_tokenizer_for_transformers_is_read_from_the_folder(tmp_path, tiny):
    text_config = {"hf_tokenizer_name": "timm/nowhere", "tokenizer_kwargs": {"clean": "canonicalize"}, "vocab_size": 6}
    folder = tiny.save(
        tmp_path / "siglip", tiny.config(custom_text=True, text_cfg={**text_config, "pool_type": "last"})
    )
    before = open_clip_towers(str(folder), precision="float32")[1]
    without = before.fingerprint
    with pytest.raises(WeightsError, match=r"tokenizer in .* cannot be loaded.*tokenizer\.json"):
        before.prepare(TextSample("cat"))
    word_tokenizer().save_pretrained(folder)
    _, text = open_clip_towers(str(folder), precision="float32")
    assert text.fingerprint != without
    assert text.prepare(TextSample("A red, CAT!")).tolist() == [2, 5, 3, 1] + [0] * 12
    assert text.count_tokens("A red, CAT!") == 4
    assert text.count_tokens("cat " * 40) == 41
    import open_clip

    model = open_clip.create_model(f"local-dir:{folder}").eval()
    own = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        want = model.encode_text(own(["red dog"]), normalize=False).numpy()
    assert_same(text.encode([text.prepare(TextSample("red dog"))]), want, 1e-5)


def test_tokens_are_counted_before_they_are_cut(folder):
    _, text = open_clip_towers(str(folder))
    assert text.max_tokens == 16
    assert text.count_tokens("a cat") == 4
    assert text.count_tokens("cat " * 30) == 32
    assert text.prepare(TextSample("cat " * 30)).shape == (16,)


# --- weights ---


def encode_one(name: str) -> np.ndarray:
    encoder = load_encoder(name, precision="float32")
    tower = encoder.spec.tower_of("visual")
    return encoder.encode(tower, [encoder.prepare(tower, ImageSample(pictures(1)[0]))])


def test_a_file_of_weights_is_loaded_with_the_architecture_that_is_named(tmp_path, tiny, architectures):
    from safetensors.torch import save_file

    weights = tiny.network(tiny.CONFIG).state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    torch.save(weights, tmp_path / "w.pt")
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "epoch_1.pt")
    found = [encode_one(f"open_clip:ViT-tiny/{tmp_path}/{name}") for name in ("w.safetensors", "w.pt", "epoch_1.pt")]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_safetensors_come_before_pickles(tmp_path, tiny):
    folder = tiny.save(tmp_path / "both")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"not looked at")
    assert Source.parse(str(folder)).weights().name == "open_clip_model.safetensors"


class Harm:
    """What a pickle does when it is trusted."""

    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def truncate(folder: Path, tiny) -> None:
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def cut_header(folder: Path, tiny) -> None:
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def empty(folder: Path, tiny) -> None:
    (folder / "open_clip_model.safetensors").write_bytes(b"")


def pickle_inside(folder: Path, tiny) -> None:
    torch.save(tiny.network(tiny.CONFIG).state_dict(), folder / "open_clip_model.safetensors")


def harmful_pickle(folder: Path, tiny) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Harm()))


def no_weights(folder: Path, tiny) -> None:
    (folder / "open_clip_model.safetensors").unlink()


def other_width(folder: Path, tiny) -> None:
    tiny.save(folder, tiny.config(vision_cfg={"width": 96}))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny.CONFIG}))


def other_picture_size(folder: Path, tiny) -> None:
    tiny.save(folder, tiny.config(vision_cfg={"image_size": 64}))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny.CONFIG}))


def other_network(folder: Path, tiny) -> None:
    from safetensors.torch import save_file

    save_file({"layer.weight": torch.zeros(3)}, folder / "open_clip_model.safetensors")


def fewer_layers(folder: Path, tiny) -> None:
    tiny.save(folder, tiny.config(text_cfg={"layers": 1}))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny.CONFIG}))


def no_config(folder: Path, tiny) -> None:
    (folder / "open_clip_config.json").rename(folder / "config.json")


def broken_config(folder: Path, tiny) -> None:
    (folder / "open_clip_config.json").write_text("{")


def list_config(folder: Path, tiny) -> None:
    (folder / "open_clip_config.json").write_text("[]")


def bare_config(folder: Path, tiny) -> None:
    (folder / "open_clip_config.json").write_text("{}")


def strange_config(folder: Path, tiny) -> None:
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**tiny.CONFIG, "novelty": 1}}))


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (truncate, WeightsError, r"is cut off: it has [\d,]+ bytes.*promises [\d,]+; fetch it again"),
        (cut_header, WeightsError, r"is cut off"),
        (empty, WeightsError, r"no header"),
        (pickle_inside, WeightsError, r"is a pickle, and its name promises safetensors"),
        (harmful_pickle, WeightsError, r"cannot be loaded.*nothing but tensors"),
        (no_weights, WeightsError, r"there are no weights in .*; expected open_clip_model\.safetensors"),
        (other_width, WeightsError, r"another architecture .*has shape .*, expected .*; name the architecture"),
        (other_picture_size, WeightsError, r"positional_embedding has shape \(65, 64\), expected \(17, 64\)"),
        (other_network, WeightsError, r"cannot be loaded as CLIP of open_clip: .*layer\.weight|Missing key"),
        (fewer_layers, WeightsError, r"cannot be loaded as CLIP of open_clip: .*Missing key"),
        (no_config, ModelError, r"has no open_clip_config\.json; it looks like a model for transformers: try clip:"),
        (broken_config, ModelError, r"cannot be read as JSON"),
        (list_config, ModelError, r"holds a JSON list, expected an object"),
        (bare_config, ModelError, r"must have embed_dim, vision_cfg, text_cfg"),
        (strange_config, ModelError, r"cannot build .*novelty"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path, tiny, spoil, kind, message):
    folder = tiny.save(tmp_path / "model")
    spoil(folder, tiny)
    with pytest.raises(kind, match=message):
        encode_one(f"open_clip:{folder}")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("open_clip:/nowhere/model", ModelError, r"there is no folder /nowhere/model"),
        ("open_clip:ViT-tiny//nowhere/w.pt", WeightsError, r"there are no weights at /nowhere/w\.pt"),
        ("open_clip:ViT-tony//nowhere/w.pt", ModelError, r"no architecture 'ViT-tony'.*ViT-tiny"),
        ("open_clip:ViT-tiny/laion2b", ModelError, r"no weights 'laion2b' for ViT-tiny; its tags are: none"),
        (
            "open_clip:hf-hub:timm/nowhere",
            WeightsError,
            r"'timm/nowhere' is not, or not wholly, in the hub's cache.*local folder",
        ),
        ("open_clip:hf-hub:a/b/c", WeightsError, r"no name of a repository.*owner/name"),
    ],
)
def test_a_name_that_leads_nowhere_says_why(architectures, name, kind, message):
    with pytest.raises(kind, match=message):
        encode_one(name)


def test_an_unknown_tag_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"no weights 'laion' for ViT-B-32; its tags are: .*laion2b_s34b_b79k"):
        _ = Source.parse("ViT-B-32/laion").preprocess


def test_a_hub_model_offline_says_what_to_do():
    with pytest.raises(
        WeightsError, match=r"laion/CLIP-ViT-B-32-laion2B-s34B-b79K.*in the hub's cache.*HF_HUB_OFFLINE is set"
    ):
        _ = load_encoder("open_clip:ViT-B-32/laion2b_s34b_b79k").spec
    with pytest.raises(WeightsError):
        _ = load_encoder("fast").spec


def test_a_hub_model_is_found_in_the_cache_by_its_revision(tmp_path, tiny, monkeypatch):
    import shutil

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    text = {"hf_tokenizer_name": "someone/tiny", "vocab_size": 6, "pool_type": "last"}
    folder = tiny.save(tmp_path / "tiny", tiny.config(custom_text=True, text_cfg=text))
    word_tokenizer().save_pretrained(folder)
    repository = tmp_path / "hub" / "models--someone--tiny"
    prints = []
    for revision in ("a" * 40, "b" * 40):
        shutil.copytree(folder, repository / "snapshots" / revision)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(revision)
        source = Source.parse("hf-hub:someone/tiny")
        prints.append(source.fingerprint)
        assert source.weights().parent.name == revision
        assert source.tokenizer_folder.name == revision
    assert prints[0] != prints[1]
    assert Source.parse(f"hf-hub:someone/tiny@{'a' * 40}").fingerprint == prints[0]
    name = "open_clip:hf-hub:someone/tiny"
    np.testing.assert_array_equal(encode_one(name), encode_one(f"open_clip:{folder}"))
    encoder = load_encoder(name)
    tower = encoder.spec.query_tower("text", "visual")
    assert encoder.prepare(tower, TextSample("red dog")).tolist()[:3] == [5, 4, 1]
    shutil.rmtree(repository / "snapshots" / ("b" * 40))
    with pytest.raises(WeightsError, match="in the hub's cache and cannot be fetched"):
        _ = load_encoder(name).spec


def test_the_fingerprint_is_of_the_bytes_and_is_not_computed_twice(tmp_path, tiny, monkeypatch):
    from mmsearch.encoders import files

    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    folder = tiny.save(tmp_path / "one")
    first = Source.parse(str(folder)).fingerprint
    hashed = []
    real = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: hashed.append(path) or real(path))
    assert Source.parse(str(folder)).fingerprint == first
    assert hashed == []
    # The same bytes elsewhere are the same model; other bytes or another way to prepare pictures are not.
    assert Source.parse(str(tiny.save(tmp_path / "two"))).fingerprint == first
    assert Source.parse(str(tiny.save(tmp_path / "three", seed=1))).fingerprint != first
    assert Source.parse(str(tiny.save(tmp_path / "four", interpolation="bicubic"))).fingerprint != first
    assert hashlib.sha256((folder / "open_clip_model.safetensors").read_bytes()).hexdigest() == files.file_fingerprint(
        folder / "open_clip_model.safetensors"
    )
