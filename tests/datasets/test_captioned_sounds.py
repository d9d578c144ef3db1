"""Clotho, AudioCaps, ESC-50: files as they are published, written byte by byte."""

from __future__ import annotations

import pytest

from indexer.errors import UsageError
from mmsearch.evaluation.datasets import load_dataset

from .conftest import found, gallery, skipped, texts

CLOTHO = (
    b"file_name,caption_1,caption_2,caption_3,caption_4,caption_5\r\n"
    b'Santa Motor.wav,"A machine whines and squeals while rhythmically punching or stamping.",'
    b"A person is using electric clippers to trim bushes.,Someone is trimming the bushes with electric clippers.,"
    b"The whirring of a pump fills a bottle.,While rhythmically punching or stamping a machine whines.\r\n"
    b'01 barreau bois seul.wav,"A person is, at first, turning a map over.",b,c,d,e\r\n'
    b"Fl\xc3\xb6te 1.wav,one,two,three,four,one\r\n"
    b"gone.wav,a,b,c,d,e\r\n"
)


def test_clotho_evaluation(lay):
    root = lay(
        {"clotho_captions_evaluation.csv": CLOTHO, "clotho_captions_development.csv": b"file_name\n"},
        [
            "clotho_audio_files/evaluation/Santa Motor.wav",
            "clotho_audio_files/evaluation/01 barreau bois seul.wav",
            "clotho_audio_files/evaluation/Flo\u0308te 1.wav",  # decomposed, as macOS unpacks it
            "clotho_audio_files/development/gone.wav",  # another file with the name of one that is missing
        ],
    )
    case, back = load_dataset("clotho", root)
    assert (case.split, case.direction) == ("evaluation", "text->audio")
    said = texts(case)
    assert len(said) == 15
    assert said["Santa Motor.wav#1"] == "A machine whines and squeals while rhythmically punching or stamping."
    assert said["01 barreau bois seul.wav#1"] == "A person is, at first, turning a map over."
    assert said["Flöte 1.wav#5"] == "one"
    assert found(case, root)["Flöte 1.wav#5"] == {"clotho_audio_files/evaluation/Flo\u0308te 1.wav": 1}
    assert skipped(case) == {"gone.wav": "the file is missing"}
    assert found(back, root)["clotho_audio_files/evaluation/Santa Motor.wav"] == {
        f"Santa Motor.wav#{n}": 1 for n in range(1, 6)
    }


def test_clotho_in_one_flat_folder_and_other_splits(lay):
    root = lay({"clotho_captions_validation.csv": CLOTHO}, ["Santa Motor.wav"])
    (case,) = load_dataset("clotho", root, split="validation", directions=["t2a"])
    assert gallery(case, root) == ["Santa Motor.wav"]
    with pytest.raises(UsageError, match=r"clotho_captions_evaluation.csv is not there\n.*zenodo.org/records/4783391"):
        load_dataset("clotho", root)
    with pytest.raises(
        UsageError, match="clotho has no split 'test'; its splits are evaluation, validation, development"
    ):
        load_dataset("clotho", root, split="test")


# The first rows of the published test.csv have this shape: five captions of a clip, not next to one another.
AUDIOCAPS = (
    b"audiocap_id,youtube_id,start_time,caption\n"
    b"103549,7fmOlUlwoNg,20,Constant rattling noise and sharp vibrations\n"
    b"103548,-eNBPUOa1fk,50,A man speaks\n"
    b'103541,7fmOlUlwoNg,20,"A rocket flies by, followed by a loud ""explosion"" and fire"\n'
    b"103542,7fmOlUlwoNg,20,Humming of a large engine\n"
    b"103543,6BJ455B1aAs,0,An airplane\n"
    b"103544,6bj455b1aas,0,Another id\n"
)


@pytest.mark.parametrize(
    "name",
    [
        "7fmOlUlwoNg_20.wav",
        "7fmOlUlwoNg_20_30.flac",
        "7fmOlUlwoNg_000020.wav",
        "Y7fmOlUlwoNg.wav",
        "Y7fmOlUlwoNg_20.wav",
        "7fmOlUlwoNg.mp4",
    ],
)
def test_audiocaps_clips_go_by_several_names(lay, name):
    root = lay({"dataset/test.csv": AUDIOCAPS}, [f"audio/test/{name}", "audio/test/-eNBPUOa1fk_50.wav"])
    (case,) = load_dataset("audiocaps", root, directions=["t2a"])
    assert texts(case) == {
        "103549": "Constant rattling noise and sharp vibrations",
        "103548": "A man speaks",
        "103541": 'A rocket flies by, followed by a loud "explosion" and fire',
        "103542": "Humming of a large engine",
    }
    clip = {f"audio/test/{name}": 1}
    assert found(case, root) == {
        "103549": clip,
        "103548": {"audio/test/-eNBPUOa1fk_50.wav": 1},
        "103541": clip,
        "103542": clip,
    }
    # Ids that differ in case alone are two clips.
    assert skipped(case) == dict.fromkeys(("6BJ455B1aAs_0", "6bj455b1aas_0"), "the file is missing")
    # Of a film only the sound is asked for.
    assert case.channels == (("sound", "speech") if name.endswith("mp4") else ())


def test_a_folder_named_as_the_split_that_holds_no_media_does_not_count(lay):
    root = lay({"test/test.csv": AUDIOCAPS}, ["audio/7fmOlUlwoNg.wav"])
    (case,) = load_dataset("audiocaps", root, directions=["t2a"])
    assert gallery(case, root) == ["audio/7fmOlUlwoNg.wav"]


def test_audiocaps_start_is_seconds(lay):
    root = lay({"val.csv": AUDIOCAPS.replace(b",50,", b",soon,")}, ["7fmOlUlwoNg.wav"])
    with pytest.raises(UsageError, match=r"val.csv:3: found the start_time 'soon'; expected seconds"):
        load_dataset("audiocaps", root, split="val")


ESC50 = (
    b"filename,fold,target,category,esc10,src_file,take\n"
    b"1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    b"1-100038-A-14.wav,1,14,chirping_birds,False,100038,A\n"
    b"5-231762-A-0.wav,5,0,dog,True,231762,A\n"
)
ESC50_CLIPS = [f"ESC-50-master/audio/{name}.wav" for name in ("1-100032-A-0", "1-100038-A-14", "5-231762-A-0")]


def test_esc50_as_tagging(lay):
    root = lay({"ESC-50-master/meta/esc50.csv": ESC50}, ESC50_CLIPS)
    tagging, asking = load_dataset("esc50", root)
    assert (tagging.direction, asking.direction) == ("audio->text", "text->audio")
    assert [(item.id, item.text) for item in tagging.gallery] == [
        ("label:dog", "dog"),
        ("label:chirping birds", "chirping birds"),
    ]
    one, two, three = ESC50_CLIPS
    assert found(tagging, root) == {one: {"label:dog": 1}, two: {"label:chirping birds": 1}, three: {"label:dog": 1}}
    assert found(asking, root) == {"label:dog": {one: 1, three: 1}, "label:chirping birds": {two: 1}}
    (fold,) = load_dataset("esc50", root, split="5", directions=["a2t"])
    assert found(fold, root) == {three: {"label:dog": 1}}
