"""The kinds of part that a model can be put together from: what makes their towers, and what they need of the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mmsearch.encoders.hub import Need
    from mmsearch.encoders.tower import Towers


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of part, and what it is for. All functions take what follows the colon.

    `make` takes a precision too; towers load on first use. `needs`: what is needed of the hub, the repository that the
    part is named after first; nothing for what lies in a folder. More may come to light when the first is here.
    `canonical`: the source with local paths absolute. `split`: the place, and options that follow it.
    """

    modalities: tuple[Literal["image", "audio"], ...]
    make: Callable[[str, str | None], Towers]
    needs: Callable[[str], tuple[Need, ...]]
    canonical: Callable[[str], str]
    split: Callable[[str], tuple[str, str]] = lambda source: (source, "")


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


def _open_clip_needs(source: str) -> tuple[Need, ...]:
    from mmsearch.encoders.open_clip_source import Source

    return Source.parse(source).needs


def _open_clip_name(source: str) -> str:
    from mmsearch.encoders.open_clip_source import Source

    return Source.parse(source).name


def _transformers(kind: str) -> Callable[[str], tuple[Need, ...]]:
    def needs(source: str) -> tuple[Need, ...]:
        from mmsearch.encoders.transformers_folder import needs

        return needs(source, f"{kind}:{{folder}}")

    return needs


def _folder_or_repository(source: str) -> str:
    import os

    local = source.startswith((".", "~")) or os.path.isdir(source)
    return os.path.abspath(os.path.expanduser(source)) if local else source


def _gemma_split(source: str) -> tuple[str, str]:
    from mmsearch.encoders.gemma import DIMS, parse_source

    place, dim = parse_source(source)
    return place, f":dim={dim}" if dim not in (None, DIMS[0]) else ""


def _gemma_needs(source: str) -> tuple[Need, ...]:
    place, options = _gemma_split(source)
    from mmsearch.encoders.transformers_folder import needs

    return needs(place, f"gemma:{{folder}}{options}")


def _gemma_name(source: str) -> str:
    place, options = _gemma_split(source)
    return _folder_or_repository(place) + options


SCHEMES: dict[str, Scheme] = {
    "open_clip": Scheme(("image",), _open_clip, _open_clip_needs, _open_clip_name),
    "clip": Scheme(("image",), _clip, _transformers("clip"), _folder_or_repository),
    "clap": Scheme(("audio",), _clap, _transformers("clap"), _folder_or_repository),
    "gemma": Scheme(("image", "audio"), _gemma, _gemma_needs, _gemma_name, _gemma_split),
    "pe-av": Scheme(("image", "audio"), _pe_av, _transformers("pe-av"), _folder_or_repository),
}
"""Every kind of part, by what stands before the colon."""
