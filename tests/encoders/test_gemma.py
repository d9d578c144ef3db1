"""EmbeddingGemma 2's towers, against transformers' own model and processor, on a tiny checkpoint made here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.errors import ModelError, ModelMismatchError, UsageError, WeightsError
from indexer.types import AudioSample, ImageSample, ModelSpec, TextSample, TowerSpec
from mmsearch import Engine
from mmsearch.encoders import are_different, canonical_name, load_encoder
from mmsearch.encoders.gemma import PROMPTS, gemma_towers, parse_source
from mmsearch.encoders.gemma_inputs import PictureSettings

RATE = 16_000
PATCH = 4
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", *("<|image>", "<image|>", "<|image|>")]
SPECIAL += ["<|audio>", "<audio|>", "<|audio|>", "<|video|>"]
WORDS = [*SPECIAL, *"abcdefghijklmnopqrstuvwxyz:|<> "]
TEXTS = ["a dog", "dogs and cats", "x", "rain at night | wind", "a dog in the park: it runs", "cat", "zebra"]


def save_tokenizer(**settings: Any) -> Any:
    """A tokenizer that reads character by character, with the special tokens of the real one."""
    import tokenizers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    made.add_special_tokens(SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", WORDS.index("<bos>")), ("<eos>", WORDS.index("<eos>"))]
    )
    names = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    names |= {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    plain = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, extra_special_tokens=names, **plain, **settings)


def save_checkpoint(folder: Path, *, seed: int = 0, parts: tuple[str, ...] = ("vision", "audio")) -> Path:
    """A random EmbeddingGemma 2 of a megabyte, in the format of save_pretrained."""
    import torch
    from transformers import (
        EmbeddingGemma2Config,
        EmbeddingGemma2Model,
        EmbeddingGemma2Processor,
        EmbeddingGemma2VideoProcessor,
        Gemma4AudioFeatureExtractor,
        Gemma4ImageProcessor,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    EmbeddingGemma2Processor(
        feature_extractor=Gemma4AudioFeatureExtractor(),
        image_processor=Gemma4ImageProcessor(max_soft_tokens=140, patch_size=PATCH),
        tokenizer=save_tokenizer(),
        video_processor=EmbeddingGemma2VideoProcessor(max_soft_tokens=70, patch_size=PATCH),
    ).save_pretrained(folder)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2}
    text = {**small, "vocab_size": len(WORDS), "intermediate_size": 48, "num_hidden_layers": 4, "embedding_dim": 768}
    text |= {"num_key_value_heads": 1, "head_dim": 16, "global_head_dim": 24, "hidden_size_per_layer_input": 8}
    text |= {"sliding_window": 8, "sliding_window_pattern": 2}
    vision = {**small, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 16, "patch_size": PATCH}
    vision |= {"position_embedding_size": 512, "pooling_kernel_size": 3, "standardize": True}
    audio = {**small, "output_proj_dims": 24, "subsampling_conv_channels": [128, 4], "use_clipped_linears": True}
    names = {"boi_token_id": "<|image>", "eoi_token_id": "<image|>", "image_token_id": "<|image|>"}
    names |= {"boa_token_id": "<|audio>", "eoa_token_index": "<audio|>", "audio_token_id": "<|audio|>"}
    torch.manual_seed(seed)
    config = EmbeddingGemma2Config(
        text_config=text,
        vision_config=vision if "vision" in parts else None,
        audio_config=audio if "audio" in parts else None,
        **{name: WORDS.index(token) for name, token in names.items()},
        video_token_id=WORDS.index("<|video|>"),
    )
    model = EmbeddingGemma2Model(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("q_norm.weight"):
                # As a trained network has learned: attention is not scaled otherwise, and would be all but a choice.
                value.fill_(value.shape[-1] ** -0.5)
        for name, value in model.named_buffers():
            if name.endswith("std_bias"):
                value.normal_(std=0.5)
            elif name.endswith("std_scale"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("layer_scalar"):
                value.fill_(0.7)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("gemma") / "tiny")


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pictures(times: tuple[float, float] | None = None) -> list[ImageSample]:
    """Of several shapes: landscape and portrait, small and large, strips, four pixels, and one that fits as it is."""
    random = np.random.default_rng(0)
    sizes = [(90, 120), (120, 90), (300, 200), (7, 9), (4, 700), (700, 4), (2, 2), (120, 168)]
    pixels = [np.array(Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize(s)) for s in sizes]
    span = times or (None, None)
    return [ImageSample(each, *span) for each in pixels]


def sounds() -> list[AudioSample]:
    """Windows of several lengths, loud, quiet and silent."""
    random = np.random.default_rng(0)
    seconds = np.arange(10 * RATE) / RATE
    waveforms = [
        random.standard_normal(3 * RATE) * 0.1,
        np.sin(2 * np.pi * 440 * seconds[: 2 * RATE]),
        np.sin(2 * np.pi * 3000 * seconds[:RATE]) * 1e-4,
        np.zeros(RATE // 2),
        random.uniform(-1, 1, 4001),
        random.uniform(-1, 1, 400),
        np.sin(2 * np.pi * 440 * seconds * seconds),
    ]
    return [AudioSample(waveform.astype(np.float32), RATE) for waveform in waveforms]


class Upstream:
    """transformers' model and processor, called as their documentation tells: batches, padding, and a masked mean."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoProcessor, EmbeddingGemma2Model

        self.model = EmbeddingGemma2Model.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def pillow(self) -> Upstream:
        """Bring pictures to size with Pillow, as transformers does where there is no torchvision."""
        from transformers import Gemma4ImageProcessorPil

        self.processor.image_processor = Gemma4ImageProcessorPil(max_soft_tokens=140, patch_size=PATCH)
        return self

    def __call__(self, text: list[str], **media: Any) -> np.ndarray:
        import torch

        inputs = self.processor(text=text, padding=True, return_tensors="pt", **media)
        with torch.inference_mode():
            tokens = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled = (tokens * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=-1).numpy()


def encode(tower: Any, samples: list[Any]) -> np.ndarray:
    return tower.encode([tower.prepare(sample) for sample in samples])


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def same(ours: np.ndarray, upstream: np.ndarray) -> None:
    np.testing.assert_allclose(ours, upstream, rtol=0, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    # The comparison would mean little if all vectors were alike.
    assert np.min(ours @ ours.T) < 0.99


# --- the vectors ---


def test_texts_are_upstreams_with_the_prompt_of_what_they_are_for(folder):
    towers = gemma_towers(str(folder), precision="float32")
    upstream, samples = Upstream(folder), [TextSample(text) for text in TEXTS]
    same(encode(towers.queries[0], samples), upstream([PROMPTS["query"] + text for text in TEXTS]))
    same(encode(towers.documents, samples), upstream([PROMPTS["document"] + text for text in TEXTS]))


def test_pictures_are_upstreams(folder):
    tower, samples = gemma_towers(str(folder), precision="float32").visual, pictures()
    prompts = [PROMPTS["document"] + "<|image|>"] * len(samples)
    same(
        encode(tower, samples),
        Upstream(folder).pillow()(prompts, images=[[Image.fromarray(sample.pixels)] for sample in samples]),
    )


def test_pictures_are_upstreams_with_torchvision_but_for_rounding(folder):
    tower, samples = gemma_towers(str(folder), precision="float32").visual, pictures()
    prompts = [PROMPTS["document"] + "<|image|>"] * len(samples)
    upstream = Upstream(folder)(prompts, images=[[Image.fromarray(sample.pixels)] for sample in samples])
    assert np.min(np.sum(encode(tower, samples) * upstream, axis=1)) > 0.999
    # One that needs no resizing is the same to the bit.
    np.testing.assert_allclose(encode(tower, samples[-1:]), upstream[-1:], atol=2e-5)


def test_a_frame_is_upstreams_video_of_one_frame(folder):
    """It is given half of a picture's tokens, by the checkpoint's settings for videos."""
    tower, samples = gemma_towers(str(folder), precision="float32").visual, pictures((1.0, 2.0))
    prompts = [PROMPTS["document"] + "<|video|>"] * len(samples)
    videos = [sample.pixels[None] for sample in samples]
    upstream = Upstream(folder)(prompts, videos=videos, do_sample_frames=False)
    ours = encode(tower, samples)
    assert np.min(np.sum(ours * upstream, axis=1)) > 0.999
    fits = PictureSettings(PATCH, 3, 70, Image.Resampling.BICUBIC, 1 / 255)
    height, width = fits.size(90, 120)
    sized = ImageSample(np.array(Image.fromarray(samples[0].pixels).resize((width, height))), 1.0, 2.0)
    exact = Upstream(folder)(prompts[:1], videos=[sized.pixels[None]], do_sample_frames=False)
    np.testing.assert_allclose(encode(tower, [sized]), exact, atol=2e-5)
    assert not np.allclose(ours, encode(tower, pictures()), atol=1e-3)


def test_sounds_are_upstreams(folder):
    tower, samples = gemma_towers(str(folder), precision="float32").sound, sounds()
    prompts = [PROMPTS["document"] + "<|audio|>"] * len(samples)
    upstream = Upstream(folder)(prompts, audio=[sample.waveform for sample in samples], sampling_rate=RATE)
    same(encode(tower, samples), upstream)


def test_sentence_transformers_gives_the_same(folder):
    """The way that the model's card recommends, prompts, pooling, cutting and all."""
    pytest.importorskip("sentence_transformers", reason="the comparison needs sentence-transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(folder))
    model = SentenceTransformer(
        modules=[transformer, Pooling(768, pooling_mode="mean"), Normalize()], prompts=PROMPTS, device="cpu"
    )
    towers = gemma_towers(f"{folder}:dim=256", precision="float32")
    samples = [TextSample(text) for text in TEXTS]
    cut = {"truncate_dim": 256, "normalize_embeddings": True}
    np.testing.assert_allclose(encode(towers.queries[0], samples), model.encode_query(TEXTS, **cut), atol=2e-5)
    np.testing.assert_allclose(encode(towers.documents, samples), model.encode_document(TEXTS, **cut), atol=2e-5)


def test_prepared_pictures_are_upstreams_patches(folder):
    from transformers import Gemma4ImageProcessorPil

    tower = gemma_towers(str(folder)).visual
    processor = Gemma4ImageProcessorPil(max_soft_tokens=140, patch_size=PATCH)
    for sample in pictures():
        found = processor(Image.fromarray(sample.pixels), return_tensors="np")
        ours, count = tower.prepare(sample), int((found["image_position_ids"][0] >= 0).all(axis=-1).sum())
        assert len(ours.patches) == count
        np.testing.assert_allclose(ours.pixel_values()[0], found["pixel_values"][0, :count], rtol=0, atol=1e-7)
        np.testing.assert_array_equal(ours.positions()[0], found["image_position_ids"][0, :count])
        assert ours.soft_tokens == found["num_soft_tokens_per_image"][0]
    assert tower.image_side == int(np.sqrt(140) * 12)


@pytest.mark.parametrize("tokens", [70, 140, 280])
def test_sizes_are_upstreams(tokens):
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

    settings = PictureSettings(16, 3, tokens, Image.Resampling.BICUBIC, 1 / 255)
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 50_000), (50_000, 1), (768, 768), (3000, 4000)]
    sizes += [tuple(np.exp(random.uniform(0, 9, 2)).astype(int).tolist()) for _ in range(500)]
    for height, width in sizes:
        expected = get_aspect_ratio_preserving_size(height, width, 16, tokens * 9, 3)
        assert settings.size(height, width) == expected, (height, width)
        assert np.prod(expected) <= tokens * 48**2


def test_a_vector_depends_neither_on_neighbours_nor_on_order(folder):
    towers = gemma_towers(str(folder), precision="float32")
    for tower, samples in (
        (towers.visual, pictures()),
        (towers.sound, sounds()),
        (towers.documents, [TextSample(text) for text in TEXTS]),
        (towers.queries[0], [TextSample(text) for text in TEXTS]),
    ):
        prepared = [tower.prepare(sample) for sample in samples]
        alone = np.concatenate([tower.encode([one]) for one in prepared])
        order = np.random.default_rng(1).permutation(len(prepared))
        np.testing.assert_allclose(tower.encode(prepared), alone, atol=1e-5)
        np.testing.assert_allclose(tower.encode([prepared[row] for row in order]), alone[order], atol=1e-5)
        np.testing.assert_allclose(tower.encode(prepared[:3]), alone[:3], atol=1e-5)
        assert tower.encode([]).shape == (0, 768)


def test_bfloat16_agrees_with_float32(folder):
    """On random weights, which says little of real ones; the checkpoint itself is published in bfloat16."""
    exact, rough = gemma_towers(str(folder), precision="float32"), gemma_towers(str(folder), precision="bfloat16")
    texts = [TextSample(text) for text in TEXTS]
    for whole, half, samples in (
        (exact.visual, rough.visual, pictures()),
        (exact.sound, rough.sound, sounds()),
        (exact.documents, rough.documents, texts),
        (exact.queries[0], rough.queries[0], texts),
    ):
        assert np.min(np.sum(encode(whole, samples) * encode(half, samples), axis=1)) > 0.999
        assert (whole.precision, half.precision) == ("float32", "bfloat16")
        assert whole.fingerprint != half.fingerprint


@pytest.mark.parametrize("name", ["float16", "fp16"])
def test_float16_is_refused_with_the_reason(folder, monkeypatch, name):
    with pytest.raises(UsageError, match="cannot compute in float16: its activations exceed"):
        load_encoder(f"gemma:{folder}", precision=name)
    monkeypatch.setenv("MMSEARCH_PRECISION", name)
    with pytest.raises(UsageError, match="take bfloat16"):
        load_encoder(f"gemma:{folder}")
    assert load_encoder(f"gemma:{folder}", precision="bfloat16").spec.precision == "bfloat16"


# --- shorter vectors ---


@pytest.mark.parametrize("dim", [512, 256, 128])
def test_vectors_are_cut_and_brought_to_length_1_again(folder, dim):
    whole, short = gemma_towers(str(folder), precision="float32"), gemma_towers(f"{folder}:dim={dim}")
    for long, cut, samples in (
        (whole.visual, short.visual, pictures()[:3]),
        (whole.sound, short.sound, sounds()[1:4]),
        (whole.documents, short.documents, [TextSample("a dog")]),
        (whole.queries[0], short.queries[0], [TextSample("a dog")]),
    ):
        expected = encode(long, samples)[:, :dim]
        np.testing.assert_allclose(
            encode(cut, samples), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5
        )
        assert cut.spec.dim == dim
        assert cut.fingerprint != long.fingerprint
    assert (
        load_encoder(f"gemma:{folder}").spec.fingerprint != load_encoder(f"gemma:{folder}:dim={dim}").spec.fingerprint
    )


def test_names_with_a_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    for name, want in {
        "gemma": "gemma:google/embeddinggemma-2",
        "gemma:dim=256": "gemma:google/embeddinggemma-2:dim=256",
        "gemma:google/embeddinggemma-2:dim=768": "gemma:google/embeddinggemma-2",
        "gemma:google/embeddinggemma-2@abc:dim=128": "gemma:google/embeddinggemma-2@abc:dim=128",
        "gemma:./own:dim=512": f"gemma:{tmp_path}/own:dim=512",
        "gemma:own": f"gemma:{tmp_path}/own",
    }.items():
        assert canonical_name(name) == want
        assert canonical_name(want) == want
    assert parse_source("a/b:dim=512") == ("a/b", 512)
    assert are_different("gemma", "gemma:dim=256")
    with pytest.raises(ModelError, match=r"asks for vectors of 300 numbers; the model has 768, 512, 256, 128"):
        load_encoder("gemma:own:dim=300")


def test_more_numbers_than_the_checkpoint_has(copy):
    config = json.loads((copy / "config.json").read_text())
    edit(copy / "config.json", text_config={**config["text_config"], "embedding_dim": 128})
    with pytest.raises(ModelError, match="has vectors of 128 numbers, and 256 were asked for"):
        load_encoder(f"gemma:{copy}:dim=256")


# --- prompts and tokens ---


def test_prompts_of_the_checkpoint_are_used(copy, folder):
    prompts = {"query": "ask: ", "Document": "read: ", "Clustering": "c: "}
    (copy / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    towers, plain = gemma_towers(str(copy), precision="float32"), gemma_towers(str(folder), precision="float32")
    upstream, sample = Upstream(folder).pillow(), pictures()[0]
    same_text = [TextSample("a dog")]
    np.testing.assert_allclose(encode(towers.queries[0], same_text), upstream(["ask: a dog"]), atol=2e-5)
    np.testing.assert_allclose(encode(towers.documents, same_text), upstream(["read: a dog"]), atol=2e-5)
    np.testing.assert_allclose(
        encode(towers.visual, [sample]),
        upstream(["read: <|image|>"], images=[[Image.fromarray(sample.pixels)]]),
        atol=2e-5,
    )
    for one, other in ((towers.visual, plain.visual), (towers.documents, plain.documents)):
        assert one.fingerprint != other.fingerprint


def test_names_of_special_tokens_in_a_text_are_words(folder):
    towers = gemma_towers(str(folder), precision="float32")
    ids = towers.documents.prepare(TextSample("a <|image|> <eos>"))
    assert WORDS.index("<|image|>") not in ids
    assert list(ids).count(WORDS.index("<eos>")) == 1
    plain = towers.documents.prepare(TextSample("a dog"))
    assert plain[0] == WORDS.index("<bos>")
    assert plain[-1] == WORDS.index("<eos>")
    assert towers.documents.count_tokens("a dog") == len(plain) == 2 + len(PROMPTS["document"]) + 5
    encode(towers.visual, pictures()[:1])  # which shares the tokenizer, and needs its special tokens
    np.testing.assert_array_equal(towers.documents.prepare(TextSample("a <|image|> <eos>")), ids)


def test_limits_of_tokens(folder):
    towers = gemma_towers(str(folder))
    assert towers.documents.max_tokens == 256
    assert towers.queries[0].max_tokens == 8192
    assert len(towers.documents.prepare(TextSample("a" * 500))) == 256


# --- the table ---


def test_the_table(folder):
    encoder = load_encoder(f"gemma:{folder}", precision="float32")
    spec = encoder.spec
    image, audio = TowerSpec("image", "gemma", 768), TowerSpec("audio", "gemma", 768)
    document, query = TowerSpec("text", "gemma", 768, asks=()), TowerSpec("text", "gemma", 768)
    assert dict(spec.channels) == {"visual": image, "sound": audio, "speech": document, "text": document}
    for channel in ("visual", "sound", "speech", "text"):
        assert spec.query_tower("text", channel) == query
        assert spec.query_tower("image", channel) == image
        assert spec.query_tower("audio", channel) == audio
    assert (spec.sample_rate, spec.window_seconds, spec.hop_seconds, spec.max_tokens) == (16_000, 10.0, 5.0, 256)
    assert (spec.token_limit(document), spec.token_limit(query)) == (256, 8192)
    assert ModelSpec.from_json(spec.to_json()) == spec
    # The two text towers are told apart: the same words get the vectors of their prompts.
    vectors = [encoder.encode(tower, [encoder.prepare(tower, TextSample("a dog"))]) for tower in (document, query)]
    assert float(vectors[0][0] @ vectors[1][0]) < 0.999


def test_a_checkpoint_without_some_of_its_parts(tmp_path):
    text = save_checkpoint(tmp_path / "text", parts=())
    assert [channel for channel, _ in load_encoder(f"gemma:{text}").spec.channels] == ["speech", "text"]
    hears = gemma_towers(str(save_checkpoint(tmp_path / "hears", parts=("audio",))), precision="float32")
    assert hears.visual is None
    assert encode(hears.sound, sounds()[1:3]).shape == (2, 768)


def test_a_text_query_loads_the_language_model_only(folder):
    code = f"""
import sys
from indexer.types import TextSample
from mmsearch.encoders import load_encoder
encoder = load_encoder("gemma:{folder}")
spec = encoder.spec
assert not {{"torch", "transformers", "huggingface_hub"}} & set(sys.modules)
tower = spec.query_tower("text", "visual")
encoder.encode(tower, [encoder.prepare(tower, TextSample("a dog"))])
model = encoder._tower(tower)._half._model
assert model.vision_tower is None and model.audio_tower is None
sys.stdout.write(" ".join(name for name in sys.modules if name in {{"timm", "av"}} or "modeling_gemma4" in name))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


# --- what cannot be used ---


def test_a_folder_of_another_architecture(tiny_clap, folder):
    with pytest.raises(ModelError, match="architecture 'clap', expected 'embedding_gemma2'"):
        load_encoder(f"gemma:{tiny_clap}")
    with pytest.raises(ModelError, match="architecture 'embedding_gemma2', expected 'pe_audio_video'"):
        load_encoder(f"pe-av:{folder}")
    with pytest.raises(ModelError, match="more than one part for sounds"):
        load_encoder(f"gemma:{folder}+clap:{tiny_clap}")


def break_pickle(copy: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(1)}, copy / "model.safetensors")


def break_truncated(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def break_missing(copy: Path) -> None:
    (copy / "model.safetensors").unlink()


def break_dimension(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    edit(copy / "config.json", text_config={**config["text_config"], "embedding_dim": 512})


def break_vision(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("vision_tower.")}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_pickle, "is a pickle, and its name promises safetensors"),
        (break_truncated, "is cut off"),
        (break_missing, r"there are no weights in .* expected model\.safetensors"),
        (break_dimension, r"cannot be loaded as transformers' EmbeddingGemma2Model"),
        (break_vision, r"lacks \d+ tensors of transformers' EmbeddingGemma2Model \(vision_tower\)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_weights_end_a_run_and_nothing_is_written(copy, tmp_path, make, damage, message):
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    library = tmp_path / "library"
    damage(copy)
    if damage in (break_pickle, break_truncated, break_missing):  # which opening sees
        with pytest.raises(WeightsError, match=message):
            Engine.open(library, model=f"gemma:{copy}")
        assert not library.exists()
        return
    with Engine.open(library, model=f"gemma:{copy}") as engine:
        with pytest.raises(WeightsError, match=message):
            engine.index(tmp_path / "media")
        assert engine.status().counts.segments == {}


def test_missing_files_and_settings_that_do_not_fit(copy):
    settings = json.loads((copy / "processor_config.json").read_text())

    def refused(match: str, part: str, **changes: object) -> None:
        edit(copy / "processor_config.json", **{part: {**settings[part], **changes}})
        with pytest.raises(ModelError, match=match):
            gemma_towers(str(copy))
        edit(copy / "processor_config.json", **settings)

    refused("makes patches of 16 pixels and pools 3, and its network takes 4 and 3", "image_processor", patch_size=16)
    refused("expected resizing", "video_processor", do_resize=False)
    refused("no normalisation", "image_processor", do_normalize=True, image_mean=[0.5] * 3)
    refused("with dither 0.1", "feature_extractor", dither=0.1)
    refused(
        "prepares sound by ClapFeatureExtractor", "feature_extractor", feature_extractor_type="ClapFeatureExtractor"
    )
    (copy / "tokenizer.json").unlink()
    towers = gemma_towers(str(copy))
    with pytest.raises(WeightsError, match="the tokenizer in"):
        towers.documents.prepare(TextSample("a"))
    (copy / "processor_config.json").unlink()
    with pytest.raises(WeightsError, match="does not say how its inputs are prepared"):
        gemma_towers(str(copy))


def test_sound_that_does_not_fit(folder):
    tower = gemma_towers(str(folder), precision="float32").sound
    with pytest.raises(ModelError, match="hears 16000 Hz, got sound at 48000 Hz"):
        tower.prepare(AudioSample(np.zeros(10, np.float32), 48_000))
    for length in (0, 160_001):
        with pytest.raises(ModelError, match=f"windows of 1 to 160000 samples, got {length}"):
            tower.prepare(AudioSample(np.zeros(length, np.float32), RATE))
    # Too short for a frame: as if it were followed by silence.
    short = [AudioSample(np.ones(length, np.float32), RATE) for length in (1, 100, 321)]
    assert np.isfinite(encode(tower, short)).all()
    assert [tower.prepare(sample).shape for sample in short] == [(2, 128)] * 3


# --- a library ---


def test_a_library_of_everything(folder, tmp_path, make):
    media = tmp_path / "media"
    make.image(media / "red.png", (255, 0, 0))
    make.image(media / "stripes.png", (255, 0, 0), (0, 0, 255))
    make.tones(media / "tones.wav", ["cat", "dog"] * 6)
    make.video(media / "clip.mp4", [(255, 0, 0), (0, 255, 0)], ["cat", "dog"])
    (media / "note.txt").write_text("a dog in the park")
    library = tmp_path / "library"
    with Engine.open(library, model=f"gemma:{folder}:dim=128") as engine:
        report = engine.index(media)
        assert (report.added, report.failed) == (5, 0)
    with Engine.open(library) as engine:
        spec = engine.status().spec
        assert spec.name == f"gemma:{folder}:dim=128"
        found = {Path(hit.path).name: hit for hit in engine.query("a dog", k=9)}
        assert set(found) == {"red.png", "stripes.png", "tones.wav", "clip.mp4", "note.txt"}
        towers = gemma_towers(f"{folder}:dim=128", precision=spec.precision)
        question = encode(towers.queries[0], [TextSample("a dog")])[0]
        passage = encode(towers.documents, [TextSample("a dog in the park")])[0]
        assert found["note.txt"].score == pytest.approx(float(question @ passage), abs=2e-3)
        picture = encode(towers.visual, [ImageSample(np.array(Image.open(media / "red.png").convert("RGB")))])[0]
        assert found["red.png"].score == pytest.approx(float(question @ picture), abs=2e-3)
        counts = engine.status().counts.segments
        # 12 s of tones are two windows, 2 s of video one.
        assert counts == {"visual": 4, "sound": 3, "text": 1} | (
            {"speech": counts["speech"]} if "speech" in counts else {}
        )
    with pytest.raises(ModelMismatchError):
        Engine.open(library, model=f"gemma:{folder}")
