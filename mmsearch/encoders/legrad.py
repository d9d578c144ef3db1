"""Heat maps of open_clip's own networks: LeGrad for vision transformers, Grad-CAM for ResNets.

LeGrad: Bousselham, Boggust, Chaybouti, Strobelt and Kuehne, "LeGrad: An Explainability Method for Vision Transformers
via Feature Formation Sensitivity", ICCV 2025, arXiv:2404.03214, section 3. After layer l the tokens Z^l are pooled and
projected as those of the last layer would be, which gives a score s^l; with the layer's attention A^l, (heads, n, n),

    E^l = mean over heads and asking tokens of ReLU(ds^l / dA^l),        E = mean of E^l over all layers,

of which the patches' part, as a grid, is the map. The networks compute attention in one fused step that shows nobody
its weights, so for the time of one picture it is written out here, or told to take its steps one by one.

Grad-CAM: Selvaraju et al., ICCV 2017, on what the last stage gives to the attention pooling.

Imports torch when it is used, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.types import Vectors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class _Transformer:
    """A vision transformer as LeGrad needs it.

    `blocks`: its layers. `grid`: rows and columns of patches, which are its last tokens. `vector_of`: what its end
    makes of the tokens after any layer, as the layers pass them: (dim,). `show`: makes a layer's attention give its
    weights to a function, and go on with what that returns; undone when the stack is left.
    """

    blocks: Sequence[Any]
    grid: tuple[int, int]
    vector_of: Callable[[Any], torch.Tensor]
    show: Callable[[Any, Callable[[torch.Tensor], torch.Tensor], ExitStack], None]


def heat_of_network(visual: Any, picture: torch.Tensor, targets: Vectors) -> tuple[Vectors, str] | None:
    """Maps of one picture, (t, h, w) float32, and the method; None for an architecture that neither method knows.

    Args:
        visual: the image part of a network of open_clip.
        picture: (1, 3, height, width), normalised, on the network's device and in its precision.
        targets: (t, dim) float32; a score is the inner product of one of them with the picture's unit vector.
    """
    import open_clip.modified_resnet
    import torch

    wanted = torch.from_numpy(np.ascontiguousarray(targets, np.float32)).to(picture.device)
    with torch.enable_grad():
        transformer = _of_open_clip(visual) or _of_timm(visual)
        if transformer is not None:
            maps = _legrad(visual, transformer, picture, wanted)
            return None if maps is None else (maps, "LeGrad")
        if type(visual) is open_clip.modified_resnet.ModifiedResNet:
            return _grad_cam(visual, picture, wanted), "Grad-CAM"
    return None


def _of_open_clip(visual: Any) -> _Transformer | None:
    """open_clip's own vision transformer, whose attention is torch's: one matrix for queries, keys and values."""
    import open_clip.transformer
    from torch import nn

    if type(visual) is not open_clip.transformer.VisionTransformer:
        return None
    blocks = list(visual.transformer.resblocks)
    attentions = [getattr(block, "attn", None) for block in blocks]
    if not all(isinstance(one, nn.MultiheadAttention) and one.in_proj_weight is not None for one in attentions):
        return None
    batch_first = bool(blocks[0].attn.batch_first)

    def vector_of(tokens: torch.Tensor) -> torch.Tensor:
        pooled = visual._pool(tokens if batch_first else tokens.transpose(0, 1))[0]
        vector: torch.Tensor = (pooled @ visual.proj if visual.proj is not None else pooled)[0]
        return vector

    def show(block: Any, seen: Callable[[torch.Tensor], torch.Tensor], undo: ExitStack) -> None:
        def attend(module: Any, arguments: Any, named: Any, given: Any) -> Any:
            return _attention(module, arguments[0] if arguments else named["query"], seen), None

        undo.callback(block.attn.register_forward_hook(attend, with_kwargs=True).remove)

    rows, columns = visual.grid_size
    return _Transformer(blocks, (int(rows), int(columns)), vector_of, show)


def _of_timm(visual: Any) -> _Transformer | None:
    """A vision transformer of timm (SigLIP, PE-Core), whose attention can be told not to fuse its steps."""
    trunk: Any = getattr(visual, "trunk", None)
    blocks = list(getattr(trunk, "blocks", None) or ())
    grid = getattr(getattr(trunk, "patch_embed", None), "grid_size", None)
    attentions = [getattr(block, "attn", None) for block in blocks]
    if not blocks or grid is None or not all(hasattr(trunk, name) for name in ("norm", "forward_head")):
        return None
    if not all(hasattr(one, "fused_attn") and hasattr(one, "attn_drop") for one in attentions):
        return None

    def vector_of(tokens: torch.Tensor) -> torch.Tensor:
        vector: torch.Tensor = visual.head(trunk.forward_head(trunk.norm(tokens)))[0]
        return vector

    def show(block: Any, seen: Callable[[torch.Tensor], torch.Tensor], undo: ExitStack) -> None:
        attention = block.attn
        undo.callback(setattr, attention, "fused_attn", attention.fused_attn)
        attention.fused_attn = False
        # Weights go through a dropout, which does nothing here: (1, heads, n, n).
        handle = attention.attn_drop.register_forward_hook(lambda module, given, weights: seen(weights[0])[None])
        undo.callback(handle.remove)

    return _Transformer(blocks, (int(grid[0]), int(grid[1])), vector_of, show)


def _legrad(visual: Any, transformer: _Transformer, picture: torch.Tensor, targets: torch.Tensor) -> Vectors | None:
    """The mean over layers; None where the tokens are not what the grid says, as in a network that drops some."""
    import torch

    rows, columns = transformer.grid
    fits = True
    weights: list[torch.Tensor] = []  # of the block at hand
    total = torch.zeros(len(targets), rows * columns, device=picture.device)

    def seen(attention: torch.Tensor) -> torch.Tensor:
        weights[:] = [attention.detach().requires_grad_(True)]
        return weights[0]

    def after(block: Any, arguments: Any, tokens: Any) -> Any:
        nonlocal fits
        fits = fits and 0 <= weights[0].shape[-1] - rows * columns <= _MOST_PREFIXES
        if not fits:
            return tokens.detach()
        vector = transformer.vector_of(tokens).float()
        scores = targets @ (vector / vector.norm())
        for at, score in enumerate(scores):
            (gradient,) = torch.autograd.grad(score, weights[0], retain_graph=at + 1 < len(scores))
            of_tokens = gradient.float().clamp(min=0).mean(dim=(0, 1))
            total[at] += of_tokens[len(of_tokens) - rows * columns :] / len(transformer.blocks)
        return tokens.detach()  # a layer's map asks nothing of the layers before

    with ExitStack() as undo:
        for block in transformer.blocks:
            transformer.show(block, seen, undo)
            undo.callback(block.register_forward_hook(after).remove)
        visual(picture)
    found: Vectors = total.reshape(len(targets), rows, columns).cpu().numpy()
    return found if fits else None


_MOST_PREFIXES = 16  # class and register tokens before those of patches


def _attention(module: Any, tokens: torch.Tensor, seen: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Self-attention of one sequence, whose weights, (heads, n, n), are given to `seen`."""
    import torch
    from torch.nn import functional

    one = tokens[0] if module.batch_first else tokens[:, 0]
    count, width = one.shape
    heads = module.num_heads
    parts = functional.linear(one, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)
    query, key, value = (part.reshape(count, heads, width // heads).transpose(0, 1) for part in parts)
    logits = (query @ key.transpose(1, 2)).float() / (width // heads) ** 0.5
    weights = seen(torch.softmax(logits, dim=-1))
    mixed = (weights.to(value.dtype) @ value).transpose(0, 1).reshape(count, width)
    output: torch.Tensor = module.out_proj(mixed)
    return output[None] if module.batch_first else output[:, None]


def _grad_cam(visual: Any, picture: torch.Tensor, targets: torch.Tensor) -> Vectors:
    import torch

    maps: list[torch.Tensor] = []

    def keep(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        maps[:] = [output.detach().requires_grad_(True)]
        return maps[0]

    handle = visual.layer4.register_forward_hook(keep)
    try:
        vector = visual(picture)[0].float()
    finally:
        handle.remove()
    scores = targets @ (vector / vector.norm())
    found = []
    for at, score in enumerate(scores):
        (gradient,) = torch.autograd.grad(score, maps[0], retain_graph=at + 1 < len(scores))
        channel_weights = gradient[0].float().mean(dim=(1, 2))
        found.append(torch.einsum("c,chw->hw", channel_weights, maps[0][0].detach().float()).cpu().numpy())
    stacked: Vectors = np.stack(found)
    return stacked
