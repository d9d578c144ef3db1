"""Bringing a picture to an image tower's input, as open_clip does, with Pillow and NumPy alone.

open_clip's `image_transform_v2` is torchvision on Pillow images. The same steps are written out here, so that
the threads that decode need no torch: Pillow lets go of the GIL while it resizes, and what waits for the
tower is a small uint8 square, a quarter of what its normalised float32 values would hold. A test holds both
against each other, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError

if TYPE_CHECKING:  # a text query looks at no picture
    from PIL import Image

ResizeMode = Literal["shortest", "longest", "squash"]

# open_clip.constants.OPENAI_DATASET_MEAN and OPENAI_DATASET_STD, of values in [0, 1].
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STANDARD_DEVIATION = (0.26862954, 0.26130258, 0.27577711)

# From this ratio of sides on, a picture is cut before it is resized: a strip of 4 x 50,000 pixels would else
# become one of 224 x 2,800,000.
STRIP_RATIO = 8

_FILTERS = {"bicubic": "BICUBIC", "bilinear": "BILINEAR"}  # Pillow's names


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a checkpoint wants its pictures; open_clip's `PreprocessCfg`.

    `size` is (height, width) in pixels; `mean` and `std` are of values in [0, 1].
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STANDARD_DEVIATION
    interpolation: str = "bicubic"
    resize_mode: ResizeMode = "shortest"
    fill_color: int = 0

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ModelError(f"the preprocessing asks for pictures of {self.size}, expected (height, width)")
        if self.resize_mode not in get_args(ResizeMode):
            raise ModelError(f"the preprocessing resizes {self.resize_mode!r}, expected {get_args(ResizeMode)}")
        if (len(self.mean), len(self.std)) != (3, 3) or not all(self.std):
            raise ModelError(f"the preprocessing has mean {self.mean} and std {self.std}, expected three of each")

    @classmethod
    def of_config(cls, size: int | list[int] | tuple[int, int], config: Mapping[str, Any]) -> Preprocess:
        """Read open_clip's names for the same things; what is absent is as open_clip has it.

        The size is the network's, whatever the configuration says, as in `open_clip.create_model`.
        """
        sides = (size, size) if isinstance(size, int) else tuple(size) * (1 if len(size) == 2 else 2)
        wanted = {key: config[key] for key in ("interpolation", "resize_mode", "fill_color") if config.get(key)}
        for key in ("mean", "std"):
            value = config.get(key)
            if value is not None:
                wanted[key] = tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3
        return cls((int(sides[0]), int(sides[1])), **wanted)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a fingerprint."""
        return asdict(self)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture (height, width, 3) uint8 at the tower's size: (size[0], size[1], 3) uint8, sRGB."""
        from PIL import Image

        image = Image.fromarray(pixels)
        height, width = self.size
        # open_clip takes "random", which is bicubic when not training, and bicubic for what it does not name.
        resampling = Image.Resampling[_FILTERS.get(self.interpolation, "BICUBIC")]
        if self.resize_mode == "squash":
            image = _resized(image, height, width, resampling)
        elif self.resize_mode == "longest":
            image = self._fit(image, resampling, max)
            image = _centred(image, height, width, (self.fill_color,) * 3)
        elif height == width:
            image = _shortest_edge(image, height, resampling)
            image = _centred(image, height, width, (0, 0, 0))
        else:
            # open_clip passes no interpolation on here: it is bicubic, whatever was asked for.
            image = self._fit(image, Image.Resampling.BICUBIC, min)
            image = _centred(image, height, width, (0, 0, 0))
        return np.array(image)

    def box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """What is seen of a picture of this size: left, top, right and bottom, as shares of its width and height.

        What is cut away lies outside of it. What is padded is seen too, so that the box may leave [0, 1].
        """
        if self.resize_mode == "squash":
            return 0.0, 0.0, 1.0, 1.0
        choose = max if self.resize_mode == "longest" else min
        ratio = choose(height / self.size[0], width / self.size[1])
        tall, wide = self.size[0] * ratio / height, self.size[1] * ratio / width  # of what is seen
        return (1 - wide) / 2, (1 - tall) / 2, (1 + wide) / 2, (1 + tall) / 2

    def _fit(self, image: Image.Image, resampling: Image.Resampling, choose: Any) -> Image.Image:
        """open_clip's ResizeKeepRatio: the ratio that `choose` takes of the two sides' is for both."""
        ratio = choose(image.height / self.size[0], image.width / self.size[1])
        return _resized(image, max(1, round(image.height / ratio)), max(1, round(image.width / ratio)), resampling)


def normalise(pictures: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """(n, height, width, 3) uint8 as towers take it: (n, 3, height, width) float32, (x / 255 - mean) / std.

    In the order of torchvision's to_tensor and Normalize, which are float32 throughout.
    """
    # Put in order while they are bytes: `astype` would keep the order of the bytes, and every step after it would jump.
    values = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32)
    values /= np.float32(255)
    values -= np.array(mean, np.float32)[:, None, None]
    values /= np.array(std, np.float32)[:, None, None]
    return values


def _resized(image: Image.Image, height: int, width: int, resampling: Image.Resampling) -> Image.Image:
    return image if image.size == (width, height) else image.resize((width, height), resampling)


def _shortest_edge(image: Image.Image, side: int, resampling: Image.Resampling) -> Image.Image:
    """torchvision's Resize to one number: the shorter side becomes `side`, the longer follows, rounded down."""
    short, long = sorted(image.size)
    if long > STRIP_RATIO * short:
        # What lies further out is cut away afterwards in any case. All is kept that the filter reaches to.
        kept = short * (STRIP_RATIO // 2)
        left, top = (image.width - min(kept, image.width)) // 2, (image.height - min(kept, image.height)) // 2
        image = image.crop((left, top, left + min(kept, image.width), top + min(kept, image.height)))
        short, long = sorted(image.size)
    far = int(side * long / short)
    height, width = (side, far) if image.width >= image.height else (far, side)
    return _resized(image, height, width, resampling)


def _centred(image: Image.Image, height: int, width: int, fill: tuple[int, ...]) -> Image.Image:
    """torchvision's CenterCrop and open_clip's CenterCropOrPad: pad what is too small, then cut in the middle."""
    spare_x, spare_y = max(0, width - image.width), max(0, height - image.height)
    if spare_x or spare_y:
        from PIL import ImageOps

        border = (spare_x // 2, spare_y // 2, (spare_x + 1) // 2, (spare_y + 1) // 2)
        image = ImageOps.expand(image, border, fill=fill)
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
