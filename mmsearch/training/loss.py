"""Contrastive losses, with what is no negative masked. Everything is a torch tensor; torch is imported by the caller.

Symmetric InfoNCE with a learned temperature: Radford et al., Learning Transferable Visual Models From Natural Language
Supervision (CLIP), ICML 2021, figure 3. The sigmoid loss: Zhai et al., Sigmoid Loss for Language Image Pre-Training
(SigLIP), ICCV 2023, algorithm 1. Two pairs that have one side in common are no negatives of each other: a caption that
is said of two pictures is right for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

LossName = Literal["infonce", "sigmoid"]

LOSSES: tuple[LossName, ...] = ("infonce", "sigmoid")

MOST_SCALE = 100.0
"""The inverse temperature's upper bound: CLIP, section 2.5."""

FIRST_SCALE = {"infonce": 1 / 0.07, "sigmoid": 10.0}
"""Where the inverse temperature begins: CLIP, section 2.5; SigLIP, section 3.2."""

FIRST_BIAS = -10.0
"""Where SigLIP's bias begins: section 3.2."""


def no_negatives(queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Which pairs of a batch are no negatives of each other, though they are not the same: (n, n) bool.

    Args:
        queries: (n,) int64, equal for pairs whose query is the same.
        items: (n,) int64, equal for pairs whose item is the same.
    """
    import torch

    same = (queries[:, None] == queries[None, :]) | (items[:, None] == items[None, :])
    return same & ~torch.eye(len(queries), dtype=torch.bool, device=queries.device)


def infonce(cosines: torch.Tensor, scale: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE: the mean of the cross entropies of rows and of columns.

    Args:
        cosines: (n, n), of each query with each item; pairs are on the diagonal.
        scale: the inverse temperature.
        masked: (n, n) bool, what does not count.
    """
    import torch
    from torch.nn import functional

    logits = (scale * cosines).masked_fill(masked, float("-inf"))
    right = torch.arange(len(cosines), device=cosines.device)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def sigmoid(cosines: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """The sigmoid loss: each pair is asked by itself whether it belongs together; the sum, by the number of queries."""
    import torch
    from torch.nn import functional

    signs = 2 * torch.eye(len(cosines), device=cosines.device) - 1
    each = -functional.logsigmoid(signs * (scale * cosines + bias))
    return each.masked_fill(masked, 0.0).sum() / len(cosines)
