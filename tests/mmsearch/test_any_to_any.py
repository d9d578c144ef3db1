"""Every kind of file asked with, every kind found: a labelled mixed library, under the fake model and under `mini`."""

from pathlib import Path

import pytest

from indexer.testing import FakeEncoder
from mmsearch import Engine, Query, UsageError

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
KINDS = ("image", "audio", "video", "text")
SOURCES = ("words", "image", "audio", "video", "document")
SPEECH = Path(__file__).parents[1] / "data" / "speech"


def of_subject(make, folder, subject, *, mark=0):
    """A file of each kind about one subject; `mark` makes other bytes of the same."""
    pale = tuple(max(channel - mark, 0) for channel in COLOURS[subject])
    make.image(folder / f"{subject}.png", pale, pale)
    make.tones(folder / f"{subject}.wav", [subject] * (3 + mark))
    make.video(folder / f"{subject}.mp4", [COLOURS[subject]] * (2 + mark), [subject] * (2 + mark))
    (folder / f"{subject}.txt").write_text(f"{subject} {subject}{' ' * mark}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, make):
    """An engine over files of three subjects and of others, and a folder of files to ask with."""
    folder = tmp_path_factory.mktemp("mixed")
    for subject in COLOURS:
        of_subject(make, folder / "media", subject)
        of_subject(make, folder / "asked", subject, mark=1)
    for word in ("cat", "dog", "bird", "sea", "tree"):
        make.tones(folder / "media" / f"{word}.wav", [word, None, word])
        (folder / "media" / f"{word}.txt").write_text(f"{word} and {word}", encoding="utf-8")
    make.image(folder / "media" / "black.png", (0, 0, 0))
    make.image(folder / "media" / "grey.png", (90, 90, 90))
    encoder = FakeEncoder()
    with Engine.open(folder / "library", model=encoder) as engine:
        report = engine.index(folder / "media")
        assert (report.added, report.failed) == (24, 0)
        yield engine, folder, encoder


def query_of(source, folder, subject, **how):
    if source == "words":
        return Query.of_text(subject, words=False, **how)
    suffix = {"image": "png", "audio": "wav", "video": "mp4", "document": "txt"}[source]
    return getattr(Query, f"of_{source}")(folder / "asked" / f"{subject}.{suffix}", **how)


@pytest.mark.parametrize("subject", COLOURS)
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", SOURCES)
def test_anything_finds_anything(mixed, source, target, subject):
    engine, folder, _ = mixed
    hit = engine.query(query_of(source, folder, subject, kinds=[target], k=1))[0]
    assert Path(hit.path).stem == subject
    assert hit.kind == target
    assert hit.score > 0.99


@pytest.mark.parametrize("source", SOURCES)
def test_one_list_across_kinds_has_all_that_match_first(mixed, source):
    engine, folder, _ = mixed
    answer = engine.query(query_of(source, folder, "green", k=8))
    assert {Path(hit.path).name for hit in answer[:4]} == {f"green.{suffix}" for suffix in ("png", "wav", "mp4", "txt")}
    assert answer[3].score > answer[4].score + 0.2


@pytest.mark.parametrize("fusion", ["auto", "sum", "attention", "concat", "mean", "rrf", "borda"])
@pytest.mark.parametrize(
    ("one", "other"), [("words", "image"), ("image", "audio"), ("video", "document"), ("audio", "words")]
)
def test_two_terms_of_any_kind_find_what_is_both(tmp_path, make, one, other, fusion):
    for subject in COLOURS:
        of_subject(make, tmp_path / "asked", subject, mark=1)
        of_subject(make, tmp_path / "media", subject)
    make.image(tmp_path / "media" / "both.png", COLOURS["red"], COLOURS["blue"])
    make.image(tmp_path / "media" / "wrong.png", COLOURS["red"], COLOURS["green"])
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        asked = query_of(one, tmp_path, "red", kinds=["image"], k=10, fusion=fusion) + query_of(other, tmp_path, "blue")
        names = [Path(hit.path).name for hit in engine.query(asked)]
        if fusion == "attention":  # nearer to "one or the other" than to "both"
            assert names[0] in {"red.png", "blue.png", "both.png"}
        else:
            assert "both.png" in names[: 3 if fusion in ("rrf", "borda", "concat", "mean") else 1]
            assert names.index("both.png") < names.index("wrong.png")
        less = query_of(one, tmp_path, "red", kinds=["image"], k=10, fusion=fusion)
        less -= query_of(other, tmp_path, "blue")
        names = [Path(hit.path).name for hit in engine.query(less)]
        assert names[0] == "red.png"
        assert names.index("wrong.png") < names.index("both.png")
        assert len(names) == 5  # a negative term excludes nothing


def test_weights_decide_between_two_subjects(mixed):
    engine, folder, _ = mixed
    for heavy, light in (("red", "blue"), ("blue", "red")):
        asked = 3 * query_of("words", folder, heavy, kinds=["image"], k=9) + query_of("document", folder, light)
        names = [Path(hit.path).stem for hit in engine.query(asked)]
        assert names.index(heavy) < names.index(light)


# --- what is in the library is not encoded again ---


@pytest.mark.parametrize("subject", ["red", "blue"])
@pytest.mark.parametrize("suffix", ["png", "wav", "mp4", "txt"])
def test_similar_to_a_file_of_the_library_encodes_nothing(mixed, suffix, subject):
    engine, folder, encoder = mixed
    before = encoder.encoded.copy()
    answer = engine.similar(folder / "media" / f"{subject}.{suffix}", k=20)
    assert encoder.encoded == before
    paths = [Path(hit.path) for hit in answer]
    assert folder / "media" / f"{subject}.{suffix}" not in paths
    assert {path.stem for path in paths[:3]} == {subject}


@pytest.mark.parametrize("suffix", ["png", "wav", "mp4", "txt"])
def test_what_is_stored_means_what_is_read(mixed, suffix):
    """Asked with a file of the library, or with a copy of it elsewhere: the same scores."""
    engine, folder, encoder = mixed
    path = folder / "media" / f"green.{suffix}"
    copy = folder / f"copy of green.{suffix}"
    copy.write_bytes(path.read_bytes())
    kind = {"png": "image", "wav": "audio", "mp4": "video", "txt": "document"}[suffix]
    stored = engine.query(getattr(Query, f"of_{kind}")(path, k=20))
    before = encoder.encoded.total()
    read = engine.query(getattr(Query, f"of_{kind}")(copy, k=20))
    assert encoder.encoded.total() > before
    assert [hit.path for hit in read[:4]] == [hit.path for hit in stored[:4]]
    assert [hit.score for hit in read[:4]] == pytest.approx([hit.score for hit in stored[:4]], abs=0.02)


def test_a_changed_file_is_read_anew(tmp_path, make):
    path = make.image(tmp_path / "media" / "one.png", COLOURS["red"])
    for colour, rgb in COLOURS.items():
        make.image(tmp_path / "media" / f"{colour}.png", rgb, rgb)
    encoder = FakeEncoder()
    with Engine.open(tmp_path / "library", model=encoder) as engine:
        engine.index(tmp_path / "media")
        make.image(path, COLOURS["blue"], COLOURS["blue"], (0, 0, 250))
        before = encoder.encoded["image"]
        assert Path(engine.similar(path, k=2)[0].path).stem == "blue"
        assert encoder.encoded["image"] == before + 1


def test_a_file_outside_is_encoded_once(mixed):
    engine, folder, encoder = mixed
    before = encoder.encoded["image"]
    assert Path(engine.similar(folder / "asked" / "red.png", k=1)[0].path).stem == "red"
    assert encoder.encoded["image"] == before + 1


def test_filters_of_similar(mixed):
    engine, folder, _ = mixed
    answer = engine.similar(folder / "media" / "red.png", kinds=["image", "video"], k=20)
    assert {hit.kind for hit in answer} == {"image", "video"}
    assert Path(answer[0].path).name == "red.mp4"


def test_a_file_that_says_nothing_to_this_model_is_refused(mixed, make, tmp_path):
    engine, _, _ = mixed
    silence = make.tones(tmp_path / "silence.wav", [None, None])
    with pytest.raises(UsageError, match="nothing is said"):
        engine.query(Query.of_audio(silence))
    with pytest.raises(UsageError):
        engine.similar(tmp_path / "nowhere.png")


# --- separate spaces, and a sound channel ---


@pytest.fixture
def spaces(filled, chance):
    """A library of a model with three spaces, and its encoder."""
    encoder = chance(chance.THREE_SPACES)
    return filled(80, encoder=encoder), encoder


def test_terms_that_meet_nowhere_are_fused_by_decision(spaces, make, tmp_path):
    engine, _ = spaces
    picture = make.image(tmp_path / "asked.png", (10, 200, 30))
    sound = make.tones(tmp_path / "asked.wav", ["cat", "dog"])
    both = engine.query(Query.of_image(picture, k=80) + Query.of_audio(sound))
    seen = {hit.path: hit for hit in engine.query(Query.of_image(picture, k=80))}
    heard = {hit.path: hit for hit in engine.query(Query.of_audio(sound, k=80))}
    assert {hit.channel for hit in seen.values()} == {"visual"}
    assert {hit.path for hit in both} == seen.keys() | heard.keys()
    in_both = [path for path in seen if path in heard]
    assert in_both
    # The best of what both terms reach is before what is as good for one term and out of reach of the other.
    order = [hit.path for hit in both]
    for path in in_both:
        for other in seen.keys() - heard.keys():
            if seen[path].confidence >= seen[other].confidence and heard[path].confidence > 0.05:
                assert order.index(path) < order.index(other)


@pytest.mark.parametrize("fusion", ["auto", "mean", "concat", "attention", "sum", "rrf", "borda"])
def test_every_fusion_answers_over_separate_spaces(spaces, make, tmp_path, fusion):
    engine, _ = spaces
    picture = make.image(tmp_path / "asked.png", (10, 200, 30))
    asked = Query.of_image(picture, k=80, fusion=fusion, words=False) + Query.of_text("rain") - Query.of_text("cats")
    answer = engine.query(asked)
    assert len(answer) == 80
    assert all(hit.confidence is None or 0 < hit.confidence <= 1 for hit in answer)
    assert {hit.channel for hit in answer} == {"visual", "sound", "speech", "text"}
    again = engine.query(asked)
    assert list(again) == list(answer)


def test_a_sound_reaches_the_sounds_and_its_words_the_rest(spaces, make, tmp_path):
    engine, encoder = spaces
    sound = make.tones(tmp_path / "asked.wav", ["cat", "dog"])
    before = encoder.encoded.copy()
    answer = engine.query(Query.of_audio(sound, k=80))
    assert encoder.encoded["audio"] > before["audio"]
    assert {hit.channel for hit in answer} >= {"sound"}


# --- the embedded model ---


@pytest.fixture(scope="module")
def mini(photographs, tmp_path_factory):
    """`mini` over photographs, a video of each of three, documents and speech."""
    import av
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("any")
    (folder / "media").mkdir()
    for name in ("chelsea.png", "coffee.png", "rocket.jpg", "brick.png", "grass.png", "clock_motion.png"):
        (folder / "media" / name).write_bytes((photographs / name).read_bytes())
    for name in ("meeting.flac", "two_lines_with_pauses.flac"):
        (folder / "media" / name).write_bytes((SPEECH / name).read_bytes())
    documents = {
        "cats": "The cat is a small animal with soft fur. A kitten purrs, plays with a ball of wool and catches mice.",
        "coffee": "Grind the beans, pour hot water over them and serve the espresso in a warm cup with sugar.",
        "rocket": "The rocket was launched into orbit. Its first stage fell back and the missile left smoke.",
        "meeting": "The conference starts on Thursday morning at nine. Please register before Wednesday.",
        "tax": "Income tax is due in April. Keep all invoices and receipts for ten years.",
    }
    for name, words in documents.items():
        (folder / "media" / f"{name}.txt").write_text(words, encoding="utf-8")
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        photograph = Image.open(photographs / name).convert("RGB")
        cut = photograph.crop((10, 5, photograph.width - 8, photograph.height - 4))
        cut.resize((300, 210)).save(folder / f"{Path(name).stem}.jpg")
        with av.open(str(folder / "media" / f"{Path(name).stem}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=5, options={"crf": "20"})
            stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
            for step in range(15):
                frame = av.VideoFrame.from_ndarray(
                    np.asarray(photograph.resize((480, 320), box=(step, step, photograph.width, photograph.height))),
                    format="rgb24",
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with Engine.open(folder / "library", model="mini") as engine:
        report = engine.index(folder / "media")
        assert (report.failed, report.added) == (0, 16)
        yield engine, folder


@pytest.mark.parametrize(
    ("asked", "target", "found"),
    [
        ("a cat", "image", "chelsea.png"),
        ("a cat", "video", "chelsea.mp4"),
        ("pets", "text", "cats.txt"),
        ("a lazy dog", "audio", "two_lines_with_pauses.flac"),
        ("when does the conference begin", "audio", "meeting.flac"),
        ("chelsea.jpg", "image", "chelsea.png"),
        ("coffee.jpg", "image", "coffee.png"),
        ("rocket.jpg", "image", "rocket.jpg"),
        ("chelsea.jpg", "video", "chelsea.mp4"),
        ("coffee.jpg", "video", "coffee.mp4"),
        ("rocket.jpg", "video", "rocket.mp4"),
        ("chelsea.jpg", "text", "cats.txt"),
        ("coffee.jpg", "text", "coffee.txt"),
        ("rocket.jpg", "text", "rocket.txt"),
        ("media/chelsea.mp4", "image", "chelsea.png"),
        ("media/coffee.mp4", "text", "coffee.txt"),
        ("media/meeting.flac", "text", "meeting.txt"),
        ("media/meeting.txt", "audio", "meeting.flac"),
        ("media/coffee.txt", "image", "coffee.png"),
        ("media/rocket.txt", "video", "rocket.mp4"),
        ("media/cats.txt", "image", "chelsea.png"),
    ],
)
def test_mini_finds_across_kinds(mini, asked, target, found):
    engine, folder = mini
    query = Query.parse(f'"{asked}" --kind {target} --limit 2') if "." not in asked else None
    if query is None:
        query = Query.parse(f"file:{folder / asked} --kind {target} --limit 2")
    answer = engine.query(query)
    assert Path(answer[0].path).name == found


def test_mini_mixes_a_picture_with_words(mini):
    engine, folder = mini
    with_words = Query.of_image(folder / "chelsea.jpg", kinds=["text"], k=2) + Query.of_text("a hot drink")
    assert {Path(hit.path).name for hit in engine.query(with_words)} == {"cats.txt", "coffee.txt"}
    without = Query.of_text("an animal or a drink", kinds=["text"], k=1) - Query.of_image(folder / "chelsea.jpg")
    assert Path(engine.query(without)[0].path).name == "coffee.txt"


def test_mini_says_when_nothing_matches(mini):
    engine, _ = mini
    assert engine.query("a cat").matches_well is True
    assert engine.query("quarterly revenue of a shipping company", kinds=["image"]).matches_well is False
    assert not engine.query(Query.of_text("an accordion player", kinds=("video",), confident=True))
