"""How an evaluation is made, and what it says while it is at work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from indexer.errors import CancelledError, UsageError
from mmsearch.evaluation.metrics import DEFAULT_MEASURES, Measure, parse_measures

Ranking = Literal["model", "engine"]
Pooling = Literal["best", "mean"]

RANKINGS: Mapping[Ranking, str] = MappingProxyType(
    {
        "model": "the model alone: cosine similarity in the native channel",
        "engine": "the engine, as queries are answered: calibrated channels and words; near-identical files not folded",
    }
)
POOLINGS: Mapping[Pooling, str] = MappingProxyType(
    {"best": "a file scores what its best segment does", "mean": "a file is the mean of its segments"}
)

DEPTH = 100
"""Results of each query that are kept, and that the engine is asked for, when nobody says how many. With ranking
"model" ranks are over the whole gallery in any case."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes:
        ranking: "model" or "engine", see `RANKINGS`. None takes the engine for one's own files and the model for data
            sets, as papers do.
        pooling: how the segments of a file (frames, stretches of sound) make one score, with ranking "model".
        k: what comes after so many results does not count. None: all of the gallery counts with ranking "model", and
            the first 100 with "engine".
        measures: names in ir_measures' notation or in plain words, or `Measure`s.
        seed: of the resampling behind intervals and tests.
        cache: the folder for galleries and vectors; one in the cache directory when None.
        keep: whether they are kept. If not, they are made in a temporary folder.

    Raises:
        UsageError: one of these makes no sense.
    """

    ranking: Ranking | None = None
    pooling: Pooling = "best"
    k: int | None = None
    measures: tuple[str | Measure, ...] = DEFAULT_MEASURES
    seed: int = 0
    cache: Path | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        if self.ranking not in (None, *get_args(Ranking)):
            raise UsageError(f"there is no ranking {self.ranking!r}; there are {', '.join(RANKINGS)}")
        if self.pooling not in get_args(Pooling):
            raise UsageError(f"there is no pooling {self.pooling!r}; there are {', '.join(POOLINGS)}")
        if self.k is not None and (type(self.k) is not int or self.k < 1):
            raise UsageError(f"k is the number of results that count, a whole number from 1; got {self.k!r}")
        if type(self.seed) is not int or self.seed < 0:
            raise UsageError(f"a seed is a whole number from 0, got {self.seed!r}")
        if not self.measures:
            raise UsageError("name at least one measure, such as recall@10")
        object.__setattr__(self, "measures", parse_measures(self.measures))


@dataclass(frozen=True, slots=True)
class EvaluationProgress:
    """How far an evaluation is: what it is doing, how many are done, and of how many, where that is known."""

    stage: str
    done: int
    total: int | None = None


OnProgress = Callable[[EvaluationProgress], None]


@dataclass(frozen=True, slots=True)
class Watch:
    """Whom to tell, and who may stop it."""

    on_progress: OnProgress | None = None
    cancel: threading.Event | None = None

    def tell(self, stage: str, done: int, total: int | None = None) -> None:
        """Say how far it is; and end here if somebody has stopped it.

        Raises:
            CancelledError: somebody has.
        """
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("the evaluation was stopped; what was encoded is kept")
        if self.on_progress is not None:
            self.on_progress(EvaluationProgress(stage, done, total))
