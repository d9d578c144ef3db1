"""The models that have a name of their own, and what is known of the parts that they are put together from.

Nothing here loads anything. Sizes are what is fetched, to be shown before anybody asks the hub, which then says it
exactly. A figure is one that its source publishes of exactly these weights; where none was found there is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AUTO = "auto"
"""Not a model, but the choice between two: see `mmsearch.encoders.choose`."""

DEFAULT_MODEL = AUTO

EMBEDDED = "mini"
"""The model whose weights are installed with mmsearch."""


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence of weights. `commercial` is False when it forbids commercial use, and None when that is not known."""

    name: str
    url: str = ""
    commercial: bool | None = True


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement, as its source publishes it. `value` is in per cent: recall for R@k, accuracy for zero-shot."""

    measure: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of a part without asking anybody.

    `repository` is the hub's, and None for what comes with mmsearch. `bytes` are those of its weights, None where
    nobody says before the hub is asked.
    """

    repository: str | None
    bytes: int | None
    licence: Licence
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the table. `parts`: what it is put together from, joined by "+"; "mini" is one whole.

    `finds` are the kinds of thing that it makes vectors of: text, images, video, sounds and speech.
    """

    description: str
    parts: str
    finds: tuple[str, ...]


_APACHE = Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
_MIT = Licence("MIT", "https://opensource.org/license/mit")

_OPEN_CLIP = "https://github.com/mlfoundations/open_clip/blob/main/docs/PRETRAINED.md"
_PE = "https://github.com/facebookresearch/perception_models/blob/main/README.md"
_SIGLIP2 = (
    "https://github.com/google-research/big_vision/blob/main/big_vision/configs/proj/image_text/README_siglip2.md"
)
_ESC50 = "https://pymill.com/docs/reproducibility/esc50"
_HAKARI = "https://huggingface.co/datasets/hakari-bench/results/discussions/43"
_PE_AV_CARD = "https://huggingface.co/facebook/pe-av-small/blob/main/README.md"
_OUR_OWN = "benchmarks/recall_openclipart.py"

_IMAGENET = "ImageNet-1k zero-shot"
_COCO = "COCO text to image R@1"

_CLAP = "clap:laion/clap-htsat-unfused"
_VIT_B_32 = "open_clip:ViT-B-32/laion2b_s34b_b79k"
_PE_CORE_B = "open_clip:PE-Core-B-16/meta"
_PE_CORE_L = "open_clip:PE-Core-L-14-336/meta"
_SIGLIP2_B = "open_clip:ViT-B-16-SigLIP2/webli"
_GEMMA = "gemma:google/embeddinggemma-2"
_PE_AV = "pe-av:facebook/pe-av-large"

PARTS: dict[str, Part] = {
    "mini": Part(
        None,
        194_000_000,
        Licence("Apache-2.0, MIT", "https://www.apache.org/licenses/LICENSE-2.0"),
        (Figure("214 openclipart titles R@10", 31.8, _OUR_OWN),),
    ),
    _VIT_B_32: Part("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 605_000_000, _MIT, (Figure(_IMAGENET, 66.6, _OPEN_CLIP),)),
    _PE_CORE_B: Part(
        "timm/PE-Core-B-16", 1_791_000_000, _APACHE, (Figure(_IMAGENET, 78.4, _PE), Figure(_COCO, 50.9, _PE))
    ),
    _PE_CORE_L: Part(
        "timm/PE-Core-L-14-336", 2_685_000_000, _APACHE, (Figure(_IMAGENET, 83.5, _PE), Figure(_COCO, 57.1, _PE))
    ),
    _SIGLIP2_B: Part(
        "timm/ViT-B-16-SigLIP2",
        1_501_000_000,
        _APACHE,
        (Figure(_IMAGENET, 78.2, _SIGLIP2), Figure(_COCO, 52.1, _SIGLIP2)),
    ),
    _CLAP: Part("laion/clap-htsat-unfused", 614_000_000, _APACHE, (Figure("ESC-50 zero-shot", 91.6, _ESC50),)),
    _GEMMA: Part(
        "google/embeddinggemma-2",
        1_480_000_000,
        _APACHE,
        (Figure("HAKARI-Bench text retrieval nDCG@10", 58.6, _HAKARI),),
    ),
    _PE_AV: Part("facebook/pe-av-large", None, _APACHE, (Figure("average retrieval", 51.6, _PE_AV_CARD),)),
}
"""What is known of each part of a row, by the part's name. Other parts may be named all the same.

Sizes are those of the networks in float32, counted from their configurations.
"""

_EVERYTHING = ("text", "images", "video", "sounds", "speech")

MODELS: dict[str, Model] = {
    "mini": Model(
        "text, pictures and English speech in one space of 384 numbers; needs no model hub",
        EMBEDDED,
        ("text", "images", "video", "speech"),
    ),
    "fast": Model(
        "CLIP ViT-B/32 of LAION for pictures, CLAP for sounds; documents and English speech as in mini",
        f"{_VIT_B_32}+{_CLAP}",
        _EVERYTHING,
    ),
    "balanced": Model("like fast, with Meta's PE-Core B/16 for pictures", f"{_PE_CORE_B}+{_CLAP}", _EVERYTHING),
    "best": Model("like fast, with Meta's PE-Core L/14 for pictures", f"{_PE_CORE_L}+{_CLAP}", _EVERYTHING),
    "multilingual": Model(
        "like fast, with Google's SigLIP 2 B/16, which is asked for pictures in many languages",
        f"{_SIGLIP2_B}+{_CLAP}",
        _EVERYTHING,
    ),
    "gemma": Model(
        "Google's EmbeddingGemma 2: pictures, sounds, documents and speech in one space, in over 100 languages",
        _GEMMA,
        _EVERYTHING,
    ),
    "pe-av": Model(
        "Meta's PE-AV: pictures and sounds in one space; documents and English speech as in mini", _PE_AV, _EVERYTHING
    ),
}
"""Every model that has a name of its own."""

# Identifiers of https://huggingface.co/docs/hub/repositories-licenses, and names that authors give under "other".
_NOT_COMMERCIAL = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research|apple-amlr|academic", re.IGNORECASE)
_UNCLEAR = {"", "other", "unknown"}


def licence_of(card: str | None, name: str | None = None, url: str | None = None) -> Licence:
    """A licence as a hub's model card states it: `card` is its identifier, `name` and `url` what "other" stands for."""
    said = (card or "").strip()
    shown = (name if said.lower() in _UNCLEAR and name else said) or "not stated"
    if _NOT_COMMERCIAL.search(f"{said} {name or ''}"):
        commercial: bool | None = False
    else:
        commercial = None if said.lower() in _UNCLEAR else True
    return Licence(shown, url or "", commercial)
