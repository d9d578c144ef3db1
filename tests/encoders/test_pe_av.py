"""PE-AV's towers, against transformers' own model and processor, on a tiny checkpoint made here."""

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

from indexer.errors import ModelError, ModelMismatchError, WeightsError
from indexer.types import AudioSample, ImageSample, ModelSpec, TextSample, TowerSpec
from mmsearch import Engine
from mmsearch.encoders import canonical_name, load_encoder
from mmsearch.encoders.pe_av import pe_av_towers

RATE = 48_000
SIDE = 28
DIM = 24
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz "]
TEXTS = ["a dog", "dogs and cats", "x", "rain at night", "a dog in the park", "cat", "zebra"]


def tokenizer() -> Any:
    """A tokenizer that reads character by character."""
    import tokenizers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    made.add_special_tokens(WORDS[:5])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, mask_token="[MASK]", **names)


def save_checkpoint(folder: Path, *, seed: int = 0) -> Any:
    """A random PE-AV of a megabyte in the format of save_pretrained; returns the model that was saved."""
    import torch
    from transformers import (
        PeAudioFeatureExtractor,
        PeAudioVideoConfig,
        PeAudioVideoModel,
        PeAudioVideoProcessor,
        PeVideoVideoProcessor,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    # As of the published checkpoints, but for the size.
    video = PeVideoVideoProcessor(
        size={"height": SIDE, "width": SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_sample_frames=False,
        **dict.fromkeys(("do_normalize", "do_resize", "do_rescale", "do_convert_rgb"), True),
    )
    PeAudioVideoProcessor(PeAudioFeatureExtractor(), video, tokenizer()).save_pretrained(folder)
    layers = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    layers |= {"head_dim": 16, "initializer_range": 0.2}
    text = {"model_type": "modernbert", "vocab_size": len(WORDS), "hidden_size": DIM, "intermediate_size": 32}
    text |= {"num_hidden_layers": 3, "num_attention_heads": 2, "local_attention": 8, "initializer_range": 0.2}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    codec = {"model_type": "dac", "encoder_hidden_size": 8, "codebook_dim": 8, "hidden_size": 16}
    shape = {"img_size": SIDE, "patch_size": 14, "embed_dim": 32, "depth": 2, "num_heads": 2, "ref_feat_shape": (2, 2)}
    vision = {"model_type": "timm_wrapper", "architecture": "vit_pe_core_tiny_patch16_384", "num_classes": 16}
    torch.manual_seed(seed)
    model = PeAudioVideoModel(
        PeAudioVideoConfig(
            text_config=text,
            audio_video_config={
                **layers,
                "audio_config": {"model_type": "pe_audio_encoder", **layers, "dac_config": codec},
                "video_config": {
                    "model_type": "pe_video_encoder",
                    **layers,
                    "vision_config": {**vision, "global_pool": "map", "model_args": shape},
                },
            },
        )
    )
    with torch.no_grad():
        for name, value in model.named_parameters():
            # As they come, random layers lose their input, and all vectors are alike.
            if value.ndim > 1 and "tok_embeddings" not in name and ("dac" in name or "timm" in name):
                value.mul_(3)
            elif name.endswith("class_embedding"):
                value.normal_()
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("pe_av") / "tiny"
    return folder, save_checkpoint(folder)


@pytest.fixture
def folder(saved) -> Path:
    return saved[0]


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pictures(side: int | None = None) -> list[ImageSample]:
    """Of several shapes, or all of one side."""
    random = np.random.default_rng(0)
    sizes = [(90, 120), (120, 90), (28, 28), (7, 9), (4, 200), (300, 200)]
    pixels = [
        np.array(
            Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize((side, side) if side else s)
        )
        for s in sizes
    ]
    return [ImageSample(each) for each in pixels]


def sounds() -> list[AudioSample]:
    """Windows of several lengths, loud, quiet and silent: whole steps of the codec, and not."""
    random = np.random.default_rng(0)
    seconds = np.arange(2 * RATE) / RATE
    waveforms = [
        random.standard_normal(RATE) * 0.1,
        np.sin(2 * np.pi * 440 * seconds),
        np.sin(2 * np.pi * 3000 * seconds[:19_200]) * 1e-3,
        np.zeros(RATE // 2),
        random.uniform(-1, 1, 30_001),
        random.uniform(-1, 1, 1921),
    ]
    return [AudioSample(waveform.astype(np.float32), RATE) for waveform in waveforms]


class Upstream:
    """transformers' processor, and the whole model's own forward pass: one sound, picture and text at a time.

    Not `from_pretrained`, which fails with this transformers and timm, nor the `get_..._embeds`, of which some do.
    """

    def __init__(self, saved: tuple[Path, Any]) -> None:
        from transformers import AutoProcessor

        folder, self.model = saved
        self.processor = AutoProcessor.from_pretrained(folder)

    def __call__(self, text: str, pixels: np.ndarray, waveform: np.ndarray) -> Any:
        import torch

        inputs = {
            **self.processor.tokenizer([text], return_tensors="pt"),
            **self.processor.video_processor([pixels[None]], return_tensors="pt"),
            **self.processor.feature_extractor([waveform], sampling_rate=RATE, return_tensors="pt"),
        }
        with torch.inference_mode():
            return self.model(**inputs)

    def texts(self, name: str) -> np.ndarray:
        return _unit([getattr(self(t, pictures()[0].pixels, sounds()[2].waveform), name) for t in TEXTS])

    def pictures(self, samples: list[ImageSample]) -> np.ndarray:
        return _unit([self("a", s.pixels, sounds()[2].waveform).video_embeds for s in samples])

    def sounds(self, samples: list[AudioSample]) -> np.ndarray:
        return _unit([self("a", pictures()[0].pixels, s.waveform).audio_embeds for s in samples])


def _unit(rows: list[Any]) -> np.ndarray:
    vectors = np.concatenate([row.numpy() for row in rows])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def encode(tower: Any, samples: list[Any]) -> np.ndarray:
    return tower.encode([tower.prepare(sample) for sample in samples])


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def same(ours: np.ndarray, upstream: np.ndarray) -> None:
    np.testing.assert_allclose(ours, upstream, rtol=0, atol=5e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    # The comparison would mean little if all vectors were alike.
    assert np.min(ours @ ours.T) < 0.99


# --- the vectors ---


def test_a_text_goes_through_the_head_of_what_it_asks_for(saved):
    for_video, for_audio = pe_av_towers(str(saved[0]), precision="float32").queries
    upstream, samples = Upstream(saved), [TextSample(text) for text in TEXTS]
    same(encode(for_video, samples), upstream.texts("text_video_embeds"))
    same(encode(for_audio, samples), upstream.texts("text_audio_embeds"))
    assert not np.allclose(encode(for_video, samples), encode(for_audio, samples), atol=1e-2)


def test_pictures_are_upstreams_videos_of_one_frame(saved):
    tower, upstream = pe_av_towers(str(saved[0]), precision="float32").visual, Upstream(saved)
    # Resized by Pillow here and by torchvision there, which differ by a level of brightness now and then.
    assert np.min(np.sum(encode(tower, pictures()) * upstream.pictures(pictures()), axis=1)) > 0.999
    same(encode(tower, pictures(SIDE)), upstream.pictures(pictures(SIDE)))
    # A frame of a video is a picture like any other.
    frame = ImageSample(pictures()[0].pixels, 3.0, 4.0)
    np.testing.assert_array_equal(encode(tower, [frame]), encode(tower, pictures()[:1]))


def test_sounds_are_upstreams(saved):
    tower = pe_av_towers(str(saved[0]), precision="float32").sound
    same(encode(tower, sounds()), Upstream(saved).sounds(sounds()))
    assert (tower.sample_rate, tower.window_seconds, tower.hop_seconds) == (48_000, 10.0, 5.0)


def test_the_convenience_methods_that_are_not_used(saved):
    """If this fails, upstream was repaired, and the parts of pe_av_network.py may be simpler."""
    model = saved[1]
    with pytest.raises(AttributeError):
        model.get_text_audio_embeds(None)
    with pytest.raises(AttributeError):
        model.get_text_video_embeds(None)
    with pytest.raises(AttributeError):
        model.get_video_embeds(None)


def test_a_vector_depends_neither_on_neighbours_nor_on_order(folder):
    towers = pe_av_towers(str(folder), precision="float32")
    for tower, samples in (
        (towers.visual, pictures()),
        (towers.sound, sounds()),
        *((tower, [TextSample(text) for text in TEXTS]) for tower in towers.queries),
    ):
        prepared = [tower.prepare(sample) for sample in samples]
        alone = np.concatenate([tower.encode([one]) for one in prepared])
        order = np.random.default_rng(1).permutation(len(prepared))
        np.testing.assert_allclose(tower.encode(prepared), alone, atol=1e-5)
        np.testing.assert_allclose(tower.encode([prepared[row] for row in order]), alone[order], atol=1e-5)
        np.testing.assert_allclose(tower.encode(prepared[:3]), alone[:3], atol=1e-5)
        assert tower.encode([]).shape == (0, DIM)


def test_bfloat16_agrees_with_float32(folder):
    """On random weights, which says little of real ones."""
    exact, rough = pe_av_towers(str(folder), precision="float32"), pe_av_towers(str(folder), precision="bfloat16")
    texts = [TextSample(text) for text in TEXTS]
    for whole, half, samples in (
        (exact.visual, rough.visual, pictures()),
        (exact.sound, rough.sound, sounds()),
        *((one, other, texts) for one, other in zip(exact.queries, rough.queries, strict=True)),
    ):
        assert np.min(np.sum(encode(whole, samples) * encode(half, samples), axis=1)) > 0.999
        assert (whole.precision, half.precision) == ("float32", "bfloat16")
        assert whole.fingerprint != half.fingerprint


# --- the table ---


def test_the_table(folder):
    spec = load_encoder(f"pe-av:{folder}", precision="float32").spec
    image, audio = TowerSpec("image", "pe-av", DIM), TowerSpec("audio", "pe-av", DIM)
    document = TowerSpec("text", "minilm", 384)
    assert dict(spec.channels) == {"visual": image, "sound": audio, "speech": document, "text": document}
    assert spec.query_tower("text", "visual") == TowerSpec("text", "pe-av", DIM, asks=("visual",))
    assert spec.query_tower("text", "sound") == TowerSpec("text", "pe-av", DIM, asks=("sound",))
    assert spec.query_tower("text", "text") == document
    # Pictures and sounds are compared without a bridge.
    assert spec.query_tower("image", "sound") == spec.query_tower("image", "visual") == image
    assert spec.query_tower("audio", "visual") == spec.query_tower("audio", "sound") == audio
    assert spec.query_tower("image", "text") is None
    assert spec.token_limit(spec.query_tower("text", "sound")) == 64
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert canonical_name("pe-av") == "pe-av:facebook/pe-av-large"


def test_a_text_query_loads_the_text_model_once_and_nothing_else(folder):
    code = f"""
import sys
from indexer.types import TextSample
from mmsearch.encoders import load_encoder
encoder = load_encoder("pe-av:{folder}")
spec = encoder.spec
assert not {{"torch", "transformers", "huggingface_hub"}} & set(sys.modules)
models = []
for channel in ("visual", "sound"):
    tower = spec.query_tower("text", channel)
    encoder.encode(tower, [encoder.prepare(tower, TextSample("a dog"))])
    models.append(encoder._tower(tower)._half._model)
assert models[0] is models[1]
assert not hasattr(models[0], "audio_video_encoder") and "audio_encoder" not in models[0].audio_model
sys.stdout.write(" ".join(name for name in sys.modules if name in {{"timm", "av"}}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_tied_tensors_may_be_kept_under_any_of_their_names(copy, folder):
    from safetensors.torch import load_file, save_file

    renamed = {
        "text_model.": "audio_model.text_model.",
        "audio_model.audio_encoder.": "audio_video_encoder.embedder.audio_encoder.",
        "video_model.video_encoder.": "audio_video_encoder.embedder.video_encoder.",
    }
    weights = {}
    for name, value in load_file(copy / "model.safetensors").items():
        prefix = next((prefix for prefix in renamed if name.startswith(prefix)), "")
        weights[renamed.get(prefix, "") + name.removeprefix(prefix)] = value
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    ours, expected = (pe_av_towers(str(each), precision="float32") for each in (copy, folder))
    np.testing.assert_array_equal(encode(ours.visual, pictures()), encode(expected.visual, pictures()))
    np.testing.assert_array_equal(encode(ours.sound, sounds()[2:4]), encode(expected.sound, sounds()[2:4]))
    words = [TextSample("a dog")]
    np.testing.assert_array_equal(encode(ours.queries[1], words), encode(expected.queries[1], words))


def test_settings_in_the_older_files(copy, folder):
    settings = json.loads((copy / "processor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(settings["feature_extractor"]))
    (copy / "video_preprocessor_config.json").write_text(json.dumps(settings["video_processor"]))
    (copy / "processor_config.json").unlink()
    ours, expected = (pe_av_towers(str(each), precision="float32") for each in (copy, folder))
    np.testing.assert_array_equal(encode(ours.visual, pictures()), encode(expected.visual, pictures()))
    np.testing.assert_array_equal(ours.sound.prepare(sounds()[4]), expected.sound.prepare(sounds()[4]))


# --- what cannot be used ---


def test_a_folder_of_another_architecture(tiny_clap, folder):
    with pytest.raises(ModelError, match="architecture 'clap', expected 'pe_audio_video'"):
        load_encoder(f"pe-av:{tiny_clap}")
    with pytest.raises(ModelError, match="more than one part for pictures"):
        load_encoder(f"clip:openai/x+pe-av:{folder}")


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
    edit(copy / "config.json", text_config={**config["text_config"], "hidden_size": 16})


def break_head(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["video_model.video_head.proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_pickle, "is a pickle, and its name promises safetensors"),
        (break_truncated, "is cut off"),
        (break_missing, r"there are no weights in .* expected model\.safetensors"),
        (break_dimension, r"cannot be loaded as transformers' PeAudioVideoModel \(video\)"),
        (break_head, r"lacks 1 tensors of transformers' PeAudioVideoModel \(video\), such as 'video_model.video_head"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_weights_end_a_run_and_nothing_is_written(copy, tmp_path, make, damage, message):
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    library = tmp_path / "library"
    damage(copy)
    if damage in (break_pickle, break_truncated, break_missing):  # which opening sees
        with pytest.raises(WeightsError, match=message):
            Engine.open(library, model=f"pe-av:{copy}")
        assert not library.exists()
        return
    with Engine.open(library, model=f"pe-av:{copy}") as engine:
        with pytest.raises(WeightsError, match=message):
            engine.index(tmp_path / "media")
        assert engine.status().counts.segments == {}


def test_missing_files_and_settings_that_do_not_fit(copy):
    settings = json.loads((copy / "processor_config.json").read_text())

    def refused(match: str, part: str, **changes: object) -> None:
        edit(copy / "processor_config.json", **{part: {**settings[part], **changes}})
        with pytest.raises(ModelError, match=match):
            pe_av_towers(str(copy))
        edit(copy / "processor_config.json", **settings)

    refused("takes 16 frames of a video at once", "video_processor", do_sample_frames=True, num_frames=16)
    refused("expected height and width", "video_processor", size={"shortest_edge": 28})
    refused(
        r"frames of \(56, 56\) pixels, and its network takes \(28, 28\)",
        "video_processor",
        size={"height": 56, "width": 56},
    )
    refused("hears 2 channels, expected one", "feature_extractor", feature_size=2)
    (copy / "processor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"neither video_preprocessor_config\.json nor a processor_config\.json"):
        pe_av_towers(str(copy))


def test_sound_that_does_not_fit(folder):
    tower = pe_av_towers(str(folder), precision="float32").sound
    with pytest.raises(ModelError, match="hears 48000 Hz, got sound at 16000 Hz"):
        tower.prepare(AudioSample(np.zeros(10, np.float32), 16_000))
    for length in (0, 480_001):
        with pytest.raises(ModelError, match=f"windows of 1 to 480000 samples, got {length}"):
            tower.prepare(AudioSample(np.zeros(length, np.float32), RATE))
    short = [AudioSample(np.ones(length, np.float32), RATE) for length in (1, 2, 1919)]
    assert np.isfinite(encode(tower, short)).all()


# --- a library ---


def test_a_library_of_everything(folder, tmp_path, make):
    media = tmp_path / "media"
    make.image(media / "red.png", (255, 0, 0))
    make.tones(media / "tones.wav", ["cat", "dog"] * 6)
    make.video(media / "clip.mp4", [(255, 0, 0), (0, 255, 0)], ["cat", "dog"])
    (media / "note.txt").write_text("Take an umbrella: it will rain tonight.")
    library = tmp_path / "library"
    with Engine.open(library, model=f"pe-av:{folder}") as engine:
        report = engine.index(media)
        assert (report.added, report.failed) == (4, 0)
    with Engine.open(library) as engine:
        spec = engine.status().spec
        assert spec.name == f"pe-av:{folder}"
        found = {Path(hit.path).name: hit for hit in engine.query("umbrella", k=9)}
        assert set(found) == {"red.png", "tones.wav", "clip.mp4", "note.txt"}
        towers = pe_av_towers(str(folder), precision=spec.precision)
        for_video, for_audio = (encode(tower, [TextSample("umbrella")])[0] for tower in towers.queries)
        picture = encode(towers.visual, [ImageSample(np.array(Image.open(media / "red.png").convert("RGB")))])[0]
        assert found["red.png"].score == pytest.approx(float(for_video @ picture), abs=2e-3)
        assert found["note.txt"].channel == "text"
        sound = engine._library.index("sound")
        scores, _ = engine._library.search("sound", for_audio[None], 9, allowed=None)
        assert len(sound) == len(scores[0]) == 3  # 12 s of tones are two windows, 2 s of video one
        moments = [found["tones.wav"], *found["tones.wav"].moments]
        best = max(moment.score for moment in moments if moment.channel == "sound")
        assert best in [pytest.approx(float(score), abs=1e-5) for score in scores[0]]
    with pytest.raises(ModelMismatchError):
        Engine.open(library, model="mini")
