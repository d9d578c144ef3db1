"""Queries in turns: what is understood, how a query moves, and how the command goes on from the last one."""

import io
import json
import os
import stat
import sys

import numpy as np
import pytest

from indexer.errors import UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine, Query
from mmsearch.history import recall, save
from mmsearch.refining import LAST, Change, read_changes
from mmsearch.session import BETA, GAMMA, Session, rocchio

# --- what is understood ---


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("more like 3", [Change("like", (3,))]),
        ("More like the THIRD one", [Change("like", (3,))]),
        ("like #2 and the last", [Change("like", (2, LAST))]),
        ("similar to 1, 2 and 4th", [Change("like", (1, 2, 4))]),
        ("more of the first", [Change("like", (1,))]),
        ("less like 2", [Change("unlike", (2,))]),
        ("not the second", [Change("unlike", (2,), hide=True)]),
        ("without 12", [Change("unlike", (12,), hide=True)]),
        ("more like 3, not 2", [Change("like", (3,)), Change("unlike", (2,), hide=True)]),
        ("only at night", [Change("add", value="at night")]),
        ("+ snow", [Change("add", value="snow")]),
        ("at the lake", [Change("add", value="at the lake")]),
        ("- people", [Change("less", value="people")]),
        ("without people", [Change("less", value="people")]),
        ("-people", [Change("less", value="people")]),
        ("no cars; + snow", [Change("less", value="cars"), Change("add", value="snow")]),
        ("only videos", [Change("kind", value="video")]),
        ("only photos", [Change("kind", value="image")]),
        ("only the recordings", [Change("kind", value="audio")]),
        ("only from 2023", [Change("year", value="2023")]),
        ("new: dogs, more or less", [Change("new", value="dogs, more or less")]),
        ("undo", [Change("undo")]),
        ("red, green and blue", [Change("add", value="red"), Change("add", value="green and blue")]),
        ("likely rain", [Change("add", value="likely rain")]),
        ("notes on 3", [Change("add", value="notes on 3")]),
    ],
)
def test_what_is_said_is_understood(said, changes):
    if said == "red, green and blue":  # a comma within words is part of them
        changes = [Change("add", value="red, green and blue")]
    assert list(read_changes(said)) == changes


@pytest.mark.parametrize(
    "said",
    ["", "   ", "more like 0", "not", "more like", "less like", "only from 3000", "only in", "new:", "+", "- ", "with"],
)
def test_what_says_nothing_is_refused(said):
    with pytest.raises(UsageError):
        read_changes(said)


# --- how a query moves ---


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_rocchio_is_the_formula():
    rng = np.random.default_rng(0)
    query, good, bad = unit(rng.normal(size=8)), unit(rng.normal(size=(3, 8))), unit(rng.normal(size=(2, 8)))
    moved = rocchio(query.astype(np.float32), good.astype(np.float32), bad.astype(np.float32))
    expected = unit(query + BETA * unit(good.mean(axis=0)) - GAMMA * unit(bad.mean(axis=0)))
    assert moved == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(rocchio(moved, None, None), moved)


# --- sessions ---

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    folder = tmp_path / "media"
    make.image(folder / "a-red.png", COLOURS["red"])
    make.image(folder / "b-redgreen.png", COLOURS["red"], COLOURS["green"])
    make.image(folder / "c-redblue.png", COLOURS["red"], COLOURS["blue"])
    make.image(folder / "d-green.png", COLOURS["green"])
    make.image(folder / "e-blue.png", COLOURS["blue"])
    make.video(folder / "f-clip.mp4", [COLOURS["green"], COLOURS["red"], COLOURS["blue"]])
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def engine(media, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(media)
        yield engine


def names(answer):
    return [os.path.basename(hit.path) for hit in answer]


def place(answer, name):
    return names(answer).index(name) + 1


@pytest.mark.parametrize("said", ["more like 1", "not 2", "only videos", "undo", "only from 2023"])
def test_what_changes_a_query_needs_one(engine, said):
    with pytest.raises(UsageError, match="no query yet"):
        engine.session().next(said)


def test_more_like_one_moves_towards_it(engine):
    session = engine.session()
    first = session.next(Query.of_text("red", words=False))
    moved = session.next(f"more like {place(first, 'c-redblue.png')}")
    assert place(moved, "c-redblue.png") < place(moved, "b-redgreen.png")
    assert place(moved, "e-blue.png") < place(moved, "d-green.png")
    # Scores are those of the moved query, by hand: pictures are red, green and blue, and q' lies between.
    query = unit(np.array([1, 0, 0]) + BETA * unit([1, 0, 1]))
    shown = {hit.path.rsplit("/", 1)[1]: hit.score for hit in moved}
    assert shown["c-redblue.png"] == pytest.approx(float(query @ unit([1, 0, 1])), abs=2e-3)
    assert shown["a-red.png"] == pytest.approx(float(query[0]), abs=2e-3)
    assert shown["d-green.png"] == pytest.approx(0.0, abs=2e-3)


def test_a_moved_answer_does_not_say_how_sure_it_is(engine):
    session = engine.session()
    assert session.next("red")[0].confidence is not None
    moved = session.next("like 1")
    assert {hit.confidence for hit in moved} == {None}
    assert moved.matches_well is None


def test_what_is_not_wanted_is_left_out_and_its_like_sink(engine):
    session = engine.session()
    first = session.next(Query.of_text("red", words=False))
    gone = place(first, "c-redblue.png")
    moved = session.next(f"not {gone}")
    assert "c-redblue.png" not in names(moved)
    assert len(moved) == len(first) - 1
    assert place(moved, "d-green.png") < place(moved, "e-blue.png")
    again = session.next("+ green")
    assert "c-redblue.png" not in names(again)  # it stays away


def test_the_moment_that_was_shown_counts_not_the_whole_video(engine):
    session = engine.session()
    first = session.next(Query.of_text("blue", kinds=("video",)))
    assert first[0].start_seconds == 2.0
    moved = session.next("more like 1")
    assert moved[0].score == pytest.approx(1.0, abs=2e-2)  # blue stays blue: the mean of the video is grey


def test_words_are_terms_and_filters_are_filters(engine):
    session = engine.session()
    session.next("red")
    session.next("+ green, - blue")
    assert str(session.history[-1].query.asked) == "red + green - blue"
    assert names(session.answer)[0] == "b-redgreen.png"
    session.next("only videos")
    assert names(session.answer) == ["f-clip.mp4"]
    session.next("only from 1999")
    assert names(session.answer) == []
    session.undo()
    session.next("new: blue")
    assert session.asked == "blue"
    assert len(session.answer) == 6


def test_undo_goes_back_one_turn_at_a_time(engine):
    session = engine.session()
    answers = [session.next("red"), session.next("like 2"), session.next("not 1")]
    assert session.next("undo") == answers[1]
    assert session.undo() == answers[0]
    with pytest.raises(UsageError, match="nothing to undo"):
        session.undo()
    assert session.asked == "red"


def test_a_turn_that_fails_changes_nothing(engine):
    session = engine.session()
    session.next("red")
    before = session.history
    for said in ("more like 99", "", "undo, + green", "like ./nowhere.png + ./nothing.jpg"):
        with pytest.raises(UsageError):
            session.next(said)
    assert session.history == before


def test_a_file_that_went_cannot_be_liked(engine, media):
    session = engine.session()
    first = session.next("red")
    os.unlink(first[0].path)
    with pytest.raises(UsageError, match="is not there"):
        session.next("like 1")


# --- options in a turn, and moments ---


def test_options_at_the_end_of_a_turn_change_how_and_keep_what_was_liked(engine):
    session = engine.session()
    first = session.next(Query.of_text("red", words=False))
    moved = session.next(f"more like {place(first, 'c-redblue.png')}")
    both = session.next(f"more like {place(moved, 'e-blue.png')} --moments --kind image,video")
    assert names(session.history[-1].liked) == ["c-redblue.png", "e-blue.png"]
    assert session.history[-1].query.moments
    assert session.history[-1].query.kinds == ("image", "video")
    assert len([hit for hit in both if hit.path.endswith("f-clip.mp4")]) > 1
    assert len(session.next("--limit 2")) == 2
    assert session.history[-1].liked == session.history[-2].liked
    assert session.history[-1].query.k == 2
    assert len(session.undo()) > 2
    with pytest.raises(UsageError, match="--nonsense is no option of a query"):
        session.next("+ green --nonsense")


def test_a_number_of_results_stays_until_a_turn_says_another(engine):
    session = Session(engine, 3)
    assert len(session.next("red")) == 3
    assert len(session.next("+ green --limit 2")) == 2
    assert len(session.next("- blue")) == 2
    assert len(session.next("new: blue")) == 2
    assert len(session.next("new: blue --limit 4")) == 4


def test_moments_of_one_file_are_liked_and_left_out_one_by_one(engine):
    session = engine.session()
    first = session.next(Query.of_text("red", kinds=("video",), moments=True, words=False))
    starts = [hit.start_seconds for hit in first]
    assert len(starts) == 3
    session.next("like 1")
    session.next(f"less like {[hit.start_seconds for hit in session.answer].index(starts[1]) + 1}")
    liked = session.history[-1].liked
    assert [(one.start_seconds, one.good) for one in liked] == [(starts[0], True), (starts[1], False)]
    at = [hit.start_seconds for hit in session.answer].index(starts[2]) + 1
    left = session.next(f"not {at}")
    assert sorted(hit.start_seconds for hit in left) == sorted(starts[:2])
    save(engine, session.history)
    again = recall(engine)
    assert again.history[-1].hidden == session.history[-1].hidden
    assert sorted(hit.start_seconds for hit in again.next("+ red")) == sorted(starts[:2])
    files = session.next("new: red --kind video")
    assert session.history[-1].hidden == ()
    assert session.next("not 1").hits == ()  # a file by itself goes as a whole
    assert len(files) == 1


# --- kept between commands ---


def test_what_is_kept_comes_back(engine):
    session = engine.session()
    session.next("red")
    session.next("more like 2, not 3, + green")
    save(engine, session.history)
    again = recall(engine)
    assert again.asked == session.asked
    assert names(again.answer) == names(session.answer)
    assert names(again.next("like 1")) == names(session.next("like 1"))
    assert names(again.undo()) == names(session.undo())


def test_history_is_private_and_can_be_off(engine, tmp_path, monkeypatch):
    session = engine.session()
    session.next("red")
    monkeypatch.setenv("MMSEARCH_HISTORY", "off")
    save(engine, session.history)
    folder = os.path.join(os.environ["XDG_STATE_HOME"], "mmsearch", "sessions")
    assert not os.path.exists(folder)
    monkeypatch.delenv("MMSEARCH_HISTORY")
    save(engine, session.history)
    (kept,) = os.listdir(folder)
    assert stat.S_IMODE(os.stat(os.path.join(folder, kept)).st_mode) == 0o600
    for damage in ("", "[]", '{"version": 9, "steps": []}', '{"version": 1, "steps": [{}]}'):
        with open(os.path.join(folder, kept), "w", encoding="utf-8") as file:
            file.write(damage)
        with pytest.raises(UsageError, match="cannot be read back"):
            recall(engine)


@pytest.fixture
def run(run, monkeypatch):
    """As everywhere, with what is typed."""

    def with_input(*args, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return run(*args)

    return with_input


def test_the_command_goes_on_from_the_last_query(run, media):
    run("index", "media")
    run("query", "red", "-k", "4")
    code, out, err = run("refine", "not", "the", "first", "--paths")
    assert code == 0
    assert len(out.splitlines()) == 4
    assert err.startswith("mmsearch: asked: red, without media/")
    code, out, _ = run("refine", "only", "videos", "--json")
    assert [hit["kind"] for hit in json.loads(out)["hits"]] == ["video"]
    assert run("refine", "undo", "-k", "2", "--paths")[1].count("\n") == 2
    assert run("refine", "+ green", "-k", "5", "--paths")[1].count("\n") == 5
    assert run("refine", "more like 77")[0] == 2
    code, _, err = run("refine", "only from 1950")
    assert (code, "nothing is left" in err) == (1, True)


def test_all_that_is_in_force_is_said(run, media):
    run("index", "media")
    first = run("query", "red", "-k", "4", "--kind", "image,video", "--paths")[1].splitlines()
    liked, gone = (os.path.relpath(path) for path in (first[1], first[0]))
    code, _, err = run("refine", "more", "like", "2,", "not", "1", "--paths")
    assert code == 0
    assert err == f"mmsearch: asked: red, like {liked}, without {gone}; --limit 4 --kind image,video\n"
    code, out, err = run("refine", "+ green", "--json")
    said = err.splitlines()[0].removeprefix("mmsearch: asked: ")
    assert json.loads(out)["query"].replace(f"{os.getcwd()}/", "") == said  # in full for programs
    run("refine", "undo")
    code, out, err = run("refine", "--moments", "only videos", "--paths")
    assert (code, set(out.splitlines())) == (0, {str(media / "f-clip.mp4")})
    assert err.endswith("; --limit 4 --kind video --moments\n")
    err = run("refine", "like 1", "-k", "9")[2]
    assert ", like media/f-clip.mp4 at 0:01" in err
    assert "--limit 9" in err
    err = run("refine", "--no-moments", "+ green")[2]
    assert "--moments" not in err
    assert "--limit 9 --kind video" in err


def test_turns_are_read_line_by_line(run, media):
    run("index", "media")
    run("query", "red")
    code, out, err = run("refine", "--paths", stdin="more like 2\n\nmore like 50\nonly videos\nquit\n+ never\n")
    assert code == 0
    assert out.splitlines()[-1].endswith("f-clip.mp4")
    assert "there is no result 50" in err
    assert "nothing is left" not in err
    assert "never" not in err
    assert "nothing is left; go back with: undo" in run("refine", stdin="only from 1950\nundo\n")[2]


def test_a_library_without_a_query_begins_one(run, media):
    run("index", "media")
    code, out, err = run("refine", "green", "--paths")
    assert (code, err) == (0, "mmsearch: asked: green\n")
    assert out


def test_a_new_query_may_ask_for_what_is_usual(engine):
    session = Session(engine, k=2)
    assert len(session.next("red")) == 2
    assert len(session.next("new: red --limit 10")) > 2
