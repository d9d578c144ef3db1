"""What there is to say of a training: numbers that a library keeps, lines for people, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mmsearch.training.trial import General, Measured, Trial


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """One channel whose tower was to be adapted.

    `pairs`: by where they were found. `train`, `validation`: how many pairs each. `share`: a of the adapter, 0 where no
    epoch did better than none. `rank`: of W, 0 for a whole matrix. `other`: on pairs that were named as general ones.
    """

    channel: str
    pairs: Mapping[str, int]
    train: int
    validation: int
    epochs: int
    best_epoch: int
    rank: int
    share: float
    trial: Trial
    general: General | None
    other: Trial | None

    @property
    def helps(self) -> bool:
        """Whether recall on held-out pairs rose by more than chance explains."""
        return self.trial.recall.helps


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came of a training.

    `applied`: whether the library answers with it. `notes`: what was passed over, and why.
    """

    channels: tuple[ChannelReport, ...]
    applied: bool
    loss: str
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line of JSON, which `from_json` reads back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> TrainingReport:
        """Read back what `to_json` wrote."""
        row = json.loads(line)
        channels = tuple(_channel(each) for each in row["channels"])
        return cls(**{**row, "channels": channels, "notes": tuple(row["notes"])})


def _channel(row: Mapping[str, Any]) -> ChannelReport:
    general = None if row["general"] is None else General(**row["general"])
    other = None if row["other"] is None else _trial(row["other"])
    return ChannelReport(**{**row, "trial": _trial(row["trial"]), "general": general, "other": other})


def _trial(row: Mapping[str, Any]) -> Trial:
    at = {int(depth): Measured(**each) for depth, each in row["at"].items()}
    return Trial(row["pairs"], Measured(**row["recall"]), at, Measured(**row["reciprocal"]))


def lines(report: TrainingReport) -> Iterator[str]:
    """The report for people."""
    for each in report.channels:
        yield from _channel_lines(each)
    for note in report.notes:
        yield f"Note: {note}"
    if report.applied:
        yield "Applied: the library answers with it now. To go back: mmsearch train --undo"
    elif any(each.helps for each in report.channels):
        yield "It helps, and was not applied, as asked for."
    else:
        yield "Not applied: on pairs that were held out, it does not help by more than chance explains."


def _channel_lines(each: ChannelReport) -> Iterator[str]:
    found = ", ".join(f"{count:,} from {source}" for source, count in each.pairs.items())
    yield f"{each.channel}: {sum(each.pairs.values()):,} pairs ({found})"
    what = f"W of rank {each.rank}" if each.rank else "a whole W"
    best = (
        f"the best was epoch {each.best_epoch}, with {each.share:.2f} of it" if each.best_epoch else "none did better"
    )
    yield f"  learned from {each.train:,} pairs in {each.epochs} epochs, {what}; {best}"
    yield f"  held out: {each.trial.pairs:,} pairs that share no file and no caption with those"
    yield f"    recall (mean of 1, 5 and 10, both ways)  {gain_line(each.trial.recall)}"
    for depth, measured in each.trial.at.items():
        yield f"    recall at {depth:<2}                            {gain_line(measured)}"
    yield f"    mean reciprocal rank                     {gain_line(each.trial.reciprocal)}"
    if each.general is not None:
        yield (
            f"  general questions: {each.general.questions:,} captions of all kinds find {each.general.same:.0%} of the"
            f" first ten as before, and {each.general.first:.0%} of the first"
        )
    if each.other is not None:
        yield f"  your general pairs: {each.other.pairs:,}; recall {gain_line(each.other.recall)}"


def gain_line(measured: Measured) -> str:
    """A measure before and after, and the gain with its interval, on one line."""
    gain = f"{100 * measured.gain:+.1f} ({100 * measured.low:+.1f} to {100 * measured.high:+.1f})"
    return f"{measured.before:6.1%} -> {measured.after:6.1%}   {gain} points"
