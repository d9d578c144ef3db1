"""The words for kinds of file, channels and modalities. Light: the command line needs them for its help."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["image", "audio", "video", "text"]
"""What a file is, by its content."""

Channel = Literal["visual", "sound", "speech", "text"]
"""Which aspect of a file a segment describes."""

Modality = Literal["text", "image", "audio"]
"""What a tower takes."""

KINDS: tuple[Kind, ...] = get_args(Kind)
MODALITIES: tuple[Modality, ...] = get_args(Modality)
CHANNELS: tuple[Channel, ...] = get_args(Channel)
