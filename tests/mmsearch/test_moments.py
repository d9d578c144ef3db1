"""Moments: neighbours that answer alike are one span, the best of a file comes first, each can be a result."""

import numpy as np
import pytest

from indexer.errors import UsageError
from indexer.records import NewSegment
from indexer.testing import FakeEncoder
from mmsearch import Engine, Query

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)


@pytest.fixture
def engine(tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        yield engine


def spans(hit):
    return [(moment.start_seconds, moment.end_seconds) for moment in (hit, *hit.moments)]


def timed(scores, query, *, gap=0.0, channel="visual"):
    """Segments of two seconds each that have these cosines with a query."""
    rng = np.random.default_rng(0)
    segments = []
    for at, score in enumerate(scores):
        other = rng.normal(size=len(query))
        other -= (other @ query) * query
        vector = score * query + np.sqrt(1 - score**2) * other / np.linalg.norm(other)
        start = at * (2 + gap)
        segments.append(NewSegment(channel, vector.astype(np.float32), start, start + 2, f"line {at}"))
    return segments


@pytest.fixture
def asked(chance):
    encoder = chance()
    vector = encoder.vector(encoder.towers["text", "one"], b"a dog").astype(float)
    return encoder, vector / np.linalg.norm(vector)


def test_neighbours_that_score_alike_are_one_span(filled, asked):
    encoder, query = asked
    segments = timed([0.1, 0.8, 0.81, 0.805, 0.1, 0.6, 0.1, 0.805], query)
    engine = filled([segments], encoder=encoder, calibrated=False, kinds=["video"])
    (hit,) = engine.query(Query.of_text("a dog", words=False))
    assert hit.score == pytest.approx(0.81, abs=1e-3)
    assert spans(hit)[:3] == [(2, 8), (14, 16), (10, 12)]
    assert hit.text == "line 2"  # of the best in it
    assert [moment.score for moment in hit.moments] == sorted((m.score for m in hit.moments), reverse=True)
    every = {start for start, _ in spans(hit)}
    assert len(every) == len(spans(hit))


@pytest.mark.parametrize(("gap", "expected"), [(0.4, [(0, 6.8)]), (0.6, [(0, 2), (2.6, 4.6), (5.2, 7.2)])])
def test_a_gap_parts_moments(filled, asked, gap, expected):
    encoder, query = asked
    engine = filled([timed([0.8, 0.8, 0.8], query, gap=gap)], encoder=encoder, calibrated=False, kinds=["video"])
    (hit,) = engine.query(Query.of_text("a dog", words=False))
    assert np.array(sorted(spans(hit))) == pytest.approx(np.array(expected))


def test_a_slow_slope_is_not_one_long_moment(filled, asked):
    """Each neighbour is held against the best of the moment, not against the one beside it."""
    encoder, query = asked
    engine = filled([timed(np.linspace(0.9, 0.1, 17), query)], encoder=encoder, calibrated=False, kinds=["video"])
    (hit,) = engine.query(Query.of_text("a dog", words=False))
    assert spans(hit)[0] == (0, 4)
    assert len(hit.moments) == 5


def test_what_has_no_times_is_not_merged(filled, asked):
    encoder, query = asked
    chunks = [NewSegment("text", segment.vector, text=segment.text) for segment in timed([0.8, 0.8, 0.7], query)]
    engine = filled([chunks], encoder=encoder, calibrated=False)
    (hit,) = engine.query(Query.of_text("a dog", words=False))
    assert spans(hit) == [(None, None)] * 3
    assert {hit.text, *(moment.text for moment in hit.moments)} == {"line 0", "line 1", "line 2"}


def test_moments_of_two_channels_stay_apart(filled, asked):
    encoder, query = asked
    segments = timed([0.8, 0.8], query) + timed([0.7, 0.7], query, channel="speech")
    engine = filled([segments], encoder=encoder, calibrated=False, kinds=["video"])
    (hit,) = engine.query(Query.of_text("a dog", words=False))
    assert [(hit.channel, *spans(hit)[0]), (hit.moments[0].channel, *spans(hit)[1])] == [
        ("visual", 0, 4),
        ("speech", 0, 4),
    ]


@pytest.mark.parametrize("fusion", ["auto", "mean", "rrf", "borda", "concat", "attention"])
@pytest.mark.parametrize("calibrated", [True, False])
def test_each_moment_can_be_a_result(filled, asked, fusion, calibrated):
    encoder, query = asked
    videos = [timed([0.9, 0.0, 0.7, 0.0], query), timed([0.0, 0.8, 0.0, 0.1], query)]
    noise = [timed(np.random.default_rng(n).uniform(-0.3, 0.1, 3), query) for n in range(30)]
    engine = filled(videos + noise, encoder=encoder, calibrated=calibrated, kinds=["video"] * 32)
    terms = Query.of_text("a dog").terms if fusion == "auto" else Query.of_text("a dog").terms * 2
    hits = engine.query(Query(terms, k=4, moments=True, words=False, fusion=fusion))
    found = [(hit.score, hit.start_seconds) for hit in hits[:3]]
    best_first = [(0.9, 0), (0.8, 2), (0.7, 4)]
    by_file = [(0.9, 0), (0.7, 4)]  # where files rank by places, a file's moments follow it
    expected = by_file if fusion in ("rrf", "borda") else best_first
    assert [start for _, start in found[: len(expected)]] == [start for _, start in expected]
    assert [score for score, _ in found[: len(expected)]] == pytest.approx([s for s, _ in expected], abs=2e-3)
    assert all(hit.moments == () for hit in hits)
    assert len({(hit.path, hit.start_seconds, hit.channel) for hit in hits}) == len(hits) == 4
    if calibrated:
        assert all(0 < hit.confidence <= 1 for hit in hits)


def test_a_video_shows_its_best_moment_first(engine, make, tmp_path):
    make.video(tmp_path / "clip.mp4", [GREEN, RED, RED, BLUE, GREEN, RED])
    make.image(tmp_path / "green.png", GREEN)
    engine.index(tmp_path / "clip.mp4", tmp_path / "green.png")
    hit = engine.query("red", k=1)[0]
    assert hit.path.endswith("clip.mp4")
    assert spans(hit)[0] == pytest.approx((1, 3), abs=0.11)
    assert spans(hit)[1] == pytest.approx((5, 6), abs=0.11)
    listed = engine.query(Query.of_text("red", k=3, moments=True))
    assert [hit.start_seconds for hit in listed[:2]] == pytest.approx([1, 5], abs=0.11)
    assert len(listed) == 3


def test_confident_gives_only_what_stands_out(engine, make, tmp_path):
    for n, colour in enumerate([RED, GREEN, BLUE, GREY] * 3):
        make.image(tmp_path / "media" / f"{n}.png", tuple(max(0, c - n) for c in colour))
    engine.index(tmp_path / "media")
    everything = engine.query(Query.of_text("red", k=12))
    confident = engine.query(Query.of_text("red", k=12, confident=True))
    assert 0 < len(confident) < len(everything)
    assert list(confident) == [hit for hit in everything if hit.matches_well]
    assert confident.matches_well is True
    absent = engine.query(Query.of_text("a dog at night", k=3))
    assert absent.matches_well is False
    assert len(absent) > 0
    none = engine.query(Query.of_text("a dog at night", k=3, confident=True))
    assert (len(none), none.matches_well) == (0, False)


def test_the_moments_of_one_file_are_worth_what_they_are_among_all(engine, make, tmp_path):
    for n, colour in enumerate([RED, GREEN, BLUE, GREY] * 3):
        make.image(tmp_path / "media" / f"{n}.png", tuple(max(0, c - n) for c in colour))
    film = make.video(tmp_path / "media" / "film.mp4", [GREY, RED, GREY, GREY, RED, GREEN], ["red", "dog"])
    engine.index(tmp_path / "media")
    listed = [hit for hit in engine.query(Query.of_text("red", k=60, moments=True)) if hit.path.endswith(".mp4")]
    assert len(listed) > 2
    found = engine.moments("red", film)
    assert found == tuple(listed)
    assert engine.moments("red", listed[0]) == found
    assert engine.moments(Query.of_text("red", k=1, confident=True), film) == found[:1]
    by_kind = engine.moments(Query.of_text("red", kinds=("video",)), film)
    assert by_kind[-1].confidence != found[-1].confidence  # chance has fewer vectors to find the best among
    assert by_kind == tuple(engine.query(Query.of_text("red", k=60, moments=True, kinds=("video",))))
    with pytest.raises(UsageError, match="there is no file at"):
        engine.moments("red", tmp_path / "none.mp4")


def test_a_file_that_is_left_out_for_a_negative_term_has_no_moments(engine, make, tmp_path):
    for n, colour in enumerate([RED, GREEN, BLUE, GREY] * 3):
        make.image(tmp_path / "media" / f"{n}.png", tuple(max(0, c - n) for c in colour))
    film = make.video(tmp_path / "media" / "film.mp4", [GREY, RED, GREEN], ["red", "dog"])
    engine.index(tmp_path / "media")
    asked = Query.of_text("dog", k=50, not_below=0.9) - Query.of_text("red")
    assert str(film) not in [hit.path for hit in engine.query(asked)]
    assert engine.moments(asked, film) == ()
    assert engine.moments(Query.of_text("dog") - Query.of_text("red"), film)
