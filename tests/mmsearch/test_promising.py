"""Which of the files that words found are worth scoring: the same as when all of them are looked at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.promising import promising_of
from mmsearch.rank import Words

NUMBERS = st.integers(-40, 40).map(lambda number: number / 8)
SHARES = st.integers(0, 8).map(lambda number: number / 8)


class Found(dict):
    """Words of contents, with bounds above what they are worth."""

    def __init__(self, evidence, bounds, literal):
        super().__init__({content: Words(worth) for content, worth in evidence.items() if worth})
        self.at_most, self.literal, self.asked = bounds, frozenset(literal), set()

    def __getitem__(self, content):
        self.asked.add(content)
        return super().__getitem__(content)


@st.composite
def cases(draw):
    contents = range(1, 1 + draw(st.integers(0, 24)))
    keys = {content: draw(NUMBERS) for content in contents if draw(st.booleans())}
    bounds = {
        content: draw(st.integers(0, 48)) / 8 for content in contents if content not in keys or draw(st.booleans())
    }
    evidence = {content: bound * draw(SHARES) for content, bound in bounds.items()}
    literal = [content for content, worth in evidence.items() if worth and draw(st.integers(0, 9)) == 0]
    unseen = draw(st.one_of(st.just(-np.inf), st.just(min(keys.values(), default=0.0) - draw(SHARES))))
    return keys, Found(evidence, bounds, literal), unseen, draw(st.integers(1, 6))


PLAN = SimpleNamespace(unheard=-3.0, tie=1e-4)


@given(cases())
def test_nothing_that_words_can_lift_among_the_best_is_left_out(case):
    keys, words, unseen, count = case
    found = sorted(keys, key=lambda content: -keys[content])[:count]
    promising = promising_of(found, keys, unseen, words, count, PLAN)
    assert set(found) <= set(promising)
    lifted = sorted((key + (words[one].evidence if one in words else 0) for one, key in keys.items()), reverse=True)
    needed = lifted[count - 1] - 2 * PLAN.tie if len(lifted) >= count else -np.inf
    able = {
        one
        for one in words
        if one in words.literal or max(keys.get(one, PLAN.unheard), unseen) + words[one].evidence >= needed
    }
    assert set(promising) == able | set(found)


def test_what_cannot_come_among_the_best_is_not_read():
    keys = {content: 10.0 - content for content in range(8)}
    words = Found({1: 1.0, 7: 2.0, 100: 2.0}, {1: 1.0, 7: 2.0, 100: 6.0}, [])
    assert promising_of([0, 1], keys, 1.0, words, 2, PLAN) == [1, 0]
    assert words.asked == {1}
    assert promising_of([0, 1], keys, 4.0, words, 2, PLAN) == [1, 0]
    assert words.asked == {1, 100}  # it might have been a match


def test_all_are_read_where_any_could_be_the_best():
    words = Found({1: 1.0, 2: 0.5}, {1: 2.0, 2: 2.0, 3: 2.0}, [])
    assert promising_of([], {}, -np.inf, words, 5, PLAN) == [1, 2]
    assert promising_of([4], {4: 1.0}, np.inf, words, 5, PLAN) == [1, 2, 4]
