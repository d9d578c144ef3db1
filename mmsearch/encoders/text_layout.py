"""The text towers of open_clip and transformers, in the form that `text_forward.py` computes.

This reads modules that are loaded, so that it does not matter which file format they came from. What it does not know
it refuses, and what it makes of the rest is held against the network before it is used (`kept_text.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mmsearch.encoders.text_forward import Pool, TextLayout, tensor_names

if TYPE_CHECKING:
    from torch import Tensor

Read = tuple[TextLayout, "dict[str, Tensor]"]


class UnknownTowerError(Exception):
    """A text tower of a kind that is not known here; the message says what is unusual about it."""


def read_text_tower(network: Any) -> Read:
    """The layout of a network's text tower, and its tensors by our names, which share the network's memory.

    Args:
        network: open_clip's CLIP or CustomTextCLIP, or one of transformers' text models with a projection.

    Raises:
        UnknownTowerError: it is none that is known.
    """
    kind = type(network).__name__
    if kind not in _READERS:
        raise UnknownTowerError(f"its class is {kind}")
    try:
        layout, tensors = _READERS[kind](network)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnknownTowerError(f"{kind} is not built as expected: {type(error).__name__}: {error}") from error
    missing = tensor_names(layout) - tensors.keys()
    if missing:
        raise UnknownTowerError(f"{kind} has no {min(missing)}")
    return layout, tensors


# --- open_clip ---


def _open_clip(network: Any) -> Read:
    own_text = type(network).__name__ == "CustomTextCLIP"
    text = network.text if own_text else network
    if own_text and type(text).__name__ != "TextTransformer":
        raise UnknownTowerError(f"its text tower is of the class {type(text).__name__}")
    if getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
        raise UnknownTowerError("it reads a token of its own, or masks the padding")
    blocks = list(text.transformer.resblocks)
    tensors: dict[str, Tensor] = {"tokens": text.token_embedding.weight, "positions": text.positional_embedding}
    _put(tensors, "norm", text.ln_final)
    for name, block in zip(_layer_names(), blocks, strict=False):
        if type(block).__name__ != "ResidualAttentionBlock" or type(block.ls_1).__name__ != "Identity":
            raise UnknownTowerError(f"its layers are of the class {type(block).__name__}, or scale what they add")
        tensors[f"{name}.qkv.weight"], tensors[f"{name}.qkv.bias"] = block.attn.in_proj_weight, block.attn.in_proj_bias
        _put(tensors, f"{name}.attention_norm", block.ln_1)
        _put(tensors, f"{name}.out", block.attn.out_proj)
        _put(tensors, f"{name}.mlp_norm", block.ln_2)
        _put(tensors, f"{name}.up", block.mlp.c_fc)
        _put(tensors, f"{name}.down", block.mlp.c_proj)
    projection = text.text_projection
    if hasattr(projection, "weight"):
        _put(tensors, "head.0", projection)
    elif projection is not None:
        tensors["head.0.weight"] = projection.T
    pool = text.pool_type if own_text else text.text_pool_type
    pools: dict[str, Pool] = {"argmax": "end", "eos": "end", "first": "first", "last": "last"}
    eos_id = text.eos_id if own_text else text.text_eos_id
    return TextLayout(
        layers=len(blocks),
        heads=blocks[0].attn.num_heads,
        epsilon=blocks[0].ln_1.eps,
        activation=_activation(blocks[0].mlp.gelu),
        causal=text.attn_mask is not None,
        norm_first=True,
        pool=pools[pool],
        head=() if projection is None else ("",),
        end_id=eos_id if pool == "eos" else None,
    ), tensors


# --- transformers ---


def _transformers_clip(network: Any) -> Read:
    layout, tensors = _transformers_encoder(network.text_model)
    _put(tensors, "head.0", network.text_projection)
    # As CLIPTextModel.forward chooses; 2 is what old configurations say, and wrong.
    end = network.text_model.eos_token_id
    return TextLayout(**{**layout, "causal": True, "pool": "end", "end_id": None if end == 2 else end}), tensors


def _transformers_siglip(network: Any) -> Read:
    text = getattr(network, "text_model", network)
    layout, tensors = _transformers_encoder(text)
    _put(tensors, "head.0", text.head)
    return TextLayout(**{**layout, "causal": False, "pool": "last"}), tensors


def _transformers_encoder(text: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What CLIP and SigLIP have in common."""
    embeddings, blocks = text.embeddings, list(text.encoder.layers)
    tensors: dict[str, Tensor] = {
        "tokens": embeddings.token_embedding.weight,
        "positions": embeddings.position_embedding.weight,
    }
    _put(tensors, "norm", text.final_layer_norm)
    for name, block in zip(_layer_names(), blocks, strict=False):
        attention = block.self_attn
        _put_joined(tensors, f"{name}.qkv", attention.q_proj, attention.k_proj, attention.v_proj)
        _put(tensors, f"{name}.attention_norm", block.layer_norm1)
        _put(tensors, f"{name}.out", attention.out_proj)
        _put(tensors, f"{name}.mlp_norm", block.layer_norm2)
        _put(tensors, f"{name}.up", block.mlp.fc1)
        _put(tensors, f"{name}.down", block.mlp.fc2)
    return {
        "layers": len(blocks),
        "heads": blocks[0].self_attn.num_heads,
        "epsilon": blocks[0].layer_norm1.eps,
        "activation": _activation(blocks[0].mlp.activation_fn),
        "norm_first": True,
        "head": ("",),
    }, tensors


def _transformers_clap(network: Any) -> Read:
    """RoBERTa, its pooler, and two linear layers. All tokens are of type 0, and none is padding."""
    text, projection = network.text_model, network.text_projection
    embeddings, blocks = text.embeddings, list(text.encoder.layer)
    tensors: dict[str, Tensor] = {
        "tokens": embeddings.word_embeddings.weight,
        "positions": embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0],
    }
    _put(tensors, "norm", embeddings.LayerNorm)
    for name, block in zip(_layer_names(), blocks, strict=False):
        attention = block.attention.self
        _put_joined(tensors, f"{name}.qkv", attention.query, attention.key, attention.value)
        _put(tensors, f"{name}.attention_norm", block.attention.output.LayerNorm)
        _put(tensors, f"{name}.out", block.attention.output.dense)
        _put(tensors, f"{name}.mlp_norm", block.output.LayerNorm)
        _put(tensors, f"{name}.up", block.intermediate.dense)
        _put(tensors, f"{name}.down", block.output.dense)
    for step, layer in enumerate((text.pooler.dense, projection.linear1, projection.linear2)):
        _put(tensors, f"head.{step}", layer)
    return TextLayout(
        layers=len(blocks),
        heads=blocks[0].attention.self.num_attention_heads,
        epsilon=embeddings.LayerNorm.eps,
        activation=_activation(blocks[0].intermediate.intermediate_act_fn),
        causal=False,
        norm_first=False,
        pool="first",
        head=("tanh", _activation(projection.activation), ""),
        pad_id=embeddings.padding_idx,
    ), tensors


_READERS: dict[str, Callable[[Any], Read]] = {
    "CLIP": _open_clip,
    "CustomTextCLIP": _open_clip,
    "CLIPTextModelWithProjection": _transformers_clip,
    "SiglipTextModel": _transformers_siglip,
    "ClapTextModelWithProjection": _transformers_clap,
}
"""Every network that is known, by the name of its class."""

_ACTIVATION_CLASSES = {
    "QuickGELU": "quick_gelu",
    "QuickGELUActivation": "quick_gelu",
    "GELUActivation": "gelu",
    "GELUTanh": "tanh_gelu",
    "PytorchGELUTanh": "tanh_gelu",
    "NewGELUActivation": "tanh_gelu",
    "ReLU": "relu",
}


def _activation(module: Any) -> str:
    kind = type(module).__name__
    if kind == "GELU":
        return "tanh_gelu" if module.approximate == "tanh" else "gelu"
    if kind not in _ACTIVATION_CLASSES:
        raise UnknownTowerError(f"its activation is {kind}")
    return _ACTIVATION_CLASSES[kind]


def _layer_names() -> Iterator[str]:
    layer = 0
    while True:
        yield f"layers.{layer}"
        layer += 1


def _put(tensors: dict[str, Tensor], name: str, layer: Any) -> None:
    tensors[f"{name}.weight"] = layer.weight
    if layer.bias is not None:
        tensors[f"{name}.bias"] = layer.bias


def _put_joined(tensors: dict[str, Tensor], name: str, *layers: Any) -> None:
    import torch

    tensors[f"{name}.weight"] = torch.cat([layer.weight for layer in layers])
    if any(layer.bias is not None for layer in layers):
        zeros = [layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias for layer in layers]
        tensors[f"{name}.bias"] = torch.cat(zeros)
