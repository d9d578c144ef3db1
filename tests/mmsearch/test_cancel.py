"""A search ends in the middle where it is told to, and leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.errors import CancelledError
from indexer.testing import FakeEncoder
from indexer.types import ImageSample, Sample, TowerSpec
from mmsearch import Engine, Query, literal
from mmsearch import engine as engine_module
from mmsearch import search as search_module
from mmsearch.cancel import check_of
from mmsearch.sharing import Turn
from mmsearch.terms import Term


class NthTime(threading.Event):
    """An event that is set when it is looked at for the nth time, and counts how often it is."""

    def __init__(self, nth: float) -> None:
        super().__init__()
        self.nth, self.looks = nth, 0
        self._counting = threading.Lock()

    def is_set(self) -> bool:
        with self._counting:
            self.looks += 1
            return self.looks > self.nth


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    folder = tmp_path_factory.mktemp("cancel")
    make.image(folder / "media" / "red.png", (255, 0, 0))
    make.image(folder / "media" / "half.png", (255, 0, 0), (0, 255, 0))
    make.tones(folder / "media" / "talk.wav", ["cat", "red", "dog"])
    (folder / "media" / "note.txt").write_text("a red cat by the sea")
    with Engine.open(folder / "library", model=FakeEncoder()) as engine:
        engine.index(folder / "media")
    return folder


@pytest.fixture
def engine(shelf: Path) -> Iterator[Engine]:
    with Engine.open(shelf / "library", model=FakeEncoder()) as found:
        yield found


@pytest.fixture
def stages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of stages as they begin."""
    begun: list[str] = []

    def watch(holder: Any, name: str) -> None:
        before: Callable[..., Any] = getattr(holder, name)

        def watched(*args: Any, **how: Any) -> Any:
            begun.append(name)
            return before(*args, **how)

        monkeypatch.setattr(holder, name, watched)

    watch(engine.encoder, "encode")
    watch(engine_module, "make_plan")
    watch(engine.library, "search")
    watch(literal, "find_words")
    for name in ("segments_of", "contents_of", "files_of", "hits_of"):
        watch(search_module, name)
    return begun


def picture(colour: tuple[int, int, int]) -> Term:
    import numpy as np

    return Term.of_sample(ImageSample(np.full((8, 8, 3), colour, np.uint8)), label="sent")


QUERIES = {
    "words": Query.of_text("red cat"),
    "pooled": Query.parse("red + cat - green"),
    "distance": Query.of_text("red", metric="euclidean"),
    "picture and words": Query((picture((250, 0, 0)), Term("text", "sea"))),
}


@pytest.mark.parametrize("name", QUERIES)
def test_wherever_it_ends_nothing_after_that_is_begun(engine: Engine, stages: list[str], name: str) -> None:
    """Ended at its first look, at its second and so on: each time what has run is the beginning of the whole."""
    query = QUERIES[name]
    never = NthTime(float("inf"))
    whole = engine.query(query, cancel=never)
    all_stages, looks = beside(stages), never.looks
    assert looks >= 8
    assert {"encode", "search", "segments_of", "files_of", "hits_of"} <= set(all_stages)
    reached = []
    for nth in range(looks):
        stages.clear()
        with pytest.raises(CancelledError, match="cancelled before it was done"):
            engine.query(query, cancel=NthTime(nth))
        begun = beside(stages)
        assert begun == all_stages[: len(begun)]
        assert "hits_of" not in begun
        reached.append(len(begun))
    assert reached[0] == 0
    assert max(reached) >= len(all_stages) - 2  # it is looked at to the end, and not only at the beginning
    again = engine.query(query)  # no lock is held, and no half of a stage is remembered
    assert [(hit.path, hit.score) for hit in again] == [(hit.path, hit.score) for hit in whole]


def beside(stages: list[str]) -> list[str]:
    """Without what runs in a thread beside the others, at any time."""
    return [stage for stage in stages if stage != "find_words"]


def test_one_that_is_set_before_costs_nothing(engine: Engine, stages: list[str], shelf: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    red = shelf / "media" / "red.png"
    for ask in (
        lambda: engine.query("red", cancel=cancel),
        lambda: engine.similar(red, cancel=cancel),
        lambda: engine.explain("red", red, cancel=cancel),
    ):
        with pytest.raises(CancelledError):
            ask()
    assert stages == []
    cancel.clear()
    assert len(engine.similar(red, cancel=cancel)) > 0
    assert engine.explain("red", red, cancel=cancel).terms


def test_an_explanation_ends_between_two_calls_of_the_model(engine: Engine, shelf: Path) -> None:
    cancel, calls = threading.Event(), []
    encoder = engine.encoder
    before = encoder.encode

    def encode(tower: TowerSpec, prepared: Any) -> Any:
        calls.append(tower.modality)
        if calls.count("image") == 1:
            cancel.set()
        return before(tower, prepared)

    encoder.encode = encode  # type: ignore[method-assign]
    with pytest.raises(CancelledError):
        engine.explain("red", shelf / "media" / "half.png", cancel=cancel)
    assert calls == ["text", "image"]


def test_batches_that_were_not_begun_are_not(engine: Engine) -> None:
    """Of a query of many pictures, what is encoded is what was when it ended."""
    cancel, batches = threading.Event(), []
    encoder = engine.encoder
    before = encoder.encode

    def encode(tower: TowerSpec, prepared: Any) -> Any:
        batches.append(len(prepared))
        cancel.set()
        return before(tower, prepared)

    encoder.encode = encode  # type: ignore[method-assign]
    frames: list[Sample] = list(picture((250, 0, 0)).samples) * 100
    with pytest.raises(CancelledError):
        engine.query(Query((Term.of_sample(*frames, label="clip"),)), cancel=cancel)
    assert batches == [32]


def test_who_waits_for_a_turn_and_leaves_does_not_take_it() -> None:
    turn, cancel, ran = Turn(), threading.Event(), []

    def ask() -> None:
        with pytest.raises(CancelledError), turn.while_wanted(check_of(cancel)):
            ran.append("asked")

    with turn:
        waiting = threading.Thread(target=ask)
        waiting.start()
        cancel.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert ran == []
    with turn.while_wanted(check_of(None)), pytest.raises(CancelledError), turn.while_wanted(check_of(cancel)):
        raise AssertionError("it was taken twice")
