"""The CLAP towers, against transformers' own model and feature extractor, on a tiny checkpoint made here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_raw, assert_same, cosines, lowest_cosine

from indexer.errors import ModelError, WeightsError
from indexer.types import AudioSample, TextSample, TowerSpec
from indexer.vectors import lengths, unit
from mmsearch.encoders import files
from mmsearch.encoders import hub as hub_module
from mmsearch.encoders.clap import clap_towers
from mmsearch.encoders.files import file_fingerprint

RATE = 48_000
DIM = 16
TEXTS = ["abba", "a", "ab ab ba", "b a b a b a", "aab bab", "ba", "abab abab abab"]


def save_checkpoint(folder: Path, *, fused: bool = False, seed: int = 0) -> Path:
    """A random CLAP of half a million bytes, in the format of save_pretrained."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "Ġ", "ab"]
    tokenizer = RobertaTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)}, merges=[("a", "b")], model_max_length=24
    )
    extractor = ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc")
    ClapProcessor(extractor, tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    config = ClapConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "max_position_embeddings": 34,
        },
        audio_config={
            "patch_embeds_hidden_size": 8,
            "hidden_size": 64,
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
            "enable_fusion": fused,
            "fusion_type": "aff_2d" if fused else None,
        },
        projection_dim=DIM,
        initializer_factor=20.0,  # or all inputs would get nearly the same vector
    )
    ClapModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("clap") / "tiny")


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sounds() -> list[AudioSample]:
    """Windows of several lengths, loud, quiet and silent."""
    random = np.random.default_rng(0)
    time_seconds = np.arange(10 * RATE) / RATE
    waveforms = [
        random.standard_normal(10 * RATE) * 0.1,
        np.sin(2 * np.pi * 440 * time_seconds),
        random.standard_normal(3 * RATE) * 0.5,
        np.sin(2 * np.pi * 3000 * time_seconds[:RATE]) * 1e-4,
        np.zeros(RATE // 2),
        np.ones(1),
        random.uniform(-1, 1, 6 * RATE + 1),
    ]
    return [AudioSample(waveform.astype(np.float32), RATE) for waveform in waveforms]


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("fused", [False, True])
def test_features_are_those_of_the_upstream_extractor(folder, tmp_path, fused):
    from transformers import ClapFeatureExtractor

    source = save_checkpoint(tmp_path / "fused", fused=True) if fused else folder
    audio, _ = clap_towers(str(source))
    extractor = ClapFeatureExtractor.from_pretrained(source)
    for sample in sounds():
        upstream = extractor(sample.waveform, sampling_rate=RATE, return_tensors="np")["input_features"][0]
        assert upstream.shape[0] == (4 if fused else 1)
        ours = audio.prepare(sample)
        assert ours.shape == (1001, 64)
        assert ours.dtype == np.float32
        for channel in upstream:
            np.testing.assert_allclose(ours, channel, rtol=0, atol=1e-4)


@pytest.mark.parametrize("padding", ["repeat", "pad"])
def test_other_paddings(copy, padding):
    from transformers import ClapFeatureExtractor

    settings = json.loads((copy / "processor_config.json").read_text())["feature_extractor"]
    # As the versions of transformers before 5 lay it out.
    (copy / "preprocessor_config.json").write_text(json.dumps({**settings, "padding": padding}))
    (copy / "processor_config.json").unlink()
    audio, _ = clap_towers(str(copy))
    extractor = ClapFeatureExtractor.from_pretrained(copy)
    sample = sounds()[2]
    upstream = extractor(sample.waveform, sampling_rate=RATE, return_tensors="np")["input_features"][0, 0]
    np.testing.assert_allclose(audio.prepare(sample), upstream, rtol=0, atol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_vectors_are_those_of_the_upstream_model(folder, tmp_path, fused):
    """Also for a checkpoint with fusion, on upstream's path for sound that is not longer than the model hears."""
    import torch
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    source = save_checkpoint(tmp_path / "fused", fused=True) if fused else folder
    model = ClapModel.from_pretrained(source).eval()
    extractor = ClapFeatureExtractor.from_pretrained(source)
    tokenizer = AutoTokenizer.from_pretrained(source)
    audio, text = clap_towers(str(source), precision="float32")
    features = extractor([sample.waveform for sample in sounds()], sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        heard = {
            "input_features": features["input_features"].float(),
            "is_longer": torch.zeros(len(sounds()), 1, dtype=torch.bool),
        }
        read = tokenizer(TEXTS, padding=True, return_tensors="pt")
        # `get_..._features` brings vectors to length 1; these are what it does that to.
        sound = model.audio_projection(model.audio_model(**heard).pooler_output).numpy()
        words = model.text_projection(model.text_model(**read).pooler_output).numpy()
        directions = [model.get_audio_features(**heard).pooler_output, model.get_text_features(**read).pooler_output]
    ours = audio.encode([audio.prepare(sample) for sample in sounds()])
    ours_of_texts = text.encode([text.prepare(TextSample(line)) for line in TEXTS])
    for found, want, direction in zip((ours, ours_of_texts), (sound, words), directions, strict=True):
        assert_same(found, want, 2e-5)
        assert_same(unit(found)[0], direction.numpy(), 2e-5)
        assert_raw(found)
        # The comparison would mean little if all vectors were alike.
        assert cosines(found, found).min() < 0.99


def test_a_vector_depends_neither_on_neighbours_nor_on_order(folder):
    audio, text = clap_towers(str(folder), precision="float32")
    for tower, prepared in (
        (audio, [audio.prepare(sample) for sample in sounds()]),
        (text, [text.prepare(TextSample(line)) for line in TEXTS]),
    ):
        alone = np.concatenate([tower.encode([one]) for one in prepared])
        order = np.random.default_rng(1).permutation(len(prepared))
        assert_same(tower.encode(prepared), alone, 1e-5)
        assert_same(tower.encode([prepared[row] for row in order]), alone[order], 1e-5)
        assert_same(tower.encode(prepared[:3]), alone[:3], 1e-5)
        np.testing.assert_array_equal(tower.encode(prepared), tower.encode(prepared))
        empty = tower.encode([])
        assert empty.shape == (0, DIM)
        assert empty.dtype == np.float32


def test_bfloat16_agrees_with_float32(folder):
    for whole, half in zip(clap_towers(str(folder)), clap_towers(str(folder), precision="bfloat16"), strict=True):
        samples = sounds() if whole.spec.modality == "audio" else [TextSample(line) for line in TEXTS]
        exact = whole.encode([whole.prepare(sample) for sample in samples])
        rough = half.encode([half.prepare(sample) for sample in samples])
        assert rough.dtype == np.float32
        assert lowest_cosine(exact, rough) > 0.999
        np.testing.assert_allclose(lengths(rough), lengths(exact), rtol=0.02)
        assert whole.fingerprint != half.fingerprint
        assert half.precision == "bfloat16"


def test_long_texts_are_cut_where_upstream_cuts_them(folder):
    from transformers import AutoTokenizer

    _, text = clap_towers(str(folder))
    line = "a b " * 40
    assert text.count_tokens(line) == 2 + len("ab" * 40 + " " * 80)
    ids = text.prepare(TextSample(line))
    assert ids.shape == (24,)
    assert list(ids) == AutoTokenizer.from_pretrained(folder)(line, truncation=True)["input_ids"]


def test_many_threads_prepare_at_once(folder):
    _, text = clap_towers(str(folder))
    lines = [line * (1 + number % 5) for number, line in enumerate(TEXTS * 30)]
    with ThreadPoolExecutor(8) as pool:
        prepared = list(pool.map(lambda line: text.prepare(TextSample(line)), lines))
        counts = list(pool.map(text.count_tokens, lines))
    assert [len(ids) for ids in prepared] == [min(24, count) for count in counts]


def test_the_table_is_known_without_heavy_imports(folder):
    code = (
        "import sys\nfrom mmsearch.encoders.clap import clap_towers\n"
        f"audio, text = clap_towers({str(folder)!r})\n"
        "assert (audio.sample_rate, audio.window_seconds, audio.hop_seconds) == (48000, 10.0, 5.0)\n"
        "assert text.max_tokens == 24\n"
        "assert (audio.spec.dim, text.spec.space) == (16, 'clap')\n"
        "audio.fingerprint, text.fingerprint\n"
        "sys.stdout.write(' '.join({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_specs(folder):
    audio, text = clap_towers(str(folder))
    assert audio.spec == TowerSpec("audio", "clap", DIM)
    assert text.spec == TowerSpec("text", "clap", DIM)


def test_fingerprints_change_with_what_makes_the_vectors(copy, tmp_path):
    def prints() -> tuple[str, str]:
        audio, text = clap_towers(str(copy), precision="float32")
        return audio.fingerprint, text.fingerprint

    before = prints()
    assert prints() == before
    assert before[0] != before[1]
    moved = Path(shutil.copytree(copy, tmp_path / "moved"))
    assert clap_towers(str(moved), precision="float32")[0].fingerprint == before[0]
    edit(copy / "processor_config.json", note="changed")
    after = prints()
    assert set(after).isdisjoint(before)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert set(prints()).isdisjoint(after)


def test_a_file_is_hashed_once(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    digest = file_fingerprint(path)
    assert digest == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"  # sha256sum of "one"
    hashed = []
    sha256_of = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    assert file_fingerprint(str(path)) == digest
    assert hashed == []
    path.write_bytes(b"three")
    assert file_fingerprint(path) != digest
    assert hashed == [path.resolve()]


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"one")
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "file"))
    assert file_fingerprint(tmp_path / "file").startswith("7692c3ad")
    with pytest.raises(WeightsError, match="missing"):
        file_fingerprint(tmp_path / "missing")


def test_sound_at_another_rate_and_longer_than_a_window_is_refused(folder):
    audio, _ = clap_towers(str(folder))
    with pytest.raises(ModelError, match="hears 48000 Hz, got sound at 44100 Hz"):
        audio.prepare(AudioSample(np.zeros(10, np.float32), 44_100))
    for length in (0, 10 * RATE + 1):
        with pytest.raises(ModelError, match=f"1 to 480000 samples, got {length}"):
            audio.prepare(AudioSample(np.zeros(length, np.float32), RATE))


# What can be wrong with a checkpoint.


def encode_both(folder: Path) -> None:
    audio, text = clap_towers(str(folder), precision="float32")
    text.encode([text.prepare(TextSample("a"))])
    audio.encode([audio.prepare(sounds()[4])])


def test_a_pickle_is_taken_where_there_is_nothing_else(copy, folder):
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    _, text = clap_towers(str(copy), precision="float32")
    _, expected = clap_towers(str(folder), precision="float32")
    prepared = [text.prepare(TextSample(line)) for line in TEXTS]
    np.testing.assert_array_equal(text.encode(prepared), expected.encode(prepared))


def test_a_pickle_that_would_run_code_is_refused(copy, tmp_path):
    import pickle

    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Harmful()}))
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin cannot be loaded"):
        encode_both(copy)
    assert not (tmp_path / "harm").exists()


def test_a_pickle_under_the_name_of_safetensors_is_refused(copy):
    import torch

    torch.save({"weight": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(WeightsError, match="is a pickle"):
        encode_both(copy)


def test_truncated_weights(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="cut off"):
        encode_both(copy)


def test_missing_weights(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"expected model\.safetensors or pytorch_model\.bin, found config\.json"):
        encode_both(copy)


def test_missing_shard(copy):
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"model-00002-of-00002\.safetensors is missing"):
        encode_both(copy)


def test_weights_of_another_dimension(copy):
    edit(copy / "config.json", projection_dim=8)
    with pytest.raises(WeightsError, match="cannot be loaded as transformers' ClapTextModelWithProjection"):
        encode_both(copy)


def test_weights_of_another_architecture(copy):
    import torch
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(3)}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors of transformers' ClapTextModelWithProjection"):
        encode_both(copy)


def test_a_folder_of_another_architecture(copy):
    edit(copy / "config.json", model_type="bert")
    with pytest.raises(ModelError, match="of architecture 'bert', expected 'clap'"):
        clap_towers(str(copy))


def test_missing_files(copy, tmp_path):
    (copy / "tokenizer.json").unlink()
    _, text = clap_towers(str(copy))
    with pytest.raises(WeightsError, match=r"the tokenizer in .* cannot be loaded: there is none of tokenizer\.json"):
        text.prepare(TextSample("a"))
    (copy / "processor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"neither preprocessor_config\.json nor"):
        clap_towers(str(copy))
    (copy / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json cannot be read as JSON"):
        clap_towers(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        clap_towers(str(copy))
    with pytest.raises(ModelError, match="there is no folder"):
        clap_towers(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="is a file"):
        clap_towers(str(copy / "model.safetensors"))


def test_settings_that_do_not_fit(copy):
    settings = json.loads((copy / "processor_config.json").read_text())["feature_extractor"]
    edit(copy / "processor_config.json", feature_extractor={**settings, "padding": "mirror"})
    with pytest.raises(ModelError, match="padding is 'mirror', expected 'repeatpad' or"):
        clap_towers(str(copy))
    edit(copy / "processor_config.json", feature_extractor={**settings, "feature_size": 80})
    with pytest.raises(ModelError, match="feature_size is 80, expected 64"):
        clap_towers(str(copy))


def test_larger_clap_music_is_refused_with_the_reason(copy, tmp_path):
    with pytest.raises(ModelError, match="collapsed"):
        clap_towers("laion/larger_clap_music")
    renamed = copy.rename(tmp_path / "larger_clap_music")
    with pytest.raises(ModelError, match="collapsed"):
        clap_towers(str(renamed))
    other = renamed.rename(tmp_path / "larger_clap_music_and_speech")
    clap_towers(str(other))
    edit(other / "config.json", _name_or_path="laion/larger_clap_music")
    with pytest.raises(ModelError, match="collapsed"):
        clap_towers(str(other))
    edit(other / "config.json", _name_or_path="")
    snapshot = tmp_path / "models--laion--larger_clap_music" / "snapshots" / "0123"
    shutil.copytree(other, snapshot)
    with pytest.raises(ModelError, match="collapsed"):
        clap_towers(str(snapshot))


# The hub.


def in_hub_cache(folder: Path, home: Path, monkeypatch, names: list[str] | None = None) -> str:
    """Lay a checkpoint out as huggingface_hub's cache does; the commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = home / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        if names is None or path.name in names:
            shutil.copy(path, snapshot / path.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    return commit


def test_a_repository_in_the_cache_needs_no_network(folder, tmp_path, monkeypatch):
    commit = in_hub_cache(folder, tmp_path / "hub", monkeypatch)
    monkeypatch.setattr(hub_module, "why_unreachable", lambda: pytest.fail("asked the network"))
    for source in ("someone/tiny", f"someone/tiny@{commit}", "someone/tiny@main"):
        audio, text = clap_towers(source, precision="float32")
        _, expected = clap_towers(str(folder), precision="float32")
        prepared = [text.prepare(TextSample("abba"))]
        np.testing.assert_array_equal(text.encode(prepared), expected.encode(prepared))
        assert audio.fingerprint == clap_towers(f"someone/tiny@{commit}", precision="float32")[0].fingerprint


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_it_says_soon_what_to_do(hub, monkeypatch, offline):
    if offline:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.hangs = re.compile("")
    began = time.monotonic()
    expected = r"HF_HUB_OFFLINE is set" if offline else "(did not answer|timed out)"
    with pytest.raises(
        WeightsError, match=rf"{expected}.*hf download someone/absent --local-dir absent.*clap:/path/to"
    ):
        clap_towers("someone/absent")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("pickled", [False, True])
def test_weights_are_fetched_when_they_are_needed(folder, copy, hub, pickled):
    """Opening takes a repository's small files, encoding its weights, safetensors before pickle."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    if pickled:
        (copy / "model.safetensors").unlink()
    commit = hub.add("someone/tiny", copy).commit
    _, text = clap_towers("someone/tiny", precision="float32")
    prepared = [text.prepare(TextSample("abba"))]
    assert text.fingerprint
    assert hub.sent == 0
    _, expected = clap_towers(str(folder), precision="float32")
    np.testing.assert_array_equal(text.encode(prepared), expected.encode(prepared))
    name = "pytorch_model.bin" if pickled else "model.safetensors"
    assert hub.sent == (copy / name).stat().st_size
    assert hub.of(f"/someone/tiny/resolve/{commit}/{name}")


def test_a_download_that_was_interrupted_is_noticed(folder, tmp_path, monkeypatch):
    in_hub_cache(
        folder, tmp_path / "hub", monkeypatch, ["config.json", "processor_config.json", "tokenizer_config.json"]
    )
    audio, _ = clap_towers("someone/tiny")
    with pytest.raises(WeightsError, match=r"not wholly.*hf download someone/tiny"):
        audio.encode([audio.prepare(sounds()[4])])
