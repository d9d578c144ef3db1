"""The names of models: rows, parts, the recogniser of speech, and the commits that a library remembers.

fast                                        a row of MODELS
open_clip:...+clap:...                      parts, one for each kind of thing
mini+speech:base, fast+speech:off           either, with another recogniser of speech than the installed one
clap:laion/clap-htsat-unfused@COMMIT        a part at one commit of its repository, which is how libraries keep it
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from indexer.errors import UnknownModelError, UsageError
from mmsearch.encoders.models import EMBEDDED, MODELS
from mmsearch.encoders.schemes import SCHEMES
from mmsearch.encoders.speech_source import EMBEDDED_SPEECH, canonical_speech
from mmsearch.encoders.speech_source import needs as speech_needs

SPEECH = "speech"

# A "+" may also be part of a path: only before the name of a scheme does it join two parts.
_JOINT = re.compile(rf"\+(?=(?:{'|'.join((*SCHEMES, SPEECH))}):)")

_PIN = re.compile(r"@[0-9a-f]{40}(?=$|:)")
_COMMIT = re.compile(r"@[^:]*")  # or branch or tag; options of the part follow a colon


@dataclass(frozen=True, slots=True)
class Name:
    """A model's name taken apart. `parts` are (scheme, source); none for the embedded model, which is one `whole`.

    `speech` is the recogniser, and None where the name says nothing of it.
    """

    parts: tuple[tuple[str, str], ...]
    whole: str | None
    speech: str | None

    def __str__(self) -> str:
        model = [self.whole] if self.whole else [f"{scheme}:{source}" for scheme, source in self.parts]
        spoken = [f"{SPEECH}:{self.speech}"] if self.speech not in (None, EMBEDDED_SPEECH) else []
        return "+".join([*model, *spoken])

    @property
    def listens_with(self) -> str:
        """The recogniser of speech."""
        return self.speech or EMBEDDED_SPEECH


def parse(name: str) -> Name | None:
    """Take a name apart, with local paths made absolute; None when it is no model's name.

    A recogniser alone ("speech:base") has neither parts nor a whole: it can be fetched, and is no model.

    Raises:
        UnknownModelError: a part names nothing that its kind could be.
    """
    pieces = _JOINT.split(name)
    spoken = [piece.partition(":")[2] for piece in pieces if piece.startswith(f"{SPEECH}:")]
    pieces = [piece for piece in pieces if not piece.startswith(f"{SPEECH}:")]
    if len(spoken) > 1:
        raise UnknownModelError(f"the model {name!r} names more than one recogniser of speech; name one")
    speech = canonical_speech(spoken[0]) if spoken else None
    if len(pieces) == 1 and pieces[0] in MODELS:
        pieces = _JOINT.split(MODELS[pieces[0]].parts)
    if pieces == [EMBEDDED]:
        return Name((), EMBEDDED, speech)
    parts = [(scheme, source) for scheme, _, source in (piece.partition(":") for piece in pieces)]
    if not all(scheme in SCHEMES and source for scheme, source in parts) or not (parts or spoken):
        return None
    return Name(tuple((scheme, SCHEMES[scheme].canonical(source)) for scheme, source in parts), None, speech)


def no_such_model(name: str) -> UnknownModelError:
    """The error for a name that `parse` makes nothing of, with the nearest of those that there are."""
    import difflib

    near = difflib.get_close_matches(name.casefold(), MODELS, 1)
    meant = f"the nearest is {near[0]}; " if near else ""
    return UnknownModelError(
        f"there is no model {name!r}; {meant}name one of {', '.join(MODELS)}, or parts such as {MODELS['fast'].parts}"
    )


def canonical_name(name: str) -> str:
    """The name that means the same from anywhere and later: rows as their parts, local paths absolute.

    A name that is no model's is given back as it is.
    """
    found = parse(name)
    return name if found is None else str(found)


def with_speech(name: str, speech: str | None) -> str:
    """A model's name with a recogniser of speech; None leaves it as it is.

    Raises:
        UsageError: the name says another one.
        UnknownModelError: there is no such recogniser.
    """
    found = parse(name)
    if speech is None or found is None:
        return name
    wanted = canonical_speech(speech)
    if found.speech is not None and found.speech != wanted:
        raise UsageError(f"the model {name!r} names another recogniser of speech than {speech!r}; name one")
    return str(replace(found, speech=wanted))


def speech_of(name: str) -> str:
    """The recogniser of speech that a model's name says."""
    found = parse(name)
    return EMBEDDED_SPEECH if found is None else found.listens_with


def pinned(name: str) -> str:
    """The name with the commit of each repository that the hub's cache has: it means the same tomorrow."""
    found = parse(name)
    if found is None:
        return name
    from mmsearch.encoders.hub import cached_commit

    def pin(scheme: str, source: str) -> str:
        needs = speech_needs(source) if scheme == SPEECH else SCHEMES[scheme].needs(source)
        commit = cached_commit(needs[0].repository, needs[0].revision) if needs else None
        if commit is None:
            return source
        place, options = (source, "") if scheme == SPEECH else SCHEMES[scheme].split(source)
        return f"{place.partition('@')[0]}@{commit}{options}"

    parts = tuple((scheme, pin(scheme, source)) for scheme, source in found.parts)
    return str(replace(found, parts=parts, speech=None if found.speech is None else pin(SPEECH, found.speech)))


def unpinned(name: str) -> str:
    """The canonical name without commits, branches and tags."""
    found = parse(name)
    if found is None:
        return name
    parts = tuple((scheme, _bare(source)) for scheme, source in found.parts)
    return str(replace(found, parts=parts, speech=None if found.speech is None else _bare(found.speech)))


def short_name(name: str) -> str:
    """A name for people: a row's where it is one, without commits."""
    bare = parse(unpinned(name))
    if bare is None:
        return name
    model = str(replace(bare, speech=None))
    row = next((row for row, entry in MODELS.items() if canonical_name(entry.parts) == model), model)
    spoken = str(bare).removeprefix(model)
    return f"{row}{spoken}"


def are_different(name: str, other: str) -> bool:
    """Whether two names are surely those of different models.

    Two local folders or files may be one that was moved, what is no model's name means nothing, and a name without a
    commit may mean any.
    """
    one, two = parse(name), parse(other)
    if one is None or two is None:
        return False
    if said_apart(one.listens_with, two.listens_with):
        return True
    if _is_local(one) and _is_local(two):
        return False
    models = [(each.whole, [(scheme, _bare(source)) for scheme, source in each.parts]) for each in (one, two)]
    if models[0] != models[1]:
        return True
    pairs = zip(one.parts, two.parts, strict=True)
    return any(_PIN.search(a) and _PIN.search(b) and a != b for (_, a), (_, b) in pairs)


def said_apart(speech: str, other: str) -> bool:
    """Whether two recognisers, by their canonical names, are surely different."""
    if os.path.isabs(speech) and os.path.isabs(other):
        return False
    both_pinned = _PIN.search(speech) and _PIN.search(other)
    return speech != other if both_pinned else _bare(speech) != _bare(other)


def _bare(source: str) -> str:
    return source if _is_path(source) else _COMMIT.sub("", source)


def _is_path(source: str) -> bool:
    return os.path.isabs(source) or os.path.isabs(source.partition("/")[2])


def _is_local(name: Name) -> bool:
    """Whether a part of a model is named by its place on this disk."""
    return any(_is_path(source) for _, source in name.parts)
