"""The models that mmsearch knows, by name. Importing this loads none of them.

A model's name is a row of `MODELS`, or is put together from parts, one for each space:

    open_clip:ViT-B-32/laion2b_s34b_b79k     pictures; see open_clip_source.py for the other forms
    clip:/path/to/folder                     pictures, with transformers
    clap:laion/clap-htsat-unfused            sounds
    open_clip:...+clap:...                   both
    gemma:google/embeddinggemma-2            pictures, sounds and documents in one space; ":dim=256" for shorter vectors
    pe-av:facebook/pe-av-large               pictures and sounds in one space
    ...+speech:base                          with another recogniser of speech; see speech_source.py

names.py takes them apart, schemes.py is the table of kinds of part, models.py the table of rows, choose.py decides what
"auto" is, and pull.py fetches what is not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.errors import MmsearchError, UnknownModelError
from mmsearch.encoders.models import AUTO, DEFAULT_MODEL, EMBEDDED, MODELS, Model
from mmsearch.encoders.names import (
    are_different,
    canonical_name,
    no_such_model,
    parse,
    pinned,
    short_name,
    with_speech,
)
from mmsearch.encoders.schemes import SCHEMES
from mmsearch.encoders.speech_source import EMBEDDED_SPEECH, NO_SPEECH

if TYPE_CHECKING:
    from indexer.types import Encoder
    from mmsearch.encoders.speech import SpeechRecognizer


def load_encoder(name: str, *, precision: str | None = None, speech: str | None = None) -> Encoder:
    """The encoder of a model. Its weights load on first use, not here.

    Args:
        name: a row of `MODELS`, or parts.
        precision: float32, bfloat16 or float16, for towers with a choice; None for what suits the machine.
        speech: the recogniser of speech: "off", a size such as "base", a repository or a folder; None for the one that
            the name says, or else the installed one.

    Raises:
        UnknownModelError: there is no such model or recogniser, or the parts do not go together.
        UsageError: the model has no such precision.
    """
    named = parse(with_speech(name, speech))
    if named is None or not (named.whole or named.parts):
        raise no_such_model(name)
    if named.whole == EMBEDDED:
        from mmsearch.encoders.mini import MiniEncoder
        from mmsearch.encoders.precision import only_float32

        only_float32(precision, EMBEDDED)
        return MiniEncoder((parse(pinned(str(named))) or named).listens_with)
    modalities = [modality for scheme, _ in named.parts for modality in SCHEMES[scheme].modalities]
    for what, several in (("pictures", modalities.count("image") > 1), ("sounds", modalities.count("audio") > 1)):
        if several:
            raise UnknownModelError(f"model {name!r} has more than one part for {what}; name one")
    named = parse(pinned(str(named))) or named
    made = [SCHEMES[scheme].make(source, precision) for scheme, source in named.parts]

    from mmsearch.encoders.composite import CompositeEncoder
    from mmsearch.encoders.minilm import DocumentTower

    return CompositeEncoder(
        str(named),
        visual=next((towers.visual for towers in made if towers.visual is not None), None),
        sound=next((towers.sound for towers in made if towers.sound is not None), None),
        document_text=next((towers.documents for towers in made if towers.documents is not None), None)
        or DocumentTower(),
        query_texts=[text for towers in made for text in towers.queries],
        transcriber=_recognizer(named.listens_with),
    )


def loaded_if_here(name: str, precision: str | None = None) -> Encoder | None:
    """The encoder of a model, if all of it is on this machine; None else: nothing is fetched, and nobody is told."""
    from mmsearch.encoders.pull import missing

    try:
        return None if missing(name) else load_encoder(name, precision=precision)
    except MmsearchError:
        return None


def _recognizer(speech: str) -> SpeechRecognizer | None:
    if speech == NO_SPEECH:
        return None
    from mmsearch.encoders.speech import SpeechRecognizer

    return SpeechRecognizer(speech)


__all__ = [
    "AUTO",
    "DEFAULT_MODEL",
    "EMBEDDED",
    "EMBEDDED_SPEECH",
    "MODELS",
    "NO_SPEECH",
    "Model",
    "are_different",
    "canonical_name",
    "load_encoder",
    "loaded_if_here",
    "parse",
    "pinned",
    "short_name",
    "with_speech",
]
