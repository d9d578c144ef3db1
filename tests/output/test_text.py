"""Words for a person's eyes."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mmsearch.output.text import (
    clean,
    close_moments,
    elided,
    first_few,
    found_words,
    lasting,
    percent,
    snippet,
    times,
    took,
    whole_percents,
)
from mmsearch.rank import Hit, Moment

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("media/photos/cup.jpg", 20, "media/photos/cup.jpg"),
        ("media/photos/2024/june/cup.jpg", 29, "media/…/2024/june/cup.jpg"),
        ("media/photos/2024/june/cup.jpg", 20, "media/…/june/cup.jpg"),
        ("media/photos/2024/june/cup.jpg", 15, "…/june/cup.jpg"),
        ("media/photos/2024/june/cup.jpg", 10, "…/cup.jpg"),
        ("media/photos/2024/june/cup.jpg", 3, "…/cup.jpg"),
        ("/media/photos/2024/cup.jpg", 20, "/…/2024/cup.jpg"),
        ("a_rather_long_name.jpg", 10, "a_rather_long_name.jpg"),
        ("写真/旅行/東京.jpg", 14, "…/東京.jpg"),
    ],
)
def test_folders_are_left_out_in_the_middle(path, width, shown):
    assert elided(path, width, cell_len) == shown


@given(st.lists(NAMES, min_size=1, max_size=7), st.integers(1, 60), st.booleans())
def test_the_name_is_always_whole_and_the_width_is_kept_where_it_can_be(parts, width, absolute):
    path = os.sep * absolute + os.sep.join(parts)
    shown = elided(path, width, cell_len)
    assert shown.rpartition(os.sep)[2] == parts[-1]
    assert cell_len(shown) <= width or shown in (f"…{os.sep}{parts[-1]}", parts[-1])


@given(st.text())
def test_nothing_that_drives_a_terminal_is_left(text):
    assert not [c for c in clean(text) if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")]
    assert "\u202e" not in clean(text + "\u202e")


def test_a_joiner_inside_a_word_is_left_alone():
    assert clean("می\u200cخواهم") == "می\u200cخواهم"


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("A Café in Paris", ["cafe"], ["Café"]),
        ("A Cafe\u0301 in Paris", ["CAFÉ"], ["Cafe\u0301"]),
        ("cats and a cat", ["cat"], ["cat"]),
        ("cats", ["cat"], ["cat"]),
        ("heavy  rain, heavy\nrain", ["heavy rain"], ["heavy  rain", "heavy\nrain"]),
        ("Die Straße", ["STRASSE"], ["Straße"]),
        ("東京で写真を撮る", ["写真"], ["写真"]),
        ("a (b) [c]", ["(b)", ".*"], ["(b)"]),
        ("my name", ["name"], []),  # says that the file's name was found, not the word
        ("anything", ["", " "], []),
    ],
)
def test_words_are_found_without_regard_to_case_and_accents(text, words, found):
    assert [text[begin:end] for begin, end in found_words(text, words)] == found


@given(st.text(max_size=60), st.lists(st.text(max_size=5), max_size=3))
def test_spans_lie_in_the_text_in_order_and_apart(text, words):
    spans = found_words(text, words)
    flat = [place for span in spans for place in span]
    assert flat == sorted(set(flat))
    assert not flat or (flat[0] >= 0 and flat[-1] <= len(text))


@given(st.text(max_size=300), st.integers(20, 120), st.lists(st.text(min_size=1, max_size=5), max_size=2))
def test_a_snippet_is_short_and_holds_its_spans(text, limit, words):
    line, spans = snippet(text, limit, words)
    assert len(line) <= limit + 2
    assert all(0 < begin < end < len(line) for begin, end in spans)


def test_a_snippet_is_cut_around_the_first_word_that_was_found():
    line, spans = snippet(f"{'one two ' * 40}umbrella {'three ' * 40}", 60, ["umbrella"])
    assert line.startswith('"…')
    assert line.endswith('…"')
    assert [line[begin:end] for begin, end in spans] == ["umbrella"]
    assert snippet("short", 60, ["short"]) == ('"short"', ((1, 6),))


@pytest.mark.parametrize(
    ("confidence", "shown"),
    [(None, ""), (0.0, "<1%"), (0.004, "<1%"), (0.333, "33%"), (0.994, "99%"), (0.996, ">99%"), (1.0, ">99%")],
)
def test_a_confidence_is_never_certain(confidence, shown):
    assert percent(confidence) == shown


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (None, None, ""),
        (7.0, 12.4, "0:07-0:12"),
        (7.1, 7.9, "0:07"),
        (7.9, 8.1, "0:07-0:08"),
        (3600, 3661, "1:00:00-1:01:01"),
    ],
)
def test_a_stretch_within_a_second_is_one_time(start, end, shown):
    assert times(start, end) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0 s"), (6.2, "6 s"), (59.4, "59 s"), (59.7, "1:00"), (90, "1:30"), (4000, "1:06:40")]
)
def test_how_long_something_is(seconds, shown):
    assert lasting(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "less than 0.1 s"), (0.04, "less than 0.1 s"), (0.05, "0.1 s")])
def test_nothing_takes_no_time(seconds, shown):
    assert took(seconds) == shown


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8).filter(lambda row: sum(map(abs, row)) > 1e-6))
def test_whole_percents_add_up(row):
    shares = [value / sum(map(abs, row)) for value in row]
    found = whole_percents(shares)
    assert sum(map(abs, found)) == 100
    assert all(abs(one - 100 * share) < 1 for one, share in zip(found, shares, strict=True))


def test_three_thirds_are_a_whole():
    assert whole_percents([1 / 3, 1 / 3, -1 / 3]) == [34, 33, -33]
    assert whole_percents([0.4855, 0.5145]) == [49, 51]


def test_long_lists_end_with_how_many_more():
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(list("abcdefg")) == "a, b, c and 4 more"
    assert first_few(list("ab"), 1) == "a and 1 more"


def test_further_moments_that_say_nothing_are_left_out():
    def moment(start, score, confidence):
        return Moment(score, "visual", start, start + 2.0, None, confidence)

    moments = (moment(2.0, 0.5, 0.61), moment(4.0, 0.5, 0.004), moment(6.0, 0.2, 0.5), moment(8.0, 0.45, None))
    hit = Hit(0.5, "/a.mp4", "video", "visual", 0.0, 2.0, None, None, moments, (), 0.7)
    assert close_moments(hit) == ["0:02-0:04 (61%)", "0:08-0:10 (0.450)"]
