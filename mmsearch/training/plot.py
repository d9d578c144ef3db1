"""The course of a training as a picture: losses and held-out recall by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from indexer.errors import UsageError
from mmsearch.training.fit import Epoch


def loss_plot(histories: Mapping[str, Sequence[Epoch]]) -> bytes:
    """A PNG, one row for each channel.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("a plot needs matplotlib: pip install 'mmsearch[eval]'") from error
    figure = Figure(figsize=(7, 3.2 * max(1, len(histories))), dpi=140, layout="constrained")
    for number, (channel, epochs) in enumerate(histories.items()):
        axes = figure.add_subplot(max(1, len(histories)), 1, number + 1)
        numbers = [epoch.number for epoch in epochs]
        axes.plot(numbers, [epoch.loss for epoch in epochs], color="#2f62d9", label="loss, training")
        axes.plot(
            numbers,
            [epoch.validation_loss for epoch in epochs],
            color="#2f62d9",
            linestyle="--",
            label="loss, held out",
        )
        axes.set(xlabel="epoch", ylabel="loss", title=channel)
        other = axes.twinx()
        other.plot(numbers, [epoch.recall for epoch in epochs], color="#c2570c", label="recall, held out")
        other.set_ylabel("recall")
        drawn = [*axes.get_lines(), *other.get_lines()]
        axes.legend(drawn, [str(line.get_label()) for line in drawn], fontsize="small")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
