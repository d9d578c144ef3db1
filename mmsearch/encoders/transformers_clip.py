"""CLIP, SigLIP and SigLIP 2: pictures and text in one space, from checkpoints in transformers' format.

CLIP: Radford et al., ICML 2021 (arXiv:2103.00020). SigLIP: Zhai et al., ICCV 2023 (arXiv:2303.15343). SigLIP 2:
Tschannen et al., arXiv:2502.14786; its checkpoints of a fixed picture size are of transformers' architecture "siglip".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError
from indexer.types import ImageSample, TowerSpec, Vectors
from mmsearch.encoders.precision import Precision, choose_precision
from mmsearch.encoders.transformers_folder import Checkpoint, open_checkpoint
from mmsearch.encoders.transformers_half import Half, HalfClass, TransformersTextTower
from mmsearch.encoders.transformers_tokenizer import token_limit

if TYPE_CHECKING:  # a text query looks at no picture
    from PIL import Image

SPACE = "clip"

# Counted up by hand whenever the code makes other vectors of the same checkpoint.
PREPROCESSING_VERSION = "1"

# Pictures in one forward pass of one thread.
CHUNK = 8

# transformers.image_utils, for what a configuration leaves out.
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STANDARD_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_BICUBIC = 3

# From this ratio of sides on, only what the crop keeps of a picture is resized: a strip of 4 x 50,000 pixels would
# else become one of 224 x 2,800,000. Below it, all is resized and then cut, which is to the bit what upstream does.
STRIP_RATIO = 8


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture of transformers: its two halves, and what its configuration means.

    `dim` reads the number of dimensions from config.json; `positions` of text, where it says none. `padded`: texts are
    brought to what SigLIP was trained on. `processor`: the image processor's defaults. `versions`: its class names.
    """

    image: HalfClass
    text: HalfClass
    dim: Callable[[Mapping[str, Any]], int]
    positions: int
    padded: bool
    processor: Mapping[str, Any]
    versions: tuple[str, ...]


FAMILIES: dict[str, Family] = {
    "clip": Family(
        image=HalfClass("CLIPVisionModelWithProjection", "vision_config", "image_embeds"),
        text=HalfClass("CLIPTextModelWithProjection", "text_config", "text_embeds"),
        dim=lambda config: int(config.get("projection_dim", 512)),
        positions=77,
        padded=False,
        processor={
            "size": {"shortest_edge": 224},
            "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224},
            "image_mean": _CLIP_MEAN,
            "image_std": _CLIP_STANDARD_DEVIATION,
        },
        versions=("CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorFast"),
    ),
    "siglip": Family(
        image=HalfClass("SiglipVisionModel", "vision_config", "pooler_output"),
        text=HalfClass("SiglipTextModel", "text_config", "pooler_output"),
        # SigLIP has no projection of pictures: the space is as wide as the vision model.
        dim=lambda config: int((config.get("vision_config") or {}).get("hidden_size", 768)),
        positions=64,
        padded=True,
        processor={
            "size": {"height": 224, "width": 224},
            "do_center_crop": False,
            "crop_size": None,
            "image_mean": _HALF,
            "image_std": _HALF,
        },
        versions=("SiglipImageProcessor", "SiglipImageProcessorFast"),
    ),
}
"""Every architecture that is taken, by its `model_type`."""


def clip_towers(source: str, *, precision: str | None = None) -> tuple[ClipImageTower, TransformersTextTower]:
    """The image and the text tower of a CLIP or SigLIP checkpoint: a local folder, or a repository of the hub.

    `precision` is float32, bfloat16 or float16; None chooses as `choose_precision` does.
    """
    checkpoint = open_checkpoint(source, (*FAMILIES, "siglip2"), "clip:{folder}")
    if checkpoint.config["model_type"] == "siglip2":
        raise ModelError(
            f"{source} is a NaFlex checkpoint of SigLIP 2, which takes pictures of any shape in patches; mmsearch takes"
            " those of a fixed size, such as google/siglip2-base-patch16-224"
        )
    family = FAMILIES[checkpoint.config["model_type"]]
    dim = family.dim(checkpoint.config)
    text = checkpoint.config.get("text_config") or {}
    positions = int(text.get("max_position_embeddings", family.positions))
    number_type = choose_precision(precision)
    return (
        ClipImageTower(
            Half(checkpoint, family.image, dim, number_type),
            TowerSpec("image", SPACE, dim),
            ImageProcessor.of(checkpoint, family),
        ),
        TransformersTextTower(
            Half(checkpoint, family.text, dim, number_type),
            TowerSpec("text", SPACE, dim),
            # SigLIP's vector is that of the last position, so that all are filled, whatever the tokenizer's limit.
            max_tokens=positions if family.padded else token_limit(checkpoint, positions),
            padded=family.padded,
            version=PREPROCESSING_VERSION,
        ),
    )


class ClipImageTower:
    """Pictures. The weights load on first use."""

    def __init__(self, half: Half, spec: TowerSpec, processor: ImageProcessor) -> None:
        self._half = half
        self._spec = spec
        self._processor = processor

    @property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known from config.json."""
        return self._spec

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint's weights and files, the precision, and what this code does to a picture."""
        return self._half.checkpoint.fingerprint("image", PREPROCESSING_VERSION, self._half.precision)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._half.precision

    @property
    def image_side(self) -> int:
        """Shorter side, in pixels, below which a picture must not be scaled down before `prepare`."""
        return self._processor.image_side

    def prepare(self, sample: ImageSample) -> NDArray[np.uint8]:
        """The picture at the network's size: (height, width, 3) uint8, to be small in the queue."""
        return self._processor.resize_and_crop(sample.pixels)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of prepared pictures: (len(prepared), dim) float32, of any length."""
        starts = range(0, len(prepared), CHUNK)
        return self._half.encode(
            [{"pixel_values": self._processor.normalise(np.stack(prepared[start : start + CHUNK]))} for start in starts]
        )


@dataclass(frozen=True, slots=True)
class ImageProcessor:
    """What a checkpoint's own image processor does to a picture, as transformers does it with Pillow.

    `size` is (height, width), or the shorter side alone; `crop` is (height, width). Both in pixels, None to leave the
    step out. `scale` is what values of 0 to 255 are multiplied by; `mean` and `deviation` are of the product.
    """

    size: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    resampling: int  # Pillow's number of a filter
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, family: Family) -> ImageProcessor:
        """Read and check the settings of a checkpoint: what comes out must be what its network takes."""
        found = checkpoint.processor("image_processor")
        settings: dict[str, Any] = {**family.processor, **found}
        kind = settings.get("image_processor_type") or settings.get("feature_extractor_type") or family.versions[0]
        if kind not in family.versions or settings.get("do_pad"):
            raise ModelError(
                f"{checkpoint.source} prepares pictures by {kind}{' with padding' if settings.get('do_pad') else ''},"
                f" expected {family.versions[0]} without padding; name another checkpoint"
            )
        normalised = settings.get("do_normalize", True)
        processor = cls(
            size=_size(settings["size"], checkpoint) if settings.get("do_resize", True) else None,
            crop=_pair(settings["crop_size"], checkpoint) if settings["do_center_crop"] else None,
            resampling=int(settings.get("resample", _BICUBIC)),
            scale=float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0,
            mean=tuple(settings["image_mean"]) if normalised else (0.0, 0.0, 0.0),
            deviation=tuple(settings["image_std"]) if normalised else (1.0, 1.0, 1.0),
        )
        side = (checkpoint.config.get("vision_config") or {}).get("image_size", 224)
        wanted = (side, side) if isinstance(side, int) else tuple(side)
        given = processor.crop or processor.size
        if given != wanted:
            raise ModelError(
                f"{checkpoint.source} prepares pictures of {given} pixels, and its network takes {wanted}; copy"
                " preprocessor_config.json and config.json again, from one checkpoint"
            )
        return processor

    @property
    def image_side(self) -> int:
        """Shorter side, in pixels, from which the resizing only scales down."""
        if isinstance(self.size, int):
            return self.size
        return max(self.size or self.crop or (1,))

    def resize_and_crop(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 to the network's height and width."""
        from PIL import Image

        image = Image.fromarray(pixels)
        height, width = pixels.shape[:2]
        if self.size is not None:
            if isinstance(self.size, int):
                short, long = sorted((height, width))
                far = int(self.size * long / short)
                target = (far, self.size) if width <= height else (self.size, far)
                if self.crop is not None and long > STRIP_RATIO * short:
                    return self._resized_middle(image, target, self.crop)
            else:
                target = self.size
            image = image.resize((target[1], target[0]), self.resampling)
        resized = np.array(image)
        return resized if self.crop is None else _centre(resized, *self.crop)

    def _resized_middle(self, image: Image.Image, target: tuple[int, int], crop: tuple[int, int]) -> NDArray[np.uint8]:
        """The middle of what the whole picture would be at the size `target`, without making the whole."""
        kept = (min(target[0], crop[0]), min(target[1], crop[1]))
        top, left = (target[0] - kept[0]) // 2, (target[1] - kept[1]) // 2
        down, across = image.height / target[0], image.width / target[1]
        box = (left * across, top * down, (left + kept[1]) * across, (top + kept[0]) * down)
        return _centre(np.array(image.resize((kept[1], kept[0]), self.resampling, box=box)), *crop)

    def normalise(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) uint8 as the network takes it: (n, 3, height, width) float32."""
        values = pictures.transpose(0, 3, 1, 2).astype(np.float32)
        values *= np.float32(self.scale)
        values -= np.array(self.mean, np.float32)[:, None, None]
        values /= np.array(self.deviation, np.float32)[:, None, None]
        return values


def _centre(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The middle of a picture, with black around where it is too small, as transformers' `center_crop` rounds."""
    spare = [max(0, wanted - found) for wanted, found in zip((height, width), pixels.shape[:2], strict=True)]
    if any(spare):
        # The odd pixel goes before, as upstream's does.
        pixels = np.pad(pixels, (*((-(-total // 2), total // 2) for total in spare), (0, 0)))
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    # A copy: a view would keep the whole picture in the queue.
    return pixels[top : top + height, left : left + width].copy()


def _size(value: Any, checkpoint: Checkpoint) -> tuple[int, int] | int:
    if isinstance(value, int):
        # Before there were names, one number meant the shorter side.
        return value
    if isinstance(value, dict) and value.get("shortest_edge") and not value.get("longest_edge"):
        return int(value["shortest_edge"])
    return _pair(value, checkpoint)


def _pair(value: Any, checkpoint: Checkpoint) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, dict) and value.get("height") and value.get("width"):
        return (int(value["height"]), int(value["width"]))
    raise ModelError(
        f"{checkpoint.source} prepares pictures of the size {value!r}; expected height and width, or shortest_edge"
    )
