"""Pre-activation residual networks, ResNet-v2 (He, Zhang, Ren & Sun 2016, arXiv:1603.05027), named as in timm."""

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant, refuse_layers
from netwright.models.resnet import Style, initialise
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.drop_path import DropPath
from netwright.nn.norm import NormKind, make_norm


class Shortcut(nn.Module):
    """What goes around a branch: the block's input as it is, or activated as the branch begins with it."""

    def __init__(self, projection: nn.Conv2d | None, *, activated: bool) -> None:
        super().__init__()
        self.activated = activated
        self.conv = nn.Identity() if projection is None else projection

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """N C H W, twice -> N channels H/stride W/stride."""
        return self.conv(activated if self.activated else x)


class PreActBasic(nn.Module):
    """y = branch(x) + shortcut(x), the branch twice norm, activation, 3x3 convolution; without a shortcut, no sum."""

    expansion = 1
    downsample: Shortcut | None

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        shortcut: Shortcut | None,
        style: Style,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(style.norm, in_channels)
        self.conv1 = conv(in_channels, channels, 3, stride, norm=style.norm)
        self.norm2 = make_norm(style.norm, channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(channels, channels, 3, norm=style.norm)
        self.activation = make_activation(style.activation)
        self.drop_path = nn.Identity() if shortcut is None else DropPath()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        activated = self.activation(self.norm1(x))
        y = self.conv1(activated)
        y = self.conv2(self.dropout(self.activation(self.norm2(y))))
        return y if self.downsample is None else self.drop_path(y) + self.downsample(x, activated)


class PreActBottleneck(nn.Module):
    """As the basic block, the branch 1x1, 3x3, 1x1.

    The stride is on the 3x3 as in timm; the authors' code has it on the first 1x1.
    """

    expansion = 4
    downsample: Shortcut | None

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut | None, style: Style) -> None:
        super().__init__()
        self.norm1 = make_norm(style.norm, in_channels)
        self.conv1 = conv(in_channels, channels, 1, norm=style.norm)
        self.norm2 = make_norm(style.norm, channels)
        self.conv2 = conv(channels, channels, 3, stride, norm=style.norm)
        self.norm3 = make_norm(style.norm, channels)
        self.conv3 = conv(channels, channels * self.expansion, 1, norm=style.norm)
        self.activation = make_activation(style.activation)
        self.drop_path = nn.Identity() if shortcut is None else DropPath()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 4·channels H/stride W/stride."""
        activated = self.activation(self.norm1(x))
        y = self.conv1(activated)
        y = self.conv2(self.activation(self.norm2(y)))
        y = self.conv3(self.activation(self.norm3(y)))
        return y if self.downsample is None else self.drop_path(y) + self.downsample(x, activated)


class Stages(nn.ModuleList):
    """timm's weights name their stages as `Family` names a method; where torch looks for the one, this is both."""

    def __init__(self, network: Family, stages: list[nn.Sequential]) -> None:
        super().__init__(stages)
        self.network = (network,)  # in a tuple, lest the network become a submodule of its own part

    def forward(self, x: Tensor) -> list[Tensor]:
        """What the method gives: the network's feature maps."""
        return Family.stages(self.network[0], x)


class PreActResNet(Family):
    """A residual network whose blocks normalise and activate before each convolution, so that sums stay untouched.

    The last map is normalised and activated, as the head sees it; those before it are the bare sums.

    Args:
        block: two 3x3 convolutions, or the bottleneck of three.
        layers: blocks at each resolution.
        width: channels of the stem and of the first layer's 3x3 convolutions; doubled at each halving.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation before each activation; with none, convolutions get a bias.
        activation: before each convolution and before the head.
        skip: whether blocks add their input.
        dropout: share of the pooled features that is dropped before `head.fc`.
        stem: 7x7 of stride 2 and max-pooling, or one 3x3 of stride 1 for images of 32 to 64 pixels.
    """

    head_name = "head.fc"

    def __init__(
        self,
        *,
        block: Literal["basic", "bottleneck"] = "bottleneck",
        layers: tuple[int, ...] = (3, 4, 6, 3),
        width: Count = 64,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        dropout: Share = 0.0,
        stem: Literal["imagenet", "cifar"] = "imagenet",
    ) -> None:
        super().__init__()
        refuse_layers(layers, (2, 2, 2, 2))
        make_block = PreActBasic if block == "basic" else PreActBottleneck
        style, small = Style(norm, activation), stem == "cifar"
        self.small = small
        self.smallest = 2 ** (len(layers) - 1) * (1 if small else 4)
        first = conv(in_channels, width, 3 if small else 7, 1 if small else 2, norm=norm)
        pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stem = nn.Sequential(OrderedDict[str, nn.Module](conv=first, pool=pool))
        before, stages = width, list[nn.Sequential]()
        for index, blocks in enumerate(layers):
            made = nn.Sequential()
            for position in range(blocks):
                stride = 2 if index > 0 and position == 0 else 1
                channels = width * 2**index
                after = channels * make_block.expansion
                opens = small and index == position == 0
                shortcut = make_shortcut(before, after, stride, norm, opens=opens) if skip else None
                made.append(make_block(before, channels, stride, shortcut, style))
                before = after
            stages.append(nn.Sequential(OrderedDict(blocks=made)))
        self._modules["stages"] = named = Stages(self, stages)
        object.__setattr__(self, "stages", named)
        self.norm = make_norm(norm, before)
        self.activation = make_activation(activation)
        self.head = make_head(before, classes, dropout)
        self.apply(initialise)
        scores = self.get_head()
        if isinstance(scores, nn.Conv2d):
            nn.init.normal_(scores.weight, std=0.01)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The stem at 1/2 and each stage at 1/4, 1/8, …; with the small stem, each stage at 1/1, 1/2, …."""
        first, pool = self.stem.children()
        x = first(x)
        maps = [] if self.small else [x]
        x = pool(x)
        for stage in self.get_submodule("stages").children():
            x = stage(x)
            maps.append(x)
        return [*maps[:-1], self.activation(self.norm(x))]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.head(self.stages(x)[-1])


def make_shortcut(in_channels: int, channels: int, stride: int, norm: NormKind, *, opens: bool) -> Shortcut:
    """The identity where shapes agree, else a 1x1 convolution of the activated input.

    The block that opens a network gives its shortcut the activated input too (the paper's appendix); timm's networks
    for large images do so only where there is a projection.
    """
    if stride == 1 and in_channels == channels:
        return Shortcut(None, activated=opens)
    return Shortcut(conv(in_channels, channels, 1, stride, norm=norm), activated=True)


def make_head(features: int, classes: int, dropout: float) -> nn.Sequential:
    """N C H W -> N K, the linear layer a 1x1 convolution as in timm; without classes N C H W -> N C."""
    scores = nn.Conv2d(features, classes, 1) if classes else nn.Identity()
    layers = {"pool": nn.AdaptiveAvgPool2d(1), "drop": nn.Dropout(dropout), "fc": scores, "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict[str, nn.Module](layers))


# For large images timm's counts where there is a reference. All are trainable parameters, norms and biases included,
# with projections where channels grow. The paper counts the weights of convolutions and head alone: 1.7 M of 110 and
# of 164 layers, 10.2 M of 1001; so do Han, Kim & Kim (arXiv:1610.02915) where they give 64.5 M of 200 layers.
VARIANTS = {
    "preact_resnet18": Variant(
        params=11_687_720, options={"block": "basic", "layers": (2, 2, 2, 2)}, reference="timm/resnetv2_18"
    ),
    "preact_resnet34": Variant(
        params=21_795_880, options={"block": "basic", "layers": (3, 4, 6, 3)}, reference="timm/resnetv2_34"
    ),
    "preact_resnet50": Variant(params=25_549_352, options={"layers": (3, 4, 6, 3)}, reference="timm/resnetv2_50"),
    "preact_resnet101": Variant(params=44_541_480, options={"layers": (3, 4, 23, 3)}, reference="timm/resnetv2_101"),
    "preact_resnet152": Variant(params=60_185_128, options={"layers": (3, 8, 36, 3)}, reference="timm/resnetv2_152"),
    "preact_resnet200": Variant(params=64_666_152, options={"layers": (3, 24, 36, 3)}),
    "preact_resnet110": Variant(
        params=1_730_522,
        options={"block": "basic", "layers": (18, 18, 18), "width": 16, "stem": "cifar"},
        image_size=32,
        classes=10,
    ),
    "preact_resnet164": Variant(
        params=1_703_258,
        options={"layers": (18, 18, 18), "width": 16, "stem": "cifar"},
        image_size=32,
        classes=10,
    ),
    "preact_resnet1001": Variant(
        params=10_327_706,
        options={"layers": (111, 111, 111), "width": 16, "stem": "cifar"},
        image_size=32,
        classes=10,
    ),
}
