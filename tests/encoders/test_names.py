"""The grammar of models' names."""

from __future__ import annotations

import pytest

from mmsearch.encoders import MODELS, are_different, canonical_name, parse, short_name, with_speech
from mmsearch.encoders.models import PARTS, licence_of
from mmsearch.encoders.names import said_apart, speech_of, unpinned
from mmsearch.encoders.speech_source import SIZES

A, B = "a" * 40, "b" * 40
FAST = MODELS["fast"].parts


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("mini", "mini"),
        ("mini+speech:tiny.en", "mini"),
        ("mini+speech:base", "mini+speech:base"),
        ("fast+speech:off", f"{FAST}+speech:off"),
        (f"{FAST}+speech:tiny.en", FAST),
        (f"clap:a/b@{A}+speech:small@{B}", f"clap:a/b@{A}+speech:small@{B}"),
        ("open_clip:ViT-B-32/openai@main", "open_clip:ViT-B-32/openai@main"),
        ("fast+clap:a/b", "fast+clap:a/b"),  # a row is whole: this is no model
        ("mini+clap:a/b", "mini+clap:a/b"),
        ("nonsense+speech:off", "nonsense+speech:off"),
    ],
)
def test_one_name_for_one_model(name, canonical):
    assert canonical_name(name) == canonical
    assert canonical_name(canonical) == canonical


def test_a_recogniser_alone_can_be_named_but_is_no_model():
    found = parse("speech:base")
    assert (found.parts, found.whole, found.speech) == ((), None, "base")
    assert str(found) == "speech:base"


def test_speech_is_added_to_what_says_nothing_of_it():
    assert with_speech("fast", "base") == f"{FAST}+speech:base"
    assert with_speech("fast+speech:base", "base") == f"{FAST}+speech:base"
    assert with_speech("fast+speech:base", None) == "fast+speech:base"
    assert with_speech("somebody's own", "base") == "somebody's own"
    assert speech_of("fast") == "tiny.en"
    assert speech_of("mini+speech:off") == "off"


def test_people_see_rows_and_no_commits():
    clip, clap = FAST.split("+")
    assert short_name(f"{clip}@{A}+{clap}@{B}+speech:base@{A}") == "fast+speech:base"
    assert short_name(f"{clip}@{A}") == clip
    assert short_name("fake") == "fake"
    assert unpinned("open_clip:/home/me@work/model") == "open_clip:/home/me@work/model"


def test_only_what_is_surely_different_is_different():
    clip, clap = FAST.split("+")
    assert not are_different("fast", f"{clip}@{A}+{clap}@{B}")
    assert not are_different(f"clap:a/b@{A}", "clap:a/b@main")
    assert are_different(f"clap:a/b@{A}", f"clap:a/b@{B}")
    assert are_different("mini", "mini+speech:off")
    assert not are_different("mini+speech:/a/whisper", "mini+speech:/b/whisper")
    assert are_different("mini+speech:/a/whisper", "mini+speech:base")
    assert not are_different(f"mini+speech:base@{A}", "mini+speech:base")
    assert are_different(f"mini+speech:base@{A}", f"mini+speech:base@{B}")
    assert not said_apart("base", f"base@{A}")


# --- the table ---


def test_every_part_of_a_row_is_known():
    for name, model in MODELS.items():
        named = parse(model.parts)
        parts = [f"{scheme}:{source}" for scheme, source in named.parts] or [named.whole]
        for part in parts:
            known = PARTS[part]
            assert known.bytes is None or known.bytes > 1e6, name
            assert known.licence.url.startswith("https://")
            assert known.licence.commercial is True
            for figure in known.figures:
                assert 0 < figure.value < 100
                assert figure.source.startswith(("https://", "benchmarks/"))


def test_repositories_and_sizes_are_those_of_open_clip(tiny_fast):
    """The table says the same as open_clip's own, which takes an import of torch to read."""
    import open_clip
    import torch
    from open_clip.pretrained import get_pretrained_cfg

    from mmsearch.encoders.open_clip_source import architecture_config

    for name, part in PARTS.items():
        if not name.startswith("open_clip:"):
            continue
        architecture, tag = name.removeprefix("open_clip:").split("/")
        assert get_pretrained_cfg(architecture, tag)["hf_hub"] == f"{part.repository}/"
        config = architecture_config(architecture)
        kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
        with torch.device("meta"):
            network = kind(**config)
        size = sum(value.numel() * 4 for value in network.state_dict().values() if value.is_floating_point())
        assert part.bytes == pytest.approx(size, rel=0.01)


def test_sizes_of_whisper_are_faster_whispers():
    from faster_whisper.utils import _MODELS

    assert {name: _MODELS[name] for name in SIZES} == SIZES
    assert "tiny.en" in _MODELS


@pytest.mark.parametrize(
    ("card", "name", "commercial", "shown"),
    [
        ("mit", None, True, "mit"),
        ("apache-2.0", None, True, "apache-2.0"),
        ("cc-by-4.0", None, True, "cc-by-4.0"),
        ("cc-by-nc-4.0", None, False, "cc-by-nc-4.0"),
        ("cc-by-nc-sa-4.0", None, False, "cc-by-nc-sa-4.0"),
        ("apple-amlr", None, False, "apple-amlr"),
        ("other", "fair-noncommercial-research-license", False, "fair-noncommercial-research-license"),
        ("other", "gemma", None, "gemma"),
        ("other", None, None, "other"),
        (None, None, None, "not stated"),
        ("openrail", None, True, "openrail"),
    ],
)
def test_licences_of_model_cards(card, name, commercial, shown):
    found = licence_of(card, name)
    assert (found.commercial, found.name) == (commercial, shown)
