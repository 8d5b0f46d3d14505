"""FCN on a dilated residual network, as torchvision has it (Long, Shelhamer & Darrell 2015, arXiv:1411.4038).

Strides of the last stages become dilation (Yu & Koltun 2016, arXiv:1511.07122), and so the last map is fine.
"""

import re
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.models import summaries
from netwright.models._encoder import Encoder, make_encoder
from netwright.models._family import Classes, Count, Share, Variant
from netwright.models._segmenter import Segmenter
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.norm import NormKind, make_norm
from netwright.nn.output import Outputs

STRIDES = (8, 16, 32)


class FCNResNet(Segmenter):
    """Scores of a dilated residual network's last map, enlarged; an auxiliary head looks at the map before it.

    Images are not padded: maps are enlarged to the image's sides, whatever these are, and so torchvision's weights give
    torchvision's scores at every size.

    Args:
        encoder: a residual network of torchvision's names: resnet18 to resnet152, resnext50_32x4d, wide_resnet50_2, ….
        stride: how many pixels of the image lie between neighbours of the last map: 8 as in torchvision, or less memory
            and time for coarser scores.
        classes: number of class scores; with none there is no auxiliary head either.
        in_channels: channels of the images.
        norm: normalisation after each convolution, also of the encoder.
        activation: after each normalisation, also of the encoder.
        dropout: share of the values before each head's last convolution that is dropped.
        aux: whether there is an auxiliary head, which speaks in training alone.
    """

    encoder_name = "backbone"
    head_name = "classifier.4"
    auxiliary_names = ("aux_classifier",)

    def __init__(
        self,
        *,
        encoder: str = "resnet50",
        stride: Literal[8, 16, 32] = 8,
        classes: Classes = 21,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        dropout: Share = 0.1,
        aux: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = make_encoder(_residual(encoder, norm, activation), in_channels)
        dilate(self.backbone, stride)
        *_, shallow, deep = self.backbone.channels
        self.classifier = fcn_head(deep, classes, norm=norm, activation=activation, dropout=dropout)
        heard = aux and classes > 0
        self.aux_classifier = (
            fcn_head(shallow, classes, norm=norm, activation=activation, dropout=dropout) if heard else None
        )

    @property
    def grid(self) -> int:
        """Pixels between neighbours of its coarsest map, although images are not padded to multiples of it."""
        return max(self.backbone.strides)

    def scores(self, x: Tensor) -> Tensor | Outputs:
        """N C H W -> N K H W; in training those of `aux_classifier` too."""
        size = x.shape[-2:]
        *_, shallow, deep = self.backbone(x)
        scores = F.interpolate(self.classifier(deep), size=size, mode="bilinear")
        if not self.training or self.aux_classifier is None:
            return scores
        return Outputs(scores, (F.interpolate(self.aux_classifier(shallow), size=size, mode="bilinear"),))


def fcn_head(
    in_channels: int, classes: int, *, norm: NormKind, activation: ActivationKind, dropout: float
) -> nn.Sequential:
    """A quarter of the channels by a 3x3 convolution, then scores by a 1x1; N C h w -> N K h w, or N C/4 h w."""
    channels = in_channels // 4
    return nn.Sequential(
        conv(in_channels, channels, 3, norm=norm),
        make_norm(norm, channels),
        make_activation(activation),
        nn.Dropout(dropout),
        nn.Conv2d(channels, classes, 1) if classes else nn.Identity(),
    )


def dilate(encoder: Encoder, stride: int) -> None:
    """Let a residual network's maps shrink no further than to 1/stride: later strides become dilation.

    A convolution that strode from a map of dilation d looks at every d-th value still; all behind it look at every
    2d-th. At each 2d-th place of the finer map stands what the coarser one had there.

    Raises:
        NetwrightError: no map is there.
    """
    strides = encoder.strides
    allowed = [has for has in strides if has in STRIDES]
    if stride not in allowed:
        maps = listed(f"1/{has}" for has in strides)
        fix = f"give stride={'|'.join(map(str, allowed))}"
        raise NetwrightError(f"fcn_resnet: stride={stride} needs a map there, and the encoder's are at {maps}", fix)
    names = [name for name, _ in encoder.named_children() if re.fullmatch(r"layer\d+", name)]
    dilations = [max(1, before // stride) for before in strides[-len(names) :]]
    for name, (before, after) in zip(names[1:], pairwise(dilations), strict=True):
        if after > 1:
            _dilate_stage(encoder.get_submodule(name), before, after)
    encoder.strides = tuple(min(before, stride) for before in strides)
    encoder.smallest = encoder.network.smallest = 1  # which was to leave something of the coarsest map


def _dilate_stage(stage: nn.Module, before: int, after: int) -> None:
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d):
            dilation = after if layer.stride == (1, 1) else before
            layer.stride, (side, _) = (1, 1), layer.kernel_size
            if side > 1:
                layer.dilation, layer.padding = (dilation, dilation), (dilation * (side // 2),) * 2


def _residual(encoder: str, norm: NormKind, activation: ActivationKind) -> Spec:
    """The encoder with this network's norm and activation, where its own spec does not say which.

    Raises:
        NetwrightError: it is none of the networks whose strides become dilation.
    """
    spec = Spec.parse(encoder)
    known = {name for name, row in summaries().items() if row.family == "resnet"}
    if spec.name not in known:
        problem = f"fcn_resnet is made of residual networks with torchvision's names, not of '{spec.name}'"
        fix = f'choose one of {listed(sorted(known))}; any other encoder goes into fcn: "fcn(encoder={encoder!r})"'
        raise NetwrightError(problem, fix)
    return spec.with_options(**{"norm": norm, "activation": activation, **spec.options})


VARIANTS = {
    "fcn_resnet50": Variant(
        params=35_322_218,
        options={"encoder": "resnet50"},
        image_size=520,
        classes=21,
        reference="torchvision/fcn_resnet50",
        task="segmentation",
    ),
    "fcn_resnet101": Variant(
        params=54_314_346,
        options={"encoder": "resnet101"},
        image_size=520,
        classes=21,
        reference="torchvision/fcn_resnet101",
        task="segmentation",
    ),
}
