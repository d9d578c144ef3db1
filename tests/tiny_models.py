"""Tiny random checkpoints, made by the libraries whose formats they are in."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar

CLIP_SIDE = 32
CLIP_DIM = {"clip": 12, "siglip": 32}
"""Of `save_clip`: the side of its pictures, and the dimensions of each family."""


class TinyOpenClip:
    """Networks of open_clip, and the folders that it saves them in."""

    CONFIG: ClassVar[dict[str, Any]] = {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    PREPROCESS: ClassVar[dict[str, Any]] = {
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
        if "multimodal_cfg" in kwargs:
            kind = open_clip.CoCa
        made = kind(**kwargs)
        # As it comes, a random network gives any two inputs almost the same vector: larger weights tell them apart.
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


def save_clap(folder: Path) -> Path:
    """A random CLAP of half a million bytes, in the format of save_pretrained."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "Ġ"]
    tokenizer = RobertaTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[], model_max_length=24)
    ClapProcessor(ClapFeatureExtractor(truncation="rand_trunc"), tokenizer).save_pretrained(folder)
    text = {"vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 48, "max_position_embeddings": 34}
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1], "enable_fusion": False}
    torch.manual_seed(0)
    config = ClapConfig(
        text_config=text,
        audio_config={**audio, "num_attention_heads": [1, 2, 2, 4]},
        projection_dim=16,
        initializer_factor=20.0,
    )
    ClapModel(config).save_pretrained(folder)
    return folder


def save_clip(folder: Path, family: str) -> Path:
    """A random CLIP or SigLIP of some hundred thousand bytes, in the format of save_pretrained."""
    import torch
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipProcessor,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    vision = {**sizes, "image_size": CLIP_SIDE, "patch_size": 8}
    if family == "clip":
        tokenizer = _clip_tokenizer()
        processor = CLIPImageProcessor(
            size={"shortest_edge": CLIP_SIDE}, crop_size={"height": CLIP_SIDE, "width": CLIP_SIDE}, resample=3
        )
        CLIPProcessor(processor, tokenizer).save_pretrained(folder)
        text = {**sizes, "hidden_size": 24, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
        text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        # The halves' own projection_dim says something else: the whole model's counts.
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=CLIP_DIM[family]))
    else:
        tokenizer = _siglip_tokenizer()
        processor = SiglipImageProcessor(size={"height": CLIP_SIDE, "width": CLIP_SIDE}, resample=2)
        SiglipProcessor(processor, tokenizer).save_pretrained(folder)
        text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    # Started so small, all inputs would get nearly the same vector.
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "logit" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def _clip_tokenizer():
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", "a", "b", "a</w>", "b</w>", "ab", "ab</w>"]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[("a", "b"), ("a", "b</w>")],
        model_max_length=77,
    )


def _siglip_tokenizer():
    """As SigLIP's: no token at the start, one at the end, no attention mask."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "a", "b", "ab", "ba"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
        model_input_names=["input_ids"],
    )
