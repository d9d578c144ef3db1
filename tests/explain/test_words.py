"""Which words carry a line, against a similarity that can be worked out by hand."""

import re

import pytest

from mmsearch.explain.words import MOST_WORDS, word_shares


class Counting:
    """The share of a text's words that are "rain", and how often it was asked."""

    def __init__(self, wanted="rain"):
        self.wanted = wanted
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return [
            sum(word.lower() == self.wanted for word in re.findall(r"\w+", text)) / len(re.findall(r"\w+", text))
            for text in texts
        ]


def test_each_word_is_left_out_in_turn():
    whole, shares = word_shares("Heavy rain, tonight!", Counting())
    assert whole == pytest.approx(1 / 3)
    assert [share.text for share in shares] == ["Heavy", "rain", "tonight"]
    assert [share.drop for share in shares] == pytest.approx([1 / 3 - 1 / 2, 1 / 3, 1 / 3 - 1 / 2])
    assert [("Heavy rain, tonight!"[share.start : share.end]) for share in shares] == ["Heavy", "rain", "tonight"]


def test_a_line_of_one_word_is_carried_by_it():
    whole, (only,) = word_shares("rain", Counting())
    assert (whole, only.drop) == (1.0, 1.0)


def test_words_found_literally_are_marked():
    _, shares = word_shares("Tonight, HEAVY rain will come", Counting(), ("heavy rain", "name"))
    assert [share.text for share in shares if share.literal] == ["HEAVY", "rain"]


def test_a_long_text_is_looked_at_in_pieces_first():
    words = [f"word{number}" for number in range(200)]
    words[77] = "rain"
    compare = Counting()
    _, shares = word_shares(" ".join(words), compare)
    best = max(shares, key=lambda share: share.drop)
    assert best.text == "rain"
    assert len(compare.texts) < 120 < len(words)
    assert sum(len(share.text.split()) for share in shares) == 200
    assert len(words) > MOST_WORDS


def test_scripts_without_blanks_are_taken_in_twos():
    _, shares = word_shares("今夜は大雨", lambda texts: [float("大" in text) for text in texts])
    assert [share.text for share in shares if share.drop > 0] == ["大雨"] or any(
        "大" in share.text and share.drop == 1 for share in shares
    )


def test_apostrophes_and_signs():
    _, shares = word_shares("don't -- stop … 20°", lambda texts: [0.0] * len(texts))
    assert [share.text for share in shares] == ["don't", "stop", "20"]


def test_a_text_of_signs_alone_has_no_words():
    whole, shares = word_shares("… !!", lambda texts: [0.25] * len(texts))
    assert (whole, shares) == (0.25, ())
