# ruff: noqa: E501 - records are written as they are published
"""MSR-VTT, MSVD, DiDeMo, AVE, VGGSound: files as they are published, written byte by byte."""

from __future__ import annotations

import pytest

from indexer.errors import UsageError
from mmsearch.evaluation.datasets import audiovisual, load_dataset

from .conftest import found, gallery, skipped, texts

MSRVTT = (
    b'{"info": {"year": "2016", "version": "1.0", "description": "", "contributor": "", "data_created": ""}, "videos": ['
    b'{"category": 9, "url": "https://www.youtube.com/watch?v=9lZi22qLlEo", "video_id": "video7010", "start time": 137.72, '
    b'"end time": 149.44, "split": "test", "id": 7010}, '
    b'{"category": 16, "url": "https://www.youtube.com/watch?v=w4JM08PDEng", "video_id": "video7011", "start time": 184.33, '
    b'"end time": 203.98, "split": "test", "id": 7011}, '
    b'{"category": 9, "url": "", "video_id": "video6513", "start time": 0, "end time": 9.5, "split": "validate", "id": 6513}, '
    b'{"category": 9, "url": "", "video_id": "video7012", "start time": 0, "end time": 9.5, "split": "test", "id": 7012}], '
    b'"sentences": [{"caption": "a girl is singing", "video_id": "video7010", "sen_id": 140200}, '
    b'{"caption": "a  girl\\r\\nis singing", "video_id": "video7010", "sen_id": 140201}, '
    b'{"caption": "men validate", "video_id": "video6513", "sen_id": 3}, '
    b'{"caption": "a man talks", "video_id": "video7011", "sen_id": 140202}]}'
)


def test_msrvtt_test_split(lay):
    """Two captions that are the same but for blanks are two queries; a video without captions stays in the gallery."""
    videos = [f"TestVideo/video{number}.mp4" for number in (7010, 7011, 7012)]
    root = lay({"test_videodatainfo.json": MSRVTT}, videos)
    case, back = load_dataset("msrvtt", root)
    assert (case.split, case.direction, case.channels) == ("test", "text->video", ())
    assert texts(case) == {"140200": "a girl is singing", "140201": "a girl is singing", "140202": "a man talks"}
    assert found(case, root) == {"140200": {videos[0]: 1}, "140201": {videos[0]: 1}, "140202": {videos[1]: 1}}
    assert gallery(case, root) == videos
    assert found(back, root) == {videos[0]: {"140200": 1, "140201": 1}, videos[1]: {"140202": 1}}
    (validate,) = load_dataset(
        "msrvtt", lay({"MSRVTT_data.json": MSRVTT}, ["video6513.mp4"], "b"), split="validate", directions=["t2v"]
    )
    assert texts(validate) == {"3": "men validate"}


@pytest.mark.parametrize("mark", [",", ";"])
def test_msrvtt_1k_a_is_taken_when_it_is_there(lay, mark):
    table = (
        "key,vid_key,video_id,sentence\r\n"
        "ret0,msr9770,video9770,a person is connecting something to system\r\n"
        "ret1,msr9771,video9771,a little girl does gymnastics\r\n"
    ).replace(",", mark)
    root = lay(
        {"MSRVTT_JSFUSION_test.csv": table.encode(), "MSRVTT_data.json": MSRVTT},
        ["MSRVTT_Videos/video9770.mp4", "MSRVTT_Videos/video9771.mp4"],
    )
    (case,) = load_dataset("msrvtt", root, directions=["t2v"])
    assert case.split == "1k-a"
    assert texts(case) == {
        "ret0": "a person is connecting something to system",
        "ret1": "a little girl does gymnastics",
    }
    assert found(case, root)["ret1"] == {"MSRVTT_Videos/video9771.mp4": 1}
    with pytest.raises(
        UsageError, match=r"train_val_videodatainfo.json or .* is not there, which the split 'train' needs"
    ):
        load_dataset("msrvtt", lay({"MSRVTT_JSFUSION_test.csv": table.encode()}, folder="b"), split="train")


MSVD = (
    b"# This file contains the descriptions of the videos.\r\n\r\n# Format: VideoID_Start_End description\r\n\r\n"
    b"-4wsuPCjDBc_5_15 a squirrel is eating a peanut in it's shell\r\n"
    b"-4wsuPCjDBc_5_15 a chipmunk is eating\r\n"
    b"-4wsuPCjDBc_5_15 a chipmunk is eating\r\n"
    b"-7KMZQEsJW4_205_208 a man picks up several baskets\r\n"
    b"0lh_UWF9ZP4_62_69\r\n"
    b"zzit5b_-ukg_5_20 a \xe2\x80\xa8girl sings\r\n"
)


def test_msvd_with_lists(lay):
    root = lay(
        {"AllVideoDescriptions.txt": MSVD, "msvd_data/test_list.txt": b"-4wsuPCjDBc_5_15\nzzit5b_-ukg_5_20\n"},
        [
            "YouTubeClips/-4wsuPCjDBc_5_15.avi",
            "YouTubeClips/zzit5b_-ukg_5_20.avi",
            "YouTubeClips/-7KMZQEsJW4_205_208.avi",
        ],
    )
    (case,) = load_dataset("msvd", root, directions=["t2v"])
    assert texts(case) == {
        "-4wsuPCjDBc_5_15#0": "a squirrel is eating a peanut in it's shell",
        "-4wsuPCjDBc_5_15#1": "a chipmunk is eating",
        "-4wsuPCjDBc_5_15#2": "a chipmunk is eating",
        "zzit5b_-ukg_5_20#0": "a girl sings",  # U+2028 is a line separator, but ends no line of a file
    }
    assert gallery(case, root) == ["YouTubeClips/-4wsuPCjDBc_5_15.avi", "YouTubeClips/zzit5b_-ukg_5_20.avi"]
    assert skipped(case) == {"AllVideoDescriptions.txt:9": "no description: '0lh_UWF9ZP4_62_69'"}


def test_msvd_split_by_mapping(lay):
    """Videos 1 to 1,200 are for training, 1,201 to 1,300 for validation, the rest for tests; files may go by the short names."""
    mapping = b"-4wsuPCjDBc_5_15 vid1\n-7KMZQEsJW4_205_208 vid1201\nzzit5b_-ukg_5_20 vid1970"
    root = lay(
        {"AllVideoDescriptions.txt": MSVD, "youtube_mapping.txt": mapping}, ["vid1.avi", "vid1201.mp4", "vid1970.avi"]
    )
    videos = {}
    for split in ("train", "val", "test"):
        (case,) = load_dataset("msvd", root, split=split, directions=["t2v"])
        videos[split] = gallery(case, root)
    assert videos == {"train": ["vid1.avi"], "val": ["vid1201.mp4"], "test": ["vid1970.avi"]}


def test_msvd_without_lists(lay):
    root = lay({"AllVideoDescriptions.txt": MSVD}, ["-4wsuPCjDBc_5_15.avi"])
    (case,) = load_dataset("msvd", root, directions=["t2v"])
    assert case.split == "all"
    assert "670 of the test split" in case.notes[0]
    with pytest.raises(UsageError, match=r"neither test_list.txt nor youtube_mapping.txt is in"):
        load_dataset("msvd", root, split="test")


DIDEMO = (
    b'[{"num_segments": 6, "description": "nk and \\"purple\\" hat is looking to the left then back to the stage", '
    b'"dl_link": "https://www.flickr.com/video_download.gne?id=6162938983", "times": [[3, 3], [2, 3], [3, 3], [3, 3]], '
    b'"video": "18884893@N00_6162938983_0de25517bd.avi", "annotation_id": 15635}, '
    b'{"num_segments": 5, "description": "a hand on the left pushes a button", "times": [[0, 0], [0, 1], [0, 0], [1, 4]], '
    b'"video": "36416173@N03_8234320857_3156984630.", "annotation_id": 56604}, '
    b'{"num_segments": 6, "description": "the stage again ", "times": [[5, 5], [0, 5]], '
    b'"video": "18884893@N00_6162938983_0de25517bd.avi", "annotation_id": 7}, '
    b'{"num_segments": 6, "description": "gone", "times": [[5, 5]], "video": "x@N00_1_2.mov", "annotation_id": 8}]'
)


def test_didemo_moments_of_every_annotator(lay):
    """Chunks of five seconds; a name that ends in a dot; a video that was passed on as MP4."""
    videos = ["videos/18884893@N00_6162938983_0de25517bd.avi.mp4", "videos/36416173@N03_8234320857_3156984630.mp4"]
    root = lay({"test_data.json": DIDEMO}, videos)
    case, back = load_dataset("didemo", root)
    assert found(case, root) == {"15635": {videos[0]: 1}, "56604": {videos[1]: 1}, "7": {videos[0]: 1}}
    moments = {query.id: list(query.moments.values()) for query in case.queries}
    assert moments == {
        "15635": [((15, 20), (10, 20), (15, 20), (15, 20))],
        "56604": [((0, 5), (0, 10), (0, 5), (5, 25))],
        "7": [((25, 30), (0, 30))],
    }
    path = str((root / videos[0]).resolve())
    assert case.moments["7"] == [(path, 25, 30), (path, 0, 30)]
    assert case.judgements["7"] == {path: 1}
    assert back.moments == {}
    assert [list(query.moments) for query in case.queries] == [list(query.relevant) for query in case.queries]
    assert texts(case)["15635"] == 'nk and "purple" hat is looking to the left then back to the stage'
    assert skipped(case) == {"x@N00_1_2.mov": "the file is missing"}
    assert all(not query.moments for query in back.queries)


def test_didemo_paragraphs(lay):
    root = lay({"val_data.json": DIDEMO}, ["18884893@N00_6162938983_0de25517bd.mp4"])
    (case,) = load_dataset("didemo-paragraphs", root, split="val", directions=["t2v"])
    video = "18884893@N00_6162938983_0de25517bd.mp4"
    assert texts(case) == {video: 'nk and "purple" hat is looking to the left then back to the stage the stage again'}
    assert found(case, root) == {video: {video: 1}}


def test_didemo_with_times_that_are_none(lay):
    bad = DIDEMO.replace(b"[2, 3]", b"[3, 2]")
    with pytest.raises(
        UsageError, match=r"test_data.json: \[0\]: found the times \[3, 2\]; expected the first and the last chunk"
    ):
        load_dataset("didemo", lay({"test_data.json": bad}, ["18884893@N00_6162938983_0de25517bd.avi"]))


AVE = b"Church bell&RUhOCu3LNXM&good&0&10\nMale speech, man speaking&--12UOziMF0&good&2&7\nChurch bell&-5zANjLxVIw&good&0&0\nBark&RUhOCu3LNXM&good&3&5\n"
AVE_CLIPS = [f"AVE/{name}.mp4" for name in ("RUhOCu3LNXM", "--12UOziMF0", "-5zANjLxVIw")]


def test_ave_by_clip(lay):
    """A sound finds the picture of its own file, and only by its picture."""
    root = lay({"testSet.txt": AVE}, AVE_CLIPS)
    sets = {case.direction: case for case in load_dataset("ave", root)}
    assert set(sets) == {"audio->video", "video->audio", "text->audio", "audio->text", "text->video", "video->text"}
    case = sets["audio->video"]
    assert found(case, root) == {clip: {clip: 1} for clip in AVE_CLIPS}
    assert [term.kind for query in case.queries for term in query.terms] == ["audio"] * 3
    assert case.channels == ("visual",)
    assert sets["video->audio"].channels == sets["text->audio"].channels == ("sound", "speech")
    assert sets["text->video"].channels == ()
    named = sets["text->video"]
    one, two, three = AVE_CLIPS
    assert found(named, root) == {
        "label:Church bell": {one: 1, three: 1},
        "label:Male speech, man speaking": {two: 1},
        "label:Bark": {one: 1},
    }
    spans = {query.id: [list(query.moments[item]) for item in query.moments] for query in named.queries}
    assert spans == {
        "label:Church bell": [[(0, 10)]],
        "label:Male speech, man speaking": [[(2, 7)]],
        "label:Bark": [[(3, 5)]],
    }


def test_ave_by_class_with_header_and_windows_line_ends(lay):
    header = b"Category&VideoID&Quality&StartTime&EndTime\n"
    root = lay({"testSet.txt": (header + AVE).replace(b"\n", b"\r\n")}, AVE_CLIPS)
    (case,) = load_dataset("ave-classes", root, directions=["a2v"])
    one, two, three = AVE_CLIPS
    assert found(case, root) == {one: {one: 1, three: 1}, two: {two: 1}, three: {one: 1, three: 1}}
    (whole,) = load_dataset(
        "ave", lay({"Annotations.txt": header + AVE}, AVE_CLIPS, "b"), split="all", directions=["a2v"]
    )
    assert len(whole.queries) == 3


def test_ave_bad_line(lay):
    with pytest.raises(UsageError, match=r"testSet.txt:2: found 'Bark&x&good'; expected Category&VideoID"):
        load_dataset("ave", lay({"testSet.txt": AVE.splitlines(True)[0] + b"Bark&x&good\n"}, AVE_CLIPS))


VGGSOUND = (
    b"---g-f_I2yQ,1,people marching,test\n"
    b"--0PQM4-hqg,30,waterfall burbling,train\n"
    b'-Z1ZSWDouUU,30,"motorboat, speedboat acceleration",test\n'
    b"--56QUhyDQM,185,people marching,test\n"
)


def test_vggsound_with_frames_and_sounds_of_their_own(lay):
    root = lay(
        {"data/vggsound.csv": VGGSOUND},
        [
            "video/---g-f_I2yQ_000001.mp4",
            "audio/---g-f_I2yQ_000001.wav",
            "frames/---g-f_I2yQ_000001.jpg",
            "video/-Z1ZSWDouUU_000030.mp4",
        ],
    )
    sets = {case.direction: case for case in load_dataset("vggsound", root)}
    wav, mp4, jpg = "audio/---g-f_I2yQ_000001.wav", "video/---g-f_I2yQ_000001.mp4", "frames/---g-f_I2yQ_000001.jpg"
    boat = "video/-Z1ZSWDouUU_000030.mp4"
    assert found(sets["audio->video"], root) == {wav: {mp4: 1}, boat: {boat: 1}}
    assert found(sets["audio->image"], root) == {wav: {jpg: 1}}
    assert found(sets["image->audio"], root) == {jpg: {wav: 1}}
    assert gallery(sets["image->audio"], root) == [wav, boat]
    assert texts(sets["text->video"])["label:motorboat, speedboat acceleration"] == "motorboat, speedboat acceleration"
    assert skipped(sets["audio->video"]) == {"--56QUhyDQM_000185": "the file is missing"}


def test_vggsound_bad_line(lay):
    with pytest.raises(UsageError, match=r"vggsound.csv:2: found 3 fields: 'x,one,y'; expected four"):
        load_dataset("vggsound", lay({"vggsound.csv": VGGSOUND.splitlines(True)[0] + b"x,one,y\n"}, []))


def test_pairs_that_memory_would_not_hold_are_refused(lay, monkeypatch):
    monkeypatch.setattr(audiovisual, "_MOST_PAIRS", 4)
    root = lay({"testSet.txt": AVE}, AVE_CLIPS)
    with pytest.raises(UsageError, match="by category the split 'test' has 6 pairs"):
        load_dataset("ave-classes", root)
