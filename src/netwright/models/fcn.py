"""FCN: scores of a coarse map, made finer by those of finer maps (Long, Shelhamer & Darrell 2015, arXiv:1411.4038)."""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError, listed
from netwright.models._encoder import Encoder, make_encoder
from netwright.models._family import Classes, Count, Share, Variant
from netwright.models._segmenter import Segmenter
from netwright.models.unet import fitted
from netwright.nn.upsample import bilinear_kernel

STRIDES = (4, 8, 16, 32)


class FCN(Segmenter):
    """Scores s of the last map and of each skipped one: s ↦ enlarged(s) + skip(map), down to `stride`.

    What is left is enlarged by a fixed bilinear kernel. With stride=32 nothing is skipped (FCN-32s of the paper), with
    16 and 8 there are one and two skips (FCN-16s, FCN-8s). Each class's scores are enlarged by a kernel of their own,
    which starts bilinear and learns; scores of skipped maps start at zero, so that each network starts as the coarser.

    The paper gives VGG's dense layers a place between the last map and its scores, as convolutions of 4096 channels and
    119 million parameters. Here scores are those of the encoder's last map, whatever the encoder.

    Args:
        encoder: any classifier with maps at several resolutions: `resnet18`, `vgg16`, `timm/resnet10t`.
        stride: how many pixels of the image lie between neighbours of the finest map that is asked for scores.
        classes: number of class scores; with none, the last map is the answer, enlarged.
        in_channels: channels of the images.
        dropout: share of the last map's values that is dropped before its scores.
    """

    def __init__(
        self,
        *,
        encoder: str = "vgg16",
        stride: Literal[4, 8, 16, 32] = 8,
        classes: Classes = 21,
        in_channels: Count = 3,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, in_channels)
        finest = _place_of(stride, self.encoder, encoder)
        self.stride, self.smallest = self.encoder.strides[-1], self.encoder.smallest
        self.dropout = nn.Dropout(dropout)
        self.head = _scores(self.encoder.channels[-1], classes)
        between = _factors(self.encoder.strides[finest:], encoder) if classes else []
        self.ups = nn.ModuleList(LearnedUpsample(classes, factor) for factor in reversed(between))
        skipped = self.encoder.channels[finest:-1][::-1] if classes else ()
        self.skips = nn.ModuleList(_scores(channels, classes) for channels in skipped)
        for skip in self.skips:
            for parameter in skip.parameters():
                nn.init.zeros_(parameter)
        self.auxiliary_names = tuple(f"{part}.{i}" for part in ("ups", "skips") for i in range(len(skipped)))

    def scores(self, x: Tensor) -> Tensor:
        """N C H W -> N K H W."""
        maps = self.encoder(x)
        scores = self.head(self.dropout(maps[-1]))
        finest = len(self.encoder.strides) - 1 - len(self.ups)
        onto_image, *shifts = self.encoder.shifts(finest)
        finer = zip(self.ups, self.skips, maps[finest:-1][::-1], shifts[::-1], strict=True)
        for up, skip, map_, shift in finer:
            scores = fitted(up(scores), *map_.shape[-2:], shift=shift) + skip(map_)
        scores = F.interpolate(scores, scale_factor=self.encoder.strides[finest], mode="bilinear")
        return fitted(scores, *x.shape[-2:], shift=onto_image)


class LearnedUpsample(nn.Module):
    """Every channel enlarged f-fold by a kernel w of its own, which starts bilinear: N C h w -> N C f·h f·w.

    A transposed convolution of stride f, which starts as torch's `interpolate(mode="bilinear", align_corners=False)`.
    Beyond the border stands what the border has: with zeros there, scores would fade towards the image's edges.
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(bilinear_kernel(2 * factor - factor % 2).expand(channels, 1, -1, -1).clone())

    def forward(self, x: Tensor) -> Tensor:
        """N C h w -> N C f·h f·w."""
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        around = self.factor + self.factor // 2  # what the border's copies add, and the kernel's overhang
        return F.conv_transpose2d(x, self.weight, stride=self.factor, padding=around, groups=x.shape[1])


def _scores(channels: int, classes: int) -> nn.Module:
    return nn.Conv2d(channels, classes, 1) if classes else nn.Identity()


def _place_of(stride: int, encoder: Encoder, name: str) -> int:
    """Which of an encoder's maps has a stride.

    Raises:
        NetwrightError: none.
    """
    if stride in encoder.strides:
        return encoder.strides.index(stride)
    allowed = [str(has) for has in encoder.strides if has in STRIDES]
    fix = f"give stride={'|'.join(allowed)}" if allowed else "choose a deeper encoder"
    maps = listed(f"1/{has}" for has in encoder.strides)
    problem = f"fcn: stride={stride} needs a map at 1/{stride} of the image's sides, and those of {name} are at {maps}"
    raise NetwrightError(problem, f"{fix}, or another encoder, such as resnet18")


def _factors(strides: tuple[int, ...], name: str) -> list[int]:
    """How many times larger each map is than the next.

    Raises:
        NetwrightError: not a whole number of times.
    """
    if any(coarse % fine for fine, coarse in pairwise(strides)):
        maps = listed(f"1/{stride}" for stride in strides)
        problem = f"fcn: the maps of {name} are at {maps}, and not each a whole number of times as large as the next"
        raise NetwrightError(problem, f"give stride={strides[-1]}, or another encoder, such as resnet18")
    return [coarse // fine for fine, coarse in pairwise(strides)]


VARIANTS = {
    "fcn": Variant(params=14_747_679, options={"encoder": "vgg16"}, classes=21, task="segmentation"),
}
