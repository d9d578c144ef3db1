"""The models that mmsearch knows, by name. Importing this loads none of them.

A model's name is a row of `MODELS`, or is put together from parts, one for each space:

    open_clip:ViT-B-32/laion2b_s34b_b79k     pictures; see open_clip_source.py for the other forms
    clip:/path/to/folder                     pictures, with transformers
    clap:laion/clap-htsat-unfused            sounds
    open_clip:...+clap:...                   both
    gemma:google/embeddinggemma-2            pictures, sounds and documents in one space; ":dim=256" for shorter vectors
    pe-av:facebook/pe-av-large               pictures and sounds in one space
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from indexer.errors import ModelError
from indexer.types import Encoder

if TYPE_CHECKING:
    from mmsearch.encoders.tower import Towers


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the table. `parts`: the parts that it is put together from; "mini" is one whole."""

    description: str
    parts: str


_CLAP = "clap:laion/clap-htsat-unfused"

MODELS: dict[str, Model] = {
    "mini": Model("text, pictures and English speech in one space of 384 numbers; needs no model hub", "mini"),
    "fast": Model(
        "CLIP ViT-B/32 of LAION for pictures, CLAP for sounds; documents and English speech as in mini",
        f"open_clip:ViT-B-32/laion2b_s34b_b79k+{_CLAP}",
    ),
    "balanced": Model("like fast, with Meta's PE-Core B/16 for pictures", f"open_clip:PE-Core-B-16/meta+{_CLAP}"),
    "best": Model("like fast, with Meta's PE-Core L/14 for pictures", f"open_clip:PE-Core-L-14-336/meta+{_CLAP}"),
    "multilingual": Model(
        "like fast, with Google's SigLIP 2 B/16, which is asked for pictures in many languages",
        f"open_clip:ViT-B-16-SigLIP2/webli+{_CLAP}",
    ),
    "gemma": Model(
        "Google's EmbeddingGemma 2: pictures, sounds, documents and speech in one space, in over 100 languages",
        "gemma:google/embeddinggemma-2",
    ),
    "pe-av": Model(
        "Meta's PE-AV: pictures and sounds in one space; documents and English speech as in mini",
        "pe-av:facebook/pe-av-large",
    ),
}
"""Every model that has a name of its own."""

DEFAULT_MODEL = "mini"


@dataclass(frozen=True, slots=True)
class _Scheme:
    """A kind of part, and what it is for. `make` takes what follows the colon, and a precision."""

    modalities: tuple[Literal["image", "audio"], ...]
    make: Callable[[str, str | None], Towers]


def _open_clip(source: str, precision: str | None) -> Towers:
    from mmsearch.encoders.open_clip import open_clip_towers
    from mmsearch.encoders.tower import Towers

    visual, query = open_clip_towers(source, precision=precision)
    return Towers(visual=visual, queries=(query,))


def _clip(source: str, precision: str | None) -> Towers:
    from mmsearch.encoders.tower import Towers
    from mmsearch.encoders.transformers_clip import clip_towers

    visual, query = clip_towers(source, precision=precision)
    return Towers(visual=visual, queries=(query,))


def _clap(source: str, precision: str | None) -> Towers:
    from mmsearch.encoders.clap import clap_towers
    from mmsearch.encoders.tower import Towers

    sound, query = clap_towers(source, precision=precision)
    return Towers(sound=sound, queries=(query,))


def _gemma(source: str, precision: str | None) -> Towers:
    from mmsearch.encoders.gemma import gemma_towers

    return gemma_towers(source, precision=precision)


def _pe_av(source: str, precision: str | None) -> Towers:
    from mmsearch.encoders.pe_av import pe_av_towers

    return pe_av_towers(source, precision=precision)


_SCHEMES: dict[str, _Scheme] = {
    "open_clip": _Scheme(("image",), _open_clip),
    "clip": _Scheme(("image",), _clip),
    "clap": _Scheme(("audio",), _clap),
    "gemma": _Scheme(("image", "audio"), _gemma),
    "pe-av": _Scheme(("image", "audio"), _pe_av),
}

# A "+" may also be part of a path: only before the name of a scheme does it join two parts.
_JOINT = re.compile(rf"\+(?=(?:{'|'.join(_SCHEMES)}):)")


def load_encoder(name: str, *, precision: str | None = None) -> Encoder:
    """The encoder of a model. Its weights load on first use, not here.

    Args:
        name: a row of `MODELS`, or parts.
        precision: float32 or bfloat16, for towers that can compute in both; None for what suits the processor.

    Raises:
        ModelError: there is no such model.
    """
    canonical = canonical_name(name)
    if canonical == "mini":
        from mmsearch.encoders.mini import MiniEncoder

        return MiniEncoder()
    parts = _parts(canonical)
    if not parts:
        raise ModelError(
            f"there is no model {name!r}; the models are: {', '.join(sorted(MODELS))}, and combinations such as"
            f" {MODELS['fast'].parts}"
        )
    modalities = [modality for scheme, _ in parts for modality in _SCHEMES[scheme].modalities]
    for what, several in (("pictures", modalities.count("image") > 1), ("sounds", modalities.count("audio") > 1)):
        if several:
            raise ModelError(f"model {name!r} has more than one part for {what}; name one")
    made = [_SCHEMES[scheme].make(source, precision) for scheme, source in parts]

    from mmsearch.encoders.composite import CompositeEncoder
    from mmsearch.encoders.minilm import DocumentTower
    from mmsearch.encoders.speech import SpeechRecognizer

    return CompositeEncoder(
        canonical,
        visual=next((towers.visual for towers in made if towers.visual is not None), None),
        sound=next((towers.sound for towers in made if towers.sound is not None), None),
        document_text=next((towers.documents for towers in made if towers.documents is not None), None)
        or DocumentTower(),
        query_texts=[text for towers in made for text in towers.queries],
        transcriber=SpeechRecognizer(),
    )


def canonical_name(name: str) -> str:
    """The name that means the same from anywhere and later: rows as their parts, local paths absolute.

    A name that is no model's is given back as it is.
    """
    if name in MODELS:
        name = MODELS[name].parts
    parts = _parts(name)
    return "+".join(f"{scheme}:{_canonical_source(scheme, source)}" for scheme, source in parts) if parts else name


def are_different(name: str, other: str) -> bool:
    """Whether two names are surely those of different models.

    Two local folders or files may be one that was moved, and what is no model's name means nothing.
    """
    name, other = canonical_name(name), canonical_name(other)
    known = all(each in MODELS or _parts(each) for each in (name, other))
    return known and name != other and not (_is_local(name) and _is_local(other))


def _is_local(canonical: str) -> bool:
    """Whether a part of a model is named by its place on this disk."""
    return any(os.path.isabs(source) or os.path.isabs(source.partition("/")[2]) for _, source in _parts(canonical))


def _parts(name: str) -> list[tuple[str, str]]:
    """(scheme, source) of each part; [] when one of them is none."""
    parts = [tuple(part.partition(":")[::2]) for part in _JOINT.split(name)]
    return [(scheme, source) for scheme, source in parts] if all(p[0] in _SCHEMES and p[1] for p in parts) else []


def _canonical_source(scheme: str, source: str) -> str:
    if scheme == "open_clip":
        from mmsearch.encoders.open_clip_source import Source

        return Source.parse(source).name
    if scheme == "gemma":
        from mmsearch.encoders.gemma import DIMS, parse_source

        source, dim = parse_source(source)
        return _canonical_place(source) + (f":dim={dim}" if dim not in (None, DIMS[0]) else "")
    return _canonical_place(source)


def _canonical_place(source: str) -> str:
    local = source.startswith((".", "~")) or os.path.isdir(source)
    return os.path.abspath(os.path.expanduser(source)) if local else source
