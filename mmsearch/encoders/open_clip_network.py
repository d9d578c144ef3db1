"""Building open_clip's networks and reading weights into them. Imports torch when it is used, not before."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError, WeightsError
from mmsearch.encoders.checkpoint import check_safetensors
from mmsearch.encoders.open_clip_source import Source

if TYPE_CHECKING:
    from torch import Tensor


def build(source: Source) -> Any:
    """The network of a configuration: open_clip.create_model, short of the weights. They are whatever was in memory."""
    import open_clip

    config = copy.deepcopy(source.config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    # Else open_clip would fetch weights for parts of the model, which the checkpoint then replaces.
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    own_text = config.pop("custom_text", False) or "hf_model_name" in text
    kind: Any = open_clip.CLIP
    if own_text:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        with _without_random_weights():
            return kind(**config)
    except Exception as error:  # a wrong value ends in whatever the layer that gets it raises
        raise ModelError(
            f"open_clip cannot build open_clip:{source.name} ({brief(error)}); is the configuration of a newer version?"
        ) from error


def load(network: Any, path: Path, *, exact: bool) -> None:
    """Read a file of weights into a network: all of its tensors, and nothing else.

    With `exact`, nothing is fitted: open_clip would stretch position embeddings of another picture size without a word.
    The tensors of a safetensors file stay in it, mapped: a text query reads only those of the text tower.
    """
    import open_clip

    if path.suffix == ".safetensors":
        shapes = check_safetensors(path)
        wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        others = [
            f"{name} has shape {shapes[name]}, expected {wanted[name]}"
            for name in wanted
            if name in shapes and shapes[name] != wanted[name] and not name.startswith("logit_")
        ]
        if others and exact:
            raise WeightsError(
                f"{path} holds the weights of another architecture ({len(others)} tensors differ): {others[0]};"
                " name the architecture that they were made with"
            )
    # open_clip.load_checkpoint knows the older formats, but copies what it reads. With `assign` the network takes the
    # tensors as they are.
    network.load_state_dict = partial(network.load_state_dict, assign=True)
    try:
        open_clip.load_checkpoint(network, str(path), strict=True, weights_only=True)
    except Exception as error:  # missing keys, shapes, pickles of other things: each raises something of its own
        raise WeightsError(
            f"{path} cannot be loaded as {type(network).__name__} of open_clip: {brief(error)}; expected the weights"
            " of exactly this architecture, as safetensors or as a pickle of nothing but tensors"
        ) from error
    finally:
        del network.load_state_dict


def tokens_read(network: Any, ids: NDArray[np.int64]) -> int:
    """How many of a text's token ids have a say in its vector: all, or those up to the end-of-text token.

    Under a causal mask, no token sees those behind it, and CLIP takes the vector from the end-of-text token (Radford et
    al., ICML 2021, section 2.4), which has the highest id. What pads the text after it changes nothing.
    """
    import open_clip

    causal = type(network) is open_clip.CLIP and network.attn_mask is not None and network.text_pool_type == "argmax"
    return int(ids.argmax()) + 1 if causal else len(ids)


def cut(network: Any, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The ids of some texts without what is read of none of them: (texts, tokens)."""
    return np.stack(ids)[:, : max(tokens_read(network, row) for row in ids)]


def encode_text(network: Any, ids: Tensor) -> Tensor:
    """The network's `encode_text`: (texts, tokens) to (texts, dim).

    The ids may have been cut to as many tokens as the longest of the texts has by `tokens_read`.
    """
    tokens = ids.shape[1]
    if tokens == getattr(network, "context_length", tokens):
        whole: Tensor = network.encode_text(ids, normalize=False)
        return whole
    dtype = network.transformer.get_cast_dtype()
    x = network.token_embedding(ids).to(dtype) + network.positional_embedding[:tokens].to(dtype)
    x = network.ln_final(network.transformer(x, attn_mask=network.attn_mask[:tokens, :tokens]))
    x = x[range(len(ids)), ids.argmax(dim=-1)]  # where the end-of-text token is
    features: Tensor = x
    projection = network.text_projection
    if projection is None:
        return features
    projected: Tensor = projection(x) if callable(projection) else x @ projection
    return projected


def float32_text(network: Any, prepared: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """The vectors of token ids, (n, dim) float32, computed in float32 on the processor whatever the network does."""
    import torch

    weight = network.get_parameter("logit_scale")
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        network = copy.deepcopy(network, {id(network.visual): None}).to("cpu", torch.float32)  # the text tower alone
    with torch.inference_mode():
        rows = [encode_text(network, torch.from_numpy(cut(network, [ids])))[0] for ids in prepared]
        vectors: NDArray[np.float32] = torch.stack(rows).numpy()
    return vectors


def brief(error: Exception) -> str:
    """What an error says, on one line and not at length: torch names every tensor."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."


@contextmanager
def _without_random_weights() -> Iterator[None]:
    """Leave out the drawing of random weights, which the checkpoint's replace: seconds, for a few hundred million."""
    from torch import Tensor
    from torch.nn import Parameter, init
    from torch.overrides import TorchFunctionMode

    # timm draws in steps, of which the last three are. On what is no parameter, any of them may mean something else.
    draws: set[Any] = {init.uniform_, init.normal_, init.kaiming_uniform_, Tensor.uniform_, Tensor.normal_}
    draws |= {Tensor.erfinv_, Tensor.mul_, Tensor.add_, Tensor.clamp_}

    class LeaveOut(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            target = args[0] if args else kwargs.get("tensor")
            return target if func in draws and isinstance(target, Parameter) else func(*args, **kwargs)

    with LeaveOut():
        yield
