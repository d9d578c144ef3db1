"""A query as a value: what it refuses, how several become one, and that it never changes."""

import dataclasses
import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from indexer.errors import UsageError
from indexer.types import AudioSample, ImageSample, TextSample
from mmsearch.query import Less, Near, Query, Term

DOG, CAT, FRUIT = (Query.of_text(word) for word in ("dog", "cat", "fruit"))


@pytest.fixture
def pool(make, tmp_path):
    return make.image(tmp_path / "pool.png", (0, 0, 255))


def weights(query):
    return [(term.value, term.weight) for term in query.terms]


def test_operators_weigh_and_sign_terms():
    assert weights(2 * DOG + CAT - FRUIT) == [("dog", 2), ("cat", 1), ("fruit", -1)]
    assert weights(DOG - (CAT - FRUIT)) == [("dog", 1), ("cat", -1), ("fruit", 1)]
    assert weights(DOG * 0.5 - 3 * FRUIT) == [("dog", 0.5), ("fruit", -3)]
    assert weights(-FRUIT + DOG) == [("fruit", -1), ("dog", 1)]
    assert weights(DOG + -FRUIT) == weights(DOG - FRUIT) == weights(DOG + (-1 * Term("text", "fruit")))
    assert weights(-FRUIT - CAT + DOG) == [("fruit", -1), ("cat", -1), ("dog", 1)]
    assert weights(DOG + 2 * -FRUIT) == [("dog", 1), ("fruit", -2)]
    assert (-DOG).__neg__() == DOG
    assert isinstance(-DOG, Less)
    assert weights(-1 * (FRUIT - DOG)) == [("fruit", -1), ("dog", 1)]


def test_terms_compose_like_queries():
    dog, fruit = Term("text", "dog"), Term("text", "fruit")
    assert 2 * dog - fruit == 2 * DOG - FRUIT
    assert dog + CAT == DOG + CAT
    assert dog - CAT == DOG - CAT
    assert DOG + fruit == DOG + FRUIT
    assert dog + -fruit == DOG - FRUIT
    assert dog + -FRUIT == DOG - FRUIT
    with pytest.raises(TypeError):
        dog + "cat"
    with pytest.raises(TypeError):
        DOG + "cat"


def test_filters_of_both_sides_are_kept_and_may_not_disagree():
    pictures, few = Query.of_text("dog", kinds=["image"]), Query.of_text("cat", k=3, name="*.jpg")
    both = pictures + few
    assert (both.kinds, both.k, both.name) == (("image",), 3, "*.jpg")
    assert (pictures - few).how == (few - DOG + pictures).how == both.how
    assert (pictures + Query.of_text("cat", kinds=["image"])).kinds == ("image",)
    with pytest.raises(UsageError, match=r"disagree about kinds: \('image',\) and \('video',\)"):
        pictures + Query.of_text("cat", kinds=["video"])


def test_a_query_is_a_value():
    query = Query.of_text("dog", kinds=["video", "image"], after=datetime(2024, 6, 1), near=Near(48.86, 2.35, 5000))
    same = Query.of_text(" dog ", kinds=("image", "video"), after=datetime(2024, 6, 1), near=Near(48.86, 2.35, 5e3))
    assert query == same
    assert {query: 1}[same] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        query.k = 3
    assert DOG.how == {}
    assert not DOG.is_filtered
    assert not Query.of_text("dog", k=3, fusion="rrf").is_filtered
    assert query.is_filtered


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"k": 0}, "at least 1, got 0"),
        ({"k": 2.5}, "at least 1, got 2.5"),
        ({"k": True}, "at least 1, got True"),
        ({"kinds": "image"}, "are lists, .* got kinds='image'"),
        ({"kinds": ["picture"]}, "no kind 'picture'; the kinds are image, audio, video, text"),
        ({"within": "media"}, "are lists, .* got within='media'"),
        ({"within": [""]}, "a file or folder"),
        ({"after": "2024"}, "after and before are datetimes, got '2024'"),
        ({"after": datetime(2025, 1, 1), "before": datetime(2024, 1, 1)}, "not the earlier"),
        ({"min_seconds": -1}, "a number of seconds from 0 up, got -1"),
        ({"max_seconds": math.nan}, "a number of seconds from 0 up, got nan"),
        ({"min_seconds": 10, "max_seconds": 5}, "at least 10.0 s and at most 5.0 s"),
        ({"near": (48.86, 2.35, 5)}, "near is a Near"),
        ({"name": ""}, "a name is a pattern"),
        ({"name": "/media/*.jpg"}, "Which folder is said with --in"),
        ({"name": "x" * 1001}, "at most 1000 characters, got 1001"),
        ({"fusion": "median"}, "no fusion 'median'; there are auto, sum,"),
        ({"metric": "manhattan"}, "no metric 'manhattan'; there are cosine, euclidean"),
        ({"confident": 1}, "expected True or False, got 1"),
        ({"not_below": 2}, "between -1 and 1, got 2"),
        ({"not_below": math.nan}, "between -1 and 1, got nan"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(how, says):
    with pytest.raises(UsageError, match=says):
        Query.of_text("dog", **how)


@pytest.mark.parametrize("weight", [0, math.inf, -math.inf, math.nan, "2", None, True])
def test_weights_are_numbers_other_than_zero(weight):
    with pytest.raises(UsageError, match="a weight is a number other than 0"):
        Term("text", "dog", weight)


@pytest.mark.parametrize("text", ["", " \n\t", "\udcff", None, 3])
def test_a_text_term_holds_words(text):
    with pytest.raises(UsageError, match=r"the query is|holds words"):
        Query.of_text(text)


def test_only_less_of_things_is_no_query():
    for make in (
        lambda: Query.of_text("fruit", weight=-1),
        lambda: -1 * FRUIT,
        lambda: Query((Term("text", "a", -1), Term("text", "b", -2))),
    ):
        with pytest.raises(UsageError, match="only says what not to find"):
            make()
    with pytest.raises(UsageError, match="the query is empty"):
        Query(())


def test_moments_are_kept_to_the_second_with_a_plain_zone():
    odd = timezone(timedelta(hours=5, minutes=53, seconds=28))
    query = Query.of_text("x", after=datetime(1900, 1, 1, 5, 53, 28, 999, tzinfo=odd))
    assert query.after == datetime(1900, 1, 1, tzinfo=timezone.utc)
    assert query.after.microsecond == 0
    assert Query.parse(str(query)) == query


def test_files_are_absolute_known_by_their_content_and_there(pool, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Query.of_image("pool.png").terms == (Term("image", str(pool)),)
    assert Term.of_file("pool.png", base=tmp_path / "elsewhere" / "..") == Term("image", str(pool))
    mislabelled = make.image(tmp_path / "really a picture.mp4", (1, 2, 3))
    assert Term.of_file(mislabelled).kind == "image"
    (tmp_path / "notes").write_text("a text without a suffix")
    assert Query.of_document("notes").terms[0].value == str(tmp_path / "notes")
    sound = make.tones(tmp_path / "talk.wav", ["cat"])
    clip = make.video(tmp_path / "clip.mp4", [(255, 0, 0)], ["cat"])
    assert [Term.of_file(path).kind for path in (sound, clip)] == ["audio", "video"]
    assert Query.of_audio(clip).terms[0].kind == "audio"  # its sound
    assert Query.of_video(clip, weight=2, k=3).k == 3
    for make_query, says in (
        (lambda: Query.of_image("nothing.png"), "there is no file at nothing.png"),
        (lambda: Query.of_image(tmp_path), "is a folder"),
        (lambda: Query.of_image(sound), "is a sound by its content .WAV., not an image"),
        (lambda: Query.of_video(pool), "is an image by its content .PNG., not a video"),
        (lambda: Query.of_document(clip), "is a video by its content"),
        (lambda: Query.of_image(""), "is empty"),
        (lambda: Query.of_image("a\0b"), "NUL"),
        (lambda: Term("image", "relative.jpg"), "absolute path"),
        (lambda: Term("picture", "x"), "a term is one of text, image"),
    ):
        with pytest.raises(UsageError, match=says):
            make_query()
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"empty\.jpg: the file is empty"):
        Query.of_image("empty.jpg")


def test_samples_in_memory_are_terms_too():
    red = ImageSample(np.full((4, 4, 3), (255, 0, 0), np.uint8))
    hum = AudioSample(np.zeros(100, np.float32), 8000)
    query = Query.of_image(red) + Term.of_sample(hum, label="hum", weight=2)
    assert [(term.kind, term.value, term.weight) for term in query.terms] == [
        ("image", "in memory", 1),
        ("audio", "hum", 2),
    ]
    assert query == Query.of_image(red) + 2 * Term.of_sample(hum, label="hum")
    assert hash(query)
    assert query != Query.of_image(ImageSample(red.pixels.copy())) + 2 * Term.of_sample(hum, label="hum")
    assert Term.of_sample(TextSample("a dog"), weight=2) == Term("text", "a dog", 2)
    assert Term.of_sample(red, red).kind == Term.of_sample(red, hum).kind == "video"
    assert Term.of_sample(TextSample("a"), TextSample("b"), label="two lines").kind == "document"
    assert query.asked == "image:<in memory> + 2:audio:<hum>"
    assert query.to_json()["terms"][1] == {"audio": "hum", "in_memory": True, "weight": 2}
    for read in (lambda: Query.parse(str(query)), lambda: Query.from_json(query.to_json())):
        with pytest.raises(UsageError):
            read()
    with pytest.raises(UsageError, match="at least one"):
        Term.of_sample()
    with pytest.raises(UsageError, match="at least one"):
        Term.of_sample(hum, TextSample("a"))
    with pytest.raises(UsageError, match="asks with image, got AudioSample"):
        Query.of_image(hum)
