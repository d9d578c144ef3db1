"""A score taken apart adds up to what ranked the file, whatever the terms and the fusion."""

import numpy as np
import pytest

from indexer.found import files_of, segments_of
from mmsearch import Query, Term
from mmsearch.explain.account import account_of
from mmsearch.explain.why import THE_WORDS, explain_content
from mmsearch.names import FUSIONS


def contents_by_path(engine, ready):
    ids = range(1, 400)
    found = files_of(engine._library.store, list(ids), ready.wanted)
    return {file.paths[0]: content for content, file in found.items()}


def why_of(engine, query, path):
    ready = engine._prepared(query)
    content = contents_by_path(engine, ready)[path]
    return explain_content(engine._library, ready, content, engine.encoder, engine._encoding)


TERMS = {
    "one": ("a dog",),
    "two": ("a dog", "the night"),
    "less": ("a dog", "the night", "-fruit"),
    "weighed": ("3:a dog", "the night"),
}


def terms_of(parts):
    made = []
    for part in parts:
        weight = -1.0 if part.startswith("-") else 3.0 if part.startswith("3:") else 1.0
        made.append(Term("text", part.lstrip("-").removeprefix("3:"), weight))
    return tuple(made)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("calibrated", [True, False])
def test_parts_add_up_to_what_results_say(filled, chance, fusion, terms, calibrated):
    engine = filled(20, encoder=chance(chance.THREE_SPACES), calibrated=calibrated)
    query = Query(terms_of(TERMS[terms]), k=4, fusion=fusion)
    for hit in engine.query(query):
        why = why_of(engine, query, hit.path)
        assert why.score == pytest.approx(sum(term.part for term in why.terms), abs=1e-9)
        assert sum(abs(term.share) for term in why.terms) == pytest.approx(1.0)
        assert why.cosine == pytest.approx(hit.score, abs=1e-6)
        if calibrated:
            assert why.confidence == pytest.approx(hit.confidence, abs=1e-6)
        else:
            assert why.confidence is None
        placed = sum(stretch.part for stretch in why.stretches)
        unplaced = sum(term.part for term in why.terms if term.channel is None)
        assert placed + unplaced == pytest.approx(why.score, abs=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_explained_by_the_confidence_that_they_have(filled, metric):
    engine = filled(40)
    query = Query(terms_of(TERMS["less"]), k=8, metric=metric)
    for hit in engine.query(query):
        assert why_of(engine, query, hit.path).confidence == pytest.approx(hit.confidence, abs=1e-6)


def test_a_term_that_lies_elsewhere_has_its_own_segment(filled):
    """With "mean", each term counts where it is best by itself: brute force over the segments says where."""
    engine = filled(30)
    query = Query(terms_of(TERMS["two"]), fusion="mean", k=5)
    ready = engine._prepared(query)
    apart = 0
    for path, content in contents_by_path(engine, ready).items():
        scored = [ready.plan.score(some) for some in segments_of(engine._library.store, ready.generation_id, [content])]
        account = account_of(ready.plan, scored)
        for number in range(2):
            best = max(float(np.nanmax(part.terms[number])) for part in scored)
            assert account.parts[number] == pytest.approx(best / 2, abs=1e-9), path
        apart += account.places[0] != account.places[1]
    assert apart  # else this tested nothing


def test_only_the_deciding_segment_carries_the_score_of_one_term(filled):
    engine = filled(20)
    query = Query(terms_of(TERMS["one"]), k=3)
    for hit in engine.query(query):
        why = why_of(engine, query, hit.path)
        carrying = [stretch for stretch in why.stretches if stretch.part]
        assert len(carrying) == 1
        assert carrying[0].channel == hit.channel
        assert carrying[0].score == max(stretch.score for stretch in why.stretches)


def test_what_is_found_as_words_is_a_part_of_its_own(tmp_path, make):
    from indexer.testing import FakeEncoder
    from mmsearch import Engine

    make.image(tmp_path / "media" / "holiday.png", (255, 0, 0))
    make.image(tmp_path / "media" / "other.png", (0, 255, 0))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        why = engine.explain("red holiday", tmp_path / "media" / "holiday.png")
        (hit, *_) = engine.query("red holiday", k=1)
        words = next(term for term in why.terms if term.asked == THE_WORDS)
        assert words.part > 0
        assert "name" in why.matched
        assert why.confidence == pytest.approx(hit.confidence)
