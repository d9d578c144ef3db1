"""Building open_clip's networks and reading weights into them. Imports torch when it is used, not before."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from indexer.errors import ModelError, WeightsError
from mmsearch.encoders.checkpoint import check_safetensors
from mmsearch.encoders.open_clip_source import Source


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
