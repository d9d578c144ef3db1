"""Files that have nothing to compare, such as music for a model that only hears speech: found by their names."""

from __future__ import annotations

import csv
import io
import json

import pytest

from indexer.testing import FakeEncoder
from mmsearch import Engine, Query, Term
from mmsearch.output import OutputSettings, Results, finish, write


@pytest.fixture
def media(tmp_path):
    return tmp_path / "media"


@pytest.fixture
def engine(tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        yield engine


@pytest.fixture
def library(engine, media, make):
    """A red picture, something that is said, and one that says nothing."""
    make.image(media / "red.png", (255, 0, 0))
    make.tones(media / "speech.wav", ["cat", "dog"])
    make.tones(media / "moonlight sonata.wav", [None, None])
    engine.index(media)
    return engine


def names(answer):
    return [hit.path.rsplit("/", 1)[1] for hit in answer]


def named(answer):
    return next(hit for hit in answer if hit.path.endswith("moonlight sonata.wav"))


@pytest.mark.parametrize("asked", ["sonata", "moonlight sonata", "moonlight sonata.wav", '"moonlight sonata"'])
def test_it_is_found_first_by_its_name(library, asked):
    hit = library.query(asked)[0]
    assert names([hit]) == ["moonlight sonata.wav"]
    assert (hit.score, hit.channel, hit.start_seconds, hit.moments) == (None, None, None, ())
    assert "name" in hit.matched
    assert 0 < hit.confidence < 1


def test_its_name_as_it_was_typed_is_a_match_and_a_part_of_it_is_less(library):
    whole, part = named(library.query("moonlight sonata.wav")), named(library.query("red sonata"))
    assert whole.confidence >= 0.99 > part.confidence
    assert whole.matches_well


def test_what_is_not_in_its_name_does_not_find_it(library):
    assert "moonlight sonata.wav" not in names(library.query("cat"))
    assert "moonlight sonata.wav" not in names(library.query(Query.of_text("sonata", words=False)))


def test_more_of_what_was_asked_in_its_name_is_worth_more(library):
    assert named(library.query("sonata")).confidence > named(library.query("sonata xylophone")).confidence


def test_filters_hold_for_it(library, media):
    assert names(library.query("sonata", kinds=["audio"]))[0] == "moonlight sonata.wav"
    assert "moonlight sonata.wav" not in names(library.query("sonata", kinds=["image"]))
    (media / "moonlight sonata.wav").unlink()
    library.index(media)
    assert "moonlight sonata.wav" not in names(library.query("sonata"))


@pytest.mark.parametrize("fusion", ["auto", "sum", "mean", "attention", "concat", "rrf", "borda"])
def test_it_is_found_with_several_terms(library, fusion, media):
    terms = (Term("text", "sonata"), Term.of_file(media / "red.png", weight=0.5))
    assert {"moonlight sonata.wav", "red.png"} <= set(names(library.query(Query(terms, fusion=fusion))))


@pytest.mark.parametrize("how", [{"moments": True}, {"metric": "euclidean"}, {"not_below": 0.5}, {"confident": True}])
def test_it_is_found_in_every_other_way(library, how):
    terms = (Term("text", "moonlight sonata.wav"),)
    if "not_below" in how:
        terms = (*terms, Term("text", "green", -1.0))
    assert "moonlight sonata.wav" in names(library.query(Query(terms, **how)))


def test_it_is_found_where_there_is_nothing_else(engine, media, make):
    make.tones(media / "moonlight sonata.wav", [None])
    engine.index(media)
    assert names(engine.query("sonata")) == ["moonlight sonata.wav"]


def test_every_form_of_output_shows_it(library, tmp_path):
    answer = library.query("moonlight sonata.wav", k=1)
    results = Results("moonlight sonata.wav", answer.hits, answer.matches_well)

    def shown(**how):
        stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
        write(results, OutputSettings.chosen(**how), stream)
        return stream.buffer.getvalue().decode()

    hit = json.loads(shown(json=True))["hits"][0]
    assert (hit["score"], hit["channel"]) == (None, None)
    assert "name" in hit["matched"]
    assert json.loads(shown(jsonl=True))["score"] is None
    assert next(csv.DictReader(io.StringIO(shown(csv=True))))["score"] == ""
    assert "     -  audio" in shown()
    sheet = tmp_path / "sheet.png"
    assert not list(finish(results, OutputSettings.chosen(contact_sheet=sheet)))
    assert sheet.stat().st_size > 0
