"""Tags, facets and sidecars, with the model that can be worked out by hand."""

import json
import os
import sys
import time
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import pytest

from indexer.errors import UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.calibration import Background, Hubs, Null, confidence, hubness
from mmsearch.sidecar import write_sidecar
from mmsearch.tags import effective, excess_of, tags_of
from mmsearch.vocabulary import Vocabulary, everyday, label_vectors

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLOURS = "red\ngreen\nblue\n# a remark\n\nsea, ocean\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    folder = tmp_path / "media"
    make.image(folder / "red.png", RED)
    make.image(folder / "sub" / "green.png", GREEN)
    make.image(folder / "sub" / "deep" / "mixed.png", RED, BLUE)
    make.tones(folder / "talk.wav", [None, "sea", "sea"])
    make.video(folder / "clip.mp4", [BLUE, RED, RED, RED])
    (folder / "note.txt").write_text("bread and music", encoding="utf-8")
    (tmp_path / "labels.txt").write_text(COLOURS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def engine(media, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(media)
        yield engine


# --- the vocabulary ---


def test_a_vocabulary_is_lines_with_names():
    made = Vocabulary.of_lines(COLOURS)
    assert made.labels == (("red",), ("green",), ("blue",), ("sea", "ocean"))
    assert made.names == ("red", "green", "blue", "sea")


@pytest.mark.parametrize("text", ["", "# only a remark", " , ,\n", "red\nblue\nred"])
def test_what_is_no_vocabulary_is_refused(text):
    with pytest.raises(UsageError, match="vocabulary"):
        Vocabulary.of_lines(text)


def test_the_shipped_vocabulary_is_everyday_things():
    assert len(everyday()) > 400
    assert {"dog", "coffee", "bicycle", "rain"} <= set(everyday().names)
    assert all(name == name.strip() for names in everyday().labels for name in names)


def test_files_that_are_no_vocabulary(tmp_path):
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        Vocabulary.read(tmp_path / "bytes.txt")
    with pytest.raises(UsageError, match="cannot be read as a vocabulary"):
        Vocabulary.read(tmp_path / "none.txt")
    for path in (tmp_path, tmp_path / "a\0b", b"none.txt", None, 3):
        with pytest.raises(UsageError, match="cannot be read as a vocabulary"):
            Vocabulary.read(path)
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"empty\.txt: a vocabulary has 1 to 100,000 labels, got 0"):
        Vocabulary.read(tmp_path / "empty.txt")
    (tmp_path / "twice.txt").write_text("red\nred\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"twice\.txt: the vocabulary has 'red' twice"):
        Vocabulary.read(tmp_path / "twice.txt")
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfred\n")
    assert Vocabulary.read(tmp_path / "bom.txt").names == ("red",)


@pytest.mark.parametrize("label", ["cat", ["cat"], (), ("",), ("cat", 1), None])
def test_a_label_is_a_tuple_of_names(label):
    """The letters of a string are no names."""
    with pytest.raises(UsageError, match=r"a label is its names as a tuple, .* got "):
        Vocabulary((("red",), label))


@pytest.mark.parametrize("on_terminal", [True, False])
def test_how_far_labels_are_read_is_shown_and_leaves_nothing_on_a_terminal(monkeypatch, capsys, on_terminal):
    from mmsearch.commands import tags

    monkeypatch.setattr(tags, "_PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    shown = []

    @contextmanager
    def stage_progress(**_how):
        shown.append("begun")
        yield lambda what, done, total: shown.append((done, total))
        shown.append("gone")

    monkeypatch.setattr(tags, "stage_progress", stage_progress)
    with tags.reading_labels() as on_progress:
        on_progress(128, 500)
        on_progress(500, 500)
    assert shown == ["begun", (128, 500), (500, 500), "gone"]
    told = "mmsearch: reading the labels, once for this model: 128 of 500 sentences so far\n"
    assert capsys.readouterr().err == ("" if on_terminal else told)


def test_labels_are_the_mean_of_their_sentences_and_are_kept():
    encoder = FakeEncoder()
    vocabulary = Vocabulary.of_lines("red\nsea, blue")
    vectors = label_vectors(vocabulary, encoder, "visual")
    # By hand: "red"; "a photo of red", "a picture of red", "a drawing of red" with three other words each.
    expected = np.zeros(16)
    for count, others in ((1, 0), (1, 3), (1, 3), (1, 3)):
        row = np.zeros(16)
        row[0], row[-1] = count, others
        expected += row / np.linalg.norm(row)
    assert vectors[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert vectors[1][2] == pytest.approx(vectors[1][6])  # both names
    asked = encoder.encoded["text"]
    again = label_vectors(vocabulary, encoder, "visual")
    assert np.array_equal(again, vectors)
    assert encoder.encoded["text"] == asked == 12


def test_labels_that_were_kept_badly_are_made_again(tmp_path):
    encoder, vocabulary = FakeEncoder(), Vocabulary.of_lines("red")
    vectors = label_vectors(vocabulary, encoder, "visual")
    (kept,) = (tmp_path / "cache" / "vocabulary").iterdir()
    for damage in (b"", b"nonsense", kept.read_bytes()[:-8]):
        kept.write_bytes(damage)
        assert np.array_equal(label_vectors(vocabulary, encoder, "visual"), vectors)


# --- tags ---


def test_excess_is_that_of_the_search_for_as_many_draws():
    rng = np.random.default_rng(0)
    vectors, labels, bank = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (rng.normal(size=(n, 12)).astype(np.float32) for n in (1, 7, 40))
    )
    null = Null(0.3, 0.05, 0.0, -1.0, 0.0, 1000)
    found = excess_of(vectors, labels, Background(null, Hubs(bank)))
    scores = vectors @ labels.T - hubness(vectors, bank)[:, None]
    expected = (scores - (0.3 + 0.05 * np.log(7 / 1000))) / 0.05
    assert found == pytest.approx(expected, abs=1e-3)
    assert excess_of(vectors, labels, None) is None


def test_frames_that_are_alike_count_once():
    rng = np.random.default_rng(1)
    one = rng.normal(size=(1, 200)).astype(np.float32)
    one /= np.linalg.norm(one)
    assert effective(one.repeat(50, axis=0)) == pytest.approx(1.0, rel=1e-4)
    assert effective(np.eye(20, 200, dtype=np.float32)) == pytest.approx(20.0)
    two = np.concatenate([np.eye(2, 200, dtype=np.float32)] * 10)
    assert effective(two) == pytest.approx(2.0)


def test_a_picture_is_tagged_by_what_it_shows(engine, media, tmp_path):
    found = engine.tags(media / "red.png", vocabulary=tmp_path / "labels.txt")
    assert found.tags[0].label == "red"
    assert found.tags[0].is_sure
    assert [tag.label for tag in found.sure] == ["red"]
    assert found.tags[0].score > 2 * found.tags[1].score
    assert (found.kind, found.labels, len(found.tags)) == ("image", 4, 4)


def test_a_video_is_tagged_with_the_moment(engine, media, tmp_path):
    found = {tag.label: tag for tag in engine.tags(media / "clip.mp4", vocabulary=tmp_path / "labels.txt").tags}
    assert (found["blue"].start_seconds, found["red"].channel) == (0.0, "visual")
    assert found["red"].start_seconds >= 1.0


def test_a_file_of_the_library_costs_no_encoding_and_another_is_tagged_too(engine, media, tmp_path, make):
    labels = tmp_path / "labels.txt"
    engine.tags(media / "red.png", vocabulary=labels)
    before = dict(engine.encoder.encoded)
    known = engine.tags(media / "red.png", vocabulary=labels)
    assert dict(engine.encoder.encoded) == before
    other = engine.tags(make.image(tmp_path / "elsewhere" / "a.png", RED), vocabulary=labels)
    assert [(tag.label, tag.confidence) for tag in other.tags] == [
        (tag.label, pytest.approx(tag.confidence, abs=1e-3)) for tag in known.tags
    ]


def test_speech_alone_is_tagged_by_what_is_said(engine, media, tmp_path):
    found = engine.tags(media / "talk.wav", vocabulary=tmp_path / "labels.txt")
    assert (found.tags[0].label, found.tags[0].channel, found.tags[0].start_seconds) == ("sea", "speech", 1.0)


def test_an_empty_library_gives_cosines_without_confidence(tmp_path, make):
    with Engine.open(tmp_path / "empty", model=FakeEncoder()) as engine:
        found = engine.tags(make.image(tmp_path / "red.png", RED), vocabulary=Vocabulary.of_lines(COLOURS))
    assert found.tags[0].label == "red"
    assert found.tags[0].confidence is None
    assert found.sure == ()


def test_what_cannot_be_tagged_is_refused(engine, media, tmp_path):
    with pytest.raises(UsageError, match="there is no file at"):
        engine.tags(tmp_path / "never.png")
    with pytest.raises(UsageError, match="is a folder, and tags are of a file"):
        engine.tags(media)
    with pytest.raises(UsageError, match="at least one tag"):
        engine.tags(media / "red.png", k=0)


# --- facets ---


def test_facets_count_files_by_all_that_is_known(engine, media, tmp_path, make):
    os.utime(media / "note.txt", (time.mktime((2019, 6, 1, 12, 0, 0, 0, 0, -1)),) * 2)
    make.image(media / "sub" / "red copy.png", RED)
    engine.index(media)
    before = dict(engine.encoder.encoded)
    found = engine.facets(Vocabulary.of_lines(COLOURS))
    year = str(time.localtime().tm_year)
    assert found.kinds == {"image": 4, "audio": 1, "text": 1, "video": 1}
    assert found.years == {year: 6, "2019": 1}
    assert found.folders == {str(media): 4, str(media / "sub"): 3}
    assert found.tags["red"] >= 2  # a file and its copy, and the video where that is sure
    assert engine.encoder.encoded["image"] == before["image"]
    each = [engine.tags(path, vocabulary=Vocabulary.of_lines(COLOURS), k=4) for path in files_in(media)]
    counts = {}
    for tags in each:
        for tag in tags.sure:
            if tag.channel == "visual":
                counts[tag.label] = counts.get(tag.label, 0) + 1
    assert found.tags == counts


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_empty_library_has_no_facets(tmp_path):
    with Engine.open(tmp_path / "empty", model=FakeEncoder()) as engine:
        assert engine.facets().to_json() == {"kinds": {}, "years": {}, "folders": {}, "tags": {}}


# --- sidecars and the command ---


def test_a_sidecar_holds_the_tags_as_keywords(tmp_path):
    picture = tmp_path / "a & b.jpg"
    picture.write_bytes(b"picture")
    place = write_sidecar(picture, ["sea", "<rain> & Wind", "größe"])
    assert place.name == "a & b.jpg.xmp"
    text = place.read_text(encoding="utf-8")
    assert text.startswith('<?xpacket begin="\ufeff"')
    body = text.split("?>\n", 1)[1].rsplit("<?xpacket", 1)[0]
    items = [item.text for item in ElementTree.fromstring(body).iter() if item.tag.endswith("}li")]
    assert items == ["sea", "<rain> & Wind", "größe"]
    assert picture.read_bytes() == b"picture"


def test_the_command_tags(run, media):
    run("index", "media")
    code, out, err = run("tags", "media/red.png", "--vocabulary", "labels.txt")
    assert (code, err) == (0, "")
    assert [line.split()[-1] for line in out.splitlines()] == ["red"]
    code, out, _ = run("tags", "media/red.png", "--vocabulary", "labels.txt", "--json", "-k", "2")
    found = json.loads(out)
    assert (found["version"], found["kind"], found["labels"], len(found["tags"])) == (1, "image", 4, 2)
    assert set(found["tags"][0]) == {"label", "confidence", "score", "channel", "start", "end"}


def test_nothing_that_stands_out_is_told(run, media):
    run("index", "media")
    (media.parent / "odd.txt").write_text("house\nbread\n", encoding="utf-8")
    code, out, err = run("tags", "media/red.png", "--vocabulary", "odd.txt", "--write-xmp")
    assert code == 1
    assert len(out.splitlines()) == 2
    assert "no label stands out from chance; these are the nearest" in err
    assert "no sidecar was written" in err
    assert not (media / "red.png.xmp").exists()


def test_sidecars_are_written_only_when_asked_and_over_nothing_silently(run, media):
    run("index", "media")
    how = ("tags", "media/red.png", "--vocabulary", "labels.txt")
    run(*how)
    place = media / "red.png.xmp"
    assert not place.exists()
    code, _, err = run(*how, "--write-xmp")
    assert (code, "wrote media/red.png.xmp" in err) == (0, True)
    code, _, err = run(*how, "--write-xmp")
    assert (code, "is written anew" in err) == (0, True)
    place.write_text("<x:xmpmeta x:xmptk='another'/>")
    code, _, err = run(*how, "--write-xmp")
    assert (code, "written by another program" in err) == (2, True)
    assert place.read_text() == "<x:xmpmeta x:xmptk='another'/>"
    code, _, err = run(*how, "--write-xmp", "--overwrite")
    assert (code, "is overwritten" in err) == (0, True)
    assert "mmsearch" in place.read_text(encoding="utf-8")


def test_status_shows_facets(run, media):
    run("index", "media")
    plain = run("status")[1]
    _, out, _ = run("status", "--facets")
    assert out.startswith(plain)
    rows = out[len(plain) :].splitlines()
    assert [row.split()[0] for row in rows] == ["Kinds", "Years", "In", "Shown"]
    assert "image 3" in rows[0]
    found = json.loads(run("status", "--facets", "--json")[1])
    assert found["facets"]["kinds"]["image"] == 3
    assert "facets" not in json.loads(run("status", "--json")[1])


def test_confidence_of_a_sure_tag_is_at_least_one_half():
    assert float(confidence(np.array(4.7))) > 0.5 > float(confidence(np.array(4.5)))


def test_sounds_are_tagged_in_their_own_space_and_speech_beside_them_does_not_count(filled, chance):
    """Each channel has labels of its own space: the best of all pairs, by brute force."""
    from indexer.found import segments_of
    from indexer.records import NewSegment

    encoder = chance(chance.THREE_SPACES)
    own = dict(encoder.spec.channels)
    rng = np.random.default_rng(4)

    def segment(channel, at):
        vector = rng.normal(size=own[channel].dim)
        return NewSegment(channel, (vector / np.linalg.norm(vector)).astype(np.float32), 2.0 * at, 2.0 * at + 2)

    segments = [segment("sound", at) for at in range(3)] + [segment("speech", 0)]
    engine = filled([segments, *([segment("sound", 0)] for _ in range(20))], encoder=encoder)
    store, (generation, _) = engine._library.store, engine._library.store.generation()
    vocabulary = Vocabulary.of_lines("rain\na dog\nmusic")
    backgrounds = engine._backgrounds.read(generation)
    found = tags_of(segments_of(store, generation, [1]), encoder, backgrounds, vocabulary, 3)
    labels = label_vectors(vocabulary, encoder, "sound")
    (stored,) = [some for some in segments_of(store, generation, [1]) if some.channel == "sound"]
    excess = excess_of(stored.vectors, labels, backgrounds["text", "sound"])
    expected = {name: float(confidence(excess[:, at].max())) for at, name in enumerate(vocabulary.names)}
    assert {tag.label: tag.confidence for tag in found} == pytest.approx(expected)
    assert {tag.channel for tag in found} == {"sound"}
    assert [tag.confidence for tag in found] == sorted(expected.values(), reverse=True)
