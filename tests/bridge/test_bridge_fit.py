"""The maps between spaces: against other implementations, and on spaces in which the truth is known."""

import re

import numpy as np
import pytest

from mmsearch.bridge import carried
from mmsearch.bridge.build import media_mean
from mmsearch.bridge.captions import FOLDS, LONGEST, captions
from mmsearch.bridge.fit import STRENGTHS, centred, fit, procrustes, ranks, ridge
from mmsearch.bridge.trial import Pairs, run_trial

LATENT, SIGHT, HEARING = 24, 40, 32


def random_rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


# --- against other implementations ---


@pytest.mark.parametrize("strength", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize("shape", [(200, 12, 7), (9, 12, 7)])
def test_ridge_is_that_of_scikit_learn(strength, shape):
    linear_model = pytest.importorskip("sklearn.linear_model")
    n, d, e = shape
    rows, targets = random_rows(n, d), random_rows(n, e, 1)
    alpha = strength * np.trace(rows.astype(float).T @ rows) / d
    known = linear_model.Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(rows, targets)
    np.testing.assert_allclose(ridge(rows, targets, strength), known.coef_.T, rtol=2e-4, atol=2e-5)


def test_a_ridge_has_a_strength():
    with pytest.raises(ValueError, match="above 0"):
        ridge(random_rows(9, 3), random_rows(9, 3), 0)


def test_procrustes_is_that_of_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    rows, targets = random_rows(50, 8), random_rows(50, 8, 1)
    np.testing.assert_allclose(procrustes(rows, targets), linalg.orthogonal_procrustes(rows, targets)[0], atol=1e-5)


@pytest.mark.parametrize(("d", "e"), [(5, 8), (8, 5)])
def test_procrustes_between_spaces_of_different_size_is_that_of_padded_ones(d, e):
    linalg = pytest.importorskip("scipy.linalg")
    rows, targets = random_rows(50, d), random_rows(50, e, 1)
    found = procrustes(rows, targets)
    small = found @ found.T if d < e else found.T @ found
    np.testing.assert_allclose(small, np.eye(min(d, e)), atol=1e-5)
    padded = [np.pad(each, ((0, 0), (0, 8 - each.shape[1]))) for each in (rows, targets)]
    known = linalg.orthogonal_procrustes(*padded)[0][:d, :e]
    assert np.trace(found.T @ rows.T @ targets) == pytest.approx(np.trace(known.T @ rows.T @ targets), rel=1e-5)


def test_ranks_by_hand_and_ties_share():
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.6], [0.3, 0.3, 0.3]])
    assert ranks(scores).tolist() == [1, 3, 2]


def test_a_mean_counts_files_and_not_segments():
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    np.testing.assert_allclose(media_mean(np.array([7, 7, 7, 9]), vectors), [1 / 3, 1 / 3])
    np.testing.assert_allclose(media_mean(np.array([7]), vectors[:1]), [1 / 2, 0])  # something is left of the only one


# --- captions ---


def test_captions_are_many_all_different_and_short():
    found = captions()
    assert 3500 < len(found) < 5000
    assert len({caption.text for caption in found}) == len(found)
    assert max(len(caption.text.split()) for caption in found) <= LONGEST
    assert {caption.fold for caption in found} == set(range(FOLDS))
    assert all(0.15 < sum(c.fold == fold for c in found) / len(found) < 0.25 for fold in range(FOLDS))
    assert not [caption.text for caption in found if "{" in caption.text or ";" in caption.text or "  " in caption.text]


def test_no_topic_is_on_both_sides_of_a_division():
    from mmsearch.bridge.captions import _topics

    topics = _topics()
    assert len(topics) > 400
    folds: dict[str, set[int]] = {}
    for number, topic in enumerate(topics):
        folds.setdefault(topic.what, set()).add(number % FOLDS)
    assert all(len(where) == 1 for where in folds.values())
    # By what a caption begins with, or goes on with: a place may well be a topic, too ("a man at a railway station").
    begin = re.compile("a photo of |the sound of |a recording of |a video of |a close-up of ")
    checked = 0
    for caption in captions():
        for part in begin.sub("", caption.text, count=1).split(", and "):
            named = [what for what in folds if f"{part} ".startswith(f"{what} ")]
            if named:
                assert caption.fold in folds[max(named, key=len)], caption
                checked += 1
    assert checked > 2000


# --- where the truth is known ---


@pytest.fixture(scope="module")
def known():
    """Meanings of captions, and of 200 things that are seen and heard."""
    rng = np.random.default_rng(5)
    folds = np.arange(1200) % FOLDS
    return rng.normal(size=(1200, LATENT)), folds, rng.normal(size=(200, LATENT))


def seen_and_heard(spaces, known, seed=1):
    texts, folds, things = known
    texts, things = centred(texts, np.zeros(LATENT)), centred(things, np.zeros(LATENT))
    rng = np.random.default_rng(seed)
    return (
        spaces.vectors(texts, "text", "hearing", rng),
        spaces.vectors(texts, "text", "sight", rng),
        folds,
        spaces.vectors(things, "audio", "hearing", rng),
        spaces.vectors(things, "image", "sight", rng),
    )


def recall(asked, answers):
    return float((ranks(asked @ answers.T) == 1).mean())


@pytest.mark.parametrize("method", ["ridge", "procrustes"])
def test_what_is_learned_from_texts_finds_almost_what_the_truth_finds(two_spaces, known, method):
    spaces = two_spaces(noise=0.25)
    heard_text, seen_text, folds, heard, seen = seen_and_heard(spaces, known)
    found = fit(heard_text, seen_text, folds, methods=[method])
    things = np.arange(len(heard))
    heard_mean, seen_mean = media_mean(things, heard), media_mean(things, seen)
    truth = (spaces.turns["hearing"].T @ spaces.turns["sight"]).astype(np.float32)
    there = recall(carried(heard, found.there, heard_mean), centred(seen, seen_mean))
    back = recall(carried(seen, found.back, seen_mean), centred(heard, heard_mean))
    best = recall(carried(heard, truth, heard_mean), centred(seen, seen_mean))
    assert best > 0.9
    assert min(there, back) > best - 0.06
    # The means are what matters: those of texts, or none, leave the vectors where they are not understood.
    by_texts = recall(carried(heard, found.there, heard_text.mean(axis=0)), centred(seen, seen_mean))
    assert by_texts < there - 0.3
    plain = ridge(heard_text, seen_text, found.strength) if found.strength else procrustes(heard_text, seen_text)
    assert recall(heard @ plain, seen) < there - 0.3


def test_without_noise_nothing_is_lost_and_without_meaning_nothing_is_found(two_spaces, known):
    heard_text, seen_text, folds, heard, seen = seen_and_heard(two_spaces(noise=0.0), known)
    things = np.arange(len(heard))
    heard_mean, seen_mean = media_mean(things, heard), media_mean(things, seen)
    found = fit(heard_text, seen_text, folds)
    assert recall(carried(heard, found.there, heard_mean), centred(seen, seen_mean)) == 1
    assert min(found.held_out.values()) > 0.99
    order = np.random.default_rng(0).permutation(len(folds))
    shuffled = fit(heard_text, seen_text[order], folds)
    assert recall(carried(heard, shuffled.there, heard_mean), centred(seen, seen_mean)) < 0.05
    assert max(shuffled.held_out.values()) < 0.05


def test_the_method_the_strength_and_the_way_back_are_those_that_held_out_captions_choose(two_spaces, known):
    heard_text, seen_text, folds, _, _ = seen_and_heard(two_spaces(noise=0.3), known)
    found = fit(heard_text, seen_text, folds)
    assert found.method == max(found.held_out, key=found.held_out.get)
    alone = {method: fit(heard_text, seen_text, folds, methods=[method]).held_out[method] for method in found.held_out}
    assert alone == found.held_out
    turned = fit(heard_text, seen_text, folds, methods=["procrustes"])
    assert turned.back_is_transpose
    np.testing.assert_array_equal(turned.back, turned.there.T)
    assert (turned.strength, turned.back_strength) == (None, None)
    assert fit(heard_text, seen_text, folds, methods=["ridge"]).strength in STRENGTHS


def test_few_captions_with_much_noise_want_a_strong_ridge(two_spaces, known):
    heard_text, seen_text, folds, _, _ = seen_and_heard(two_spaces(noise=0.6), known)
    weak = fit(heard_text, seen_text, folds, methods=["ridge"]).strength
    strong = fit(heard_text[:60], seen_text[:60], folds[:60], methods=["ridge"]).strength
    assert strong > weak


def test_folds_are_needed():
    rows = random_rows(10, 3)
    with pytest.raises(ValueError, match="two parts or more"):
        fit(rows, rows, [0] * 10)


def test_nothing_left_is_zeros_and_not_noise():
    across = np.eye(3, dtype=np.float32)
    mean = np.array([1, 0, 0], np.float32)
    rows = carried(np.array([[1, 0, 0], [0, 1, 0]], np.float32), across, mean)
    assert not rows[0].any()
    assert np.linalg.norm(rows[1]) == pytest.approx(1, abs=1e-6)


# --- the trial ---


def trial_of(spaces, known, *, per_video=2, maps=None):
    heard_text, seen_text, folds, heard, seen = seen_and_heard(spaces, known)
    found = fit(heard_text, seen_text, folds, methods=["ridge"])
    x, y = centred(heard_text, heard_text.mean(axis=0)), centred(seen_text, seen_text.mean(axis=0))
    order = np.random.default_rng(3).permutation(len(x))
    shuffled = ridge(x, y[order], found.strength), ridge(y[order], x, found.strength)
    plain = ridge(heard_text, seen_text, found.strength), ridge(seen_text, heard_text, found.strength)
    videos = np.repeat(np.arange(1, len(heard) // per_video + 1), per_video)
    asked: list[np.ndarray] = []

    def means(without):
        asked.append(without)
        kept = ~np.isin(videos, without)
        return media_mean(videos[kept], seen[kept]), media_mean(videos[kept], heard[kept])

    made = maps or (found.there, found.back)
    return run_trial(Pairs(videos, seen, heard), made, plain, [shuffled], means), asked, shuffled


def test_a_trial_tells_a_bridge_from_no_bridge(two_spaces, known):
    spaces = two_spaces(noise=0.25)
    trial, asked, shuffled = trial_of(spaces, known)
    assert (trial.pairs, trial.videos) == (200, 100)
    for direction in (trial.sound_to_visual, trial.visual_to_sound):
        assert direction.bridge.recall_at_1 > 0.8
        assert direction.bridge.median_rank == 1
        assert direction.uncentred.recall_at_1 < direction.bridge.recall_at_1 - 0.2
        assert direction.shuffled.recall_at_10 < 0.2
        assert 60 < direction.shuffled.median_rank < 140
        chance = direction.chance
        assert (chance.recall_at_1, chance.recall_at_10, chance.median_rank) == (1 / 200, 1 / 20, 100.5)
        assert direction.p_value < 1e-6
        assert trial.verdict(direction) == "better"
    # Every video's pairs are held against means without it: the parts are whole videos, and all of them.
    assert sorted(np.concatenate(asked).tolist()) == list(range(1, 101))
    nothing, _, _ = trial_of(spaces, known, maps=shuffled)
    assert nothing.verdict(nothing.sound_to_visual) == "unclear"
    assert nothing.sound_to_visual.p_value > 0.05


def test_chance_is_called_better_than_chance_about_one_time_in_twenty():
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        pairs = Pairs(np.repeat(np.arange(20), 3), *(centred(rng.normal(size=(60, 8)), np.zeros(8)) for _ in range(2)))
        maps = (rng.normal(size=(8, 8)).astype(np.float32),) * 2
        zero = np.zeros(8, np.float32)
        trial = run_trial(pairs, maps, maps, [maps], lambda _: (zero, zero))  # noqa: B023
        called += trial.verdict(trial.sound_to_visual) == "better"
    assert 2 <= called <= 22


def test_too_few_videos_are_called_so(two_spaces, known):
    texts, folds, things = known
    trial, _, _ = trial_of(two_spaces(), (texts, folds, things[:18]))
    assert trial.videos == 9
    assert trial.verdict(trial.sound_to_visual) == "too few"
    one, _, _ = trial_of(two_spaces(), (texts, folds, things[:2]))
    assert (one.videos, one.sound_to_visual, one.verdict(None)) == (1, None, "too few")
