"""PE-AV's network, in parts that load by themselves: the text model with its heads, the video part, the audio part.

transformers' own `get_text_audio_embeds`, `get_text_video_embeds` and `get_video_embeds` call methods that submodels do
not have (5.23), so encoders and heads are called here one by one. With timm 1.0.31, `PeAudioVideoModel.from_pretrained`
fails over a buffer that it takes for a tied weight; parts tie nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsearch.encoders.checkpoint import check_safetensors
from mmsearch.encoders.precision import Precision
from mmsearch.encoders.transformers_folder import Checkpoint
from mmsearch.encoders.transformers_half import Network, load_part, part_class


@dataclass(frozen=True, slots=True)
class _Part:
    """What loads by itself. `prefixes`: what its tensors are called, each with other names that are tied to it."""

    name: str
    prefixes: tuple[tuple[str, ...], ...]
    make: Callable[[Any], Any]


class PeNetwork(Network):
    """One part of the model. `run`: given the part and its inputs, makes the vectors, not yet of length 1."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dim: int,
        precision: Precision,
        part: _Part,
        run: Callable[[Any, dict[str, Any]], Any],
    ) -> None:
        super().__init__(checkpoint, dim, precision)
        self._part = part
        self._run = run

    def _load(self) -> Any:
        checkpoint = self.checkpoint
        return load_part(
            checkpoint,
            f"PeAudioVideoModel ({self._part.name})",
            lambda: self._part.make(checkpoint.config),
            precision=self.precision,
            renamed=_renamed(self._part, checkpoint.weight_files()),
        )

    def _features(self, model: Any, tensors: dict[str, Any]) -> Any:
        return self._run(model, tensors)


class _SameText(PeNetwork):
    """The text part once more, with another head: it is loaded once for both."""

    def __init__(self, loaded: PeNetwork, run: Callable[[Any, dict[str, Any]], Any]) -> None:
        super().__init__(loaded.checkpoint, loaded.dim, loaded.precision, loaded._part, run)
        self._loaded = loaded

    def _load(self) -> Any:
        return self._loaded._model


def _text(model: Any, tensors: dict[str, Any]) -> Any:
    # As in upstream's forward: whether this is before or after the last norm is for the configuration to say.
    return model.text_model(**tensors, output_hidden_states=-1).hidden_states[-1][:, 0]


def _text_for_video(model: Any, tensors: dict[str, Any]) -> Any:
    return model.video_model["text_video_head"](_text(model, tensors))


def _text_for_audio(model: Any, tensors: dict[str, Any]) -> Any:
    return model.audio_model["text_audio_head"](_text(model, tensors))


def _video(model: Any, tensors: dict[str, Any]) -> Any:
    pixels = tensors["pixel_values_videos"].to(model.dtype)
    return model.video_model["video_head"](model.video_model["video_encoder"](pixels).pooler_output)


def _audio(model: Any, tensors: dict[str, Any]) -> Any:
    # Without a mask, because nothing is padded.
    waveforms = tensors["input_values"].to(model.dtype)
    return model.audio_model["audio_head"](model.audio_model["audio_encoder"](waveforms).pooler_output)


def _renamed(part: _Part, files: Sequence[Path]) -> dict[str, str]:
    """How to rename tensors that this checkpoint keeps under another of the names that are tied together."""
    if any(path.suffix != ".safetensors" for path in files):
        return {}
    names = [name for path in files for name in check_safetensors(path)]
    renamed = {}
    for wanted, *others in part.prefixes:
        there = [prefix for prefix in (wanted, *others) if any(name.startswith(prefix) for name in names)]
        if there and there[0] != wanted:
            renamed[f"^{re.escape(there[0])}"] = wanted
    return renamed


def _make_text(config: Any) -> tuple[Any, Any]:
    import transformers
    from torch import nn
    from transformers import PeAudioConfig
    from transformers.models.pe_audio.modeling_pe_audio import PeAudioContrastiveHead, PeAudioPreTrainedModel

    untyped: Any = transformers

    def fill(module: Any, config: Any) -> None:
        width = config.text_config.hidden_size
        module.text_model = untyped.AutoModel.from_config(config.text_config)
        module.audio_model = nn.ModuleDict({"text_audio_head": PeAudioContrastiveHead(width, width)})
        module.video_model = nn.ModuleDict({"text_video_head": PeAudioContrastiveHead(width, width)})

    # Not the whole configuration: its video part imports timm.
    return part_class(PeAudioPreTrainedModel, fill), PeAudioConfig(text_config=config.get("text_config"))


def _make_audio(config: Any) -> tuple[Any, Any]:
    from torch import nn
    from transformers import PeAudioConfig, PeAudioEncoder
    from transformers.models.pe_audio.modeling_pe_audio import PeAudioContrastiveHead, PeAudioPreTrainedModel

    def fill(module: Any, config: Any) -> None:
        head = PeAudioContrastiveHead(config.audio_config.hidden_size, config.text_config.hidden_size)
        encoder = PeAudioEncoder(config.audio_config)
        module.audio_model = nn.ModuleDict({"audio_encoder": encoder, "audio_head": head})

    audio = (config.get("audio_video_config") or {}).get("audio_config")
    made = PeAudioConfig(text_config=config.get("text_config"), audio_config=audio)
    return part_class(PeAudioPreTrainedModel, fill), made


def _make_video(config: Any) -> tuple[Any, Any]:
    from torch import nn
    from transformers import PeVideoConfig, PeVideoEncoder
    from transformers.models.pe_video.modeling_pe_video import PeVideoContrastiveHead, PeVideoPreTrainedModel

    def fill(module: Any, config: Any) -> None:
        head = PeVideoContrastiveHead(config.video_config.hidden_size, config.text_config.hidden_size)
        encoder = PeVideoEncoder(config.video_config)
        module.video_model = nn.ModuleDict({"video_encoder": encoder, "video_head": head})

    video = (config.get("audio_video_config") or {}).get("video_config")
    made = PeVideoConfig(text_config=config.get("text_config"), video_config=video)
    return part_class(PeVideoPreTrainedModel, fill), made


_TEXT = _Part(
    "text",
    (
        ("text_model.", "audio_model.text_model.", "video_model.text_model."),
        ("audio_model.text_audio_head.",),
        ("video_model.text_video_head.",),
    ),
    _make_text,
)
_AUDIO = _Part(
    "audio",
    (("audio_model.audio_encoder.", "audio_video_encoder.embedder.audio_encoder."), ("audio_model.audio_head.",)),
    _make_audio,
)
_VIDEO = _Part(
    "video",
    (("video_model.video_encoder.", "audio_video_encoder.embedder.video_encoder."), ("video_model.video_head.",)),
    _make_video,
)


def text_networks(checkpoint: Checkpoint, dim: int, precision: Precision) -> tuple[Network, Network]:
    """The text model with the head that asks pictures, and with the one that asks sounds; loaded once for both."""
    for_video = PeNetwork(checkpoint, dim, precision, _TEXT, _text_for_video)
    return for_video, _SameText(for_video, _text_for_audio)


def video_network(checkpoint: Checkpoint, dim: int, precision: Precision) -> Network:
    """Takes `pixel_values_videos`: (videos, frames, 3, height, width)."""
    return PeNetwork(checkpoint, dim, precision, _VIDEO, _video)


def audio_network(checkpoint: Checkpoint, dim: int, precision: Precision) -> Network:
    """Takes `input_values`: (sounds, 1, samples), the samples a whole number of the codec's steps."""
    return PeNetwork(checkpoint, dim, precision, _AUDIO, _audio)
