"""Tiny random checkpoints, made by the libraries whose formats they are in."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest


class TinyOpenClip:
    """Networks of open_clip, and the folders that it saves them in."""

    CONFIG: dict[str, Any] = {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    PREPROCESS: dict[str, Any] = {
        "mean": [0.4, 0.45, 0.5],
        "std": [0.2, 0.25, 0.3],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }

    @classmethod
    def config(cls, **changes: Any) -> dict[str, Any]:
        """`CONFIG` with other values: those of `vision_cfg` and `text_cfg` are merged."""
        changed = copy.deepcopy(cls.CONFIG)
        for key, value in changes.items():
            changed[key] = {**changed[key], **value} if isinstance(changed.get(key), dict) else value
        return changed

    @staticmethod
    def network(config: dict[str, Any], seed: int = 0) -> Any:
        """A network of this configuration with random weights."""
        import open_clip
        import torch

        torch.manual_seed(seed)
        kwargs = copy.deepcopy(config)
        kind = open_clip.CustomTextCLIP if kwargs.pop("custom_text", False) else open_clip.CLIP
        made = kind(**kwargs)
        # As they come, a random network's vectors of any two inputs are almost the same: larger weights tell them apart.
        with torch.no_grad():
            for name, value in made.named_parameters():
                if value.ndim > 1 and "embedding" not in name:
                    value.mul_(2.0)
        return made.eval()

    @classmethod
    def save(cls, folder: Path, config: dict[str, Any] | None = None, seed: int = 0, **preprocess: Any) -> Path:
        """A folder as `open_clip.push_to_hf_hub` writes it: open_clip_config.json and open_clip_model.safetensors."""
        from safetensors.torch import save_file

        config = config or cls.CONFIG
        folder.mkdir(parents=True, exist_ok=True)
        save_file(cls.network(config, seed).state_dict(), folder / "open_clip_model.safetensors")
        row = {"model_cfg": config, "preprocess_cfg": {**cls.PREPROCESS, **preprocess}}
        (folder / "open_clip_config.json").write_text(json.dumps(row))
        return folder


@pytest.fixture(scope="session")
def tiny() -> type[TinyOpenClip]:
    """Tiny checkpoints of open_clip: `tiny.save(folder)`."""
    return TinyOpenClip
