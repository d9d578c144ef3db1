"""The kinds of part that a model can be put together from: what makes their towers, and what they need of the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mmsearch.encoders.hub import Need
    from mmsearch.encoders.tower import AudioTower, ImageTower, TextTower


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of part. All three take what follows the colon.

    `make` takes a precision too; towers load on first use. `needs`: what is needed of the hub, the repository that the
    part is named after first; nothing for what lies in a folder. More may come to light when the first is here.
    `canonical`: the source with local paths absolute.
    """

    modality: Literal["image", "audio"]
    make: Callable[[str, str | None], tuple[ImageTower | AudioTower, TextTower]]
    needs: Callable[[str], tuple[Need, ...]]
    canonical: Callable[[str], str]


def _open_clip(source: str, precision: str | None) -> tuple[ImageTower, TextTower]:
    from mmsearch.encoders.open_clip import open_clip_towers

    return open_clip_towers(source, precision=precision)


def _clip(source: str, precision: str | None) -> tuple[ImageTower, TextTower]:
    from mmsearch.encoders.transformers_clip import clip_towers

    return clip_towers(source, precision=precision)


def _clap(source: str, precision: str | None) -> tuple[AudioTower, TextTower]:
    from mmsearch.encoders.clap import clap_towers

    return clap_towers(source, precision=precision)


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


SCHEMES: dict[str, Scheme] = {
    "open_clip": Scheme("image", _open_clip, _open_clip_needs, _open_clip_name),
    "clip": Scheme("image", _clip, _transformers("clip"), _folder_or_repository),
    "clap": Scheme("audio", _clap, _transformers("clap"), _folder_or_repository),
}
"""Every kind of part, by what stands before the colon."""
