"""Heat maps of open_clip's own networks: LeGrad for vision transformers, Grad-CAM for ResNets.

LeGrad: Bousselham, Boggust, Chaybouti, Strobelt and Kuehne, "LeGrad: An Explainability Method for Vision Transformers
via Feature Formation Sensitivity", ICCV 2025, arXiv:2404.03214, section 3. After layer l the tokens Z^l are pooled and
projected as those of the last layer would be, which gives a score s^l; with the layer's attention A^l, (heads, n, n),

    E^l = mean over heads and asking tokens of ReLU(ds^l / dA^l),        E = mean of E^l over all layers,

of which the patches' part, as a grid, is the map. The networks compute attention in one fused step that shows nobody
its weights, so it is written out here for the time of one picture.

Grad-CAM: Selvaraju et al., ICCV 2017, on what the last stage gives to the attention pooling.

Imports torch when it is used, not before.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.types import Vectors

if TYPE_CHECKING:
    import torch


def heat_of_network(visual: Any, picture: torch.Tensor, targets: Vectors) -> tuple[Vectors, str] | None:
    """Maps of one picture, (t, h, w) float32, and the method; None for an architecture that neither method knows.

    Args:
        visual: the image part of a network of open_clip.
        picture: (1, 3, height, width), normalised, on the network's device and in its precision.
        targets: (t, dim) float32; a score is the inner product of one of them with the picture's unit vector.
    """
    import open_clip.modified_resnet
    import open_clip.transformer
    import torch

    wanted = torch.from_numpy(np.ascontiguousarray(targets, np.float32)).to(picture.device)
    with torch.enable_grad():
        if type(visual) is open_clip.transformer.VisionTransformer:
            blocks = list(visual.transformer.resblocks)
            if all(_is_plain(block) for block in blocks):
                return _legrad(visual, blocks, picture, wanted), "LeGrad"
        elif type(visual) is open_clip.modified_resnet.ModifiedResNet:
            return _grad_cam(visual, picture, wanted), "Grad-CAM"
    return None


def _is_plain(block: Any) -> bool:
    """Whether a block's attention is torch's own, with one matrix for queries, keys and values."""
    from torch import nn

    attention = getattr(block, "attn", None)
    return isinstance(attention, nn.MultiheadAttention) and attention.in_proj_weight is not None


def _legrad(visual: Any, blocks: list[Any], picture: torch.Tensor, targets: torch.Tensor) -> Vectors:
    import torch

    rows, columns = (int(side) for side in visual.grid_size)
    weights: list[torch.Tensor] = []  # of the block at hand
    total = torch.zeros(len(targets), rows * columns, device=picture.device)

    def attend(module: Any, arguments: Any, named: Any, given: Any) -> Any:
        tokens = arguments[0] if arguments else named["query"]
        output, attention = _attention(module, tokens)
        weights[:] = [attention]
        return output, None

    def after(block: Any, arguments: Any, tokens: Any) -> Any:
        batched = tokens if _is_batch_first(blocks) else tokens.transpose(0, 1)
        pooled = visual._pool(batched)[0]
        vector = (pooled @ visual.proj if visual.proj is not None else pooled)[0].float()
        scores = targets @ (vector / vector.norm())
        for at, score in enumerate(scores):
            (gradient,) = torch.autograd.grad(score, weights[0], retain_graph=at + 1 < len(scores))
            of_tokens = gradient.float().clamp(min=0).mean(dim=(0, 1))
            total[at] += of_tokens[len(of_tokens) - rows * columns :] / len(blocks)
        return tokens.detach()  # a layer's map asks nothing of the layers before

    with ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.attn.register_forward_hook(attend, with_kwargs=True).remove)
            hooks.callback(block.register_forward_hook(after).remove)
        visual(picture)
    found: Vectors = total.reshape(len(targets), rows, columns).cpu().numpy()
    return found


def _attention(module: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Self-attention of one sequence, and its weights (heads, n, n), from which the rest depends as from a leaf."""
    import torch
    from torch.nn import functional

    one = tokens[0] if module.batch_first else tokens[:, 0]
    count, width = one.shape
    heads = module.num_heads
    parts = functional.linear(one, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)
    query, key, value = (part.reshape(count, heads, width // heads).transpose(0, 1) for part in parts)
    logits = (query @ key.transpose(1, 2)).float() / (width // heads) ** 0.5
    weights = torch.softmax(logits, dim=-1).detach().requires_grad_(True)
    mixed = (weights.to(value.dtype) @ value).transpose(0, 1).reshape(count, width)
    output = module.out_proj(mixed)
    return (output[None] if module.batch_first else output[:, None]), weights


def _is_batch_first(blocks: list[Any]) -> bool:
    return bool(blocks[0].attn.batch_first)


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
