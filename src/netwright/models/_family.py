"""What every model family offers, and what one row of its table of variants says."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between

Count = Annotated[int, Between(1, 100_000)]  # far more than any network has, and few enough to count to
Classes = Annotated[int, Between(0)]  # none: the network gives its embedding, what its head would have seen
Share = Annotated[float, Between(0, 1)]
Multiplier = Annotated[float, Between(0.1, 10)]  # of published widths or depths


@dataclass(frozen=True)
class Variant:
    """One published network of a family.

    Args:
        params: the published number of trainable parameters, at the classes and channels below.
        options: what its family's class is called with.
        image_size: side of the square images it was made for, in pixels.
        classes: how many classes it was made for.
        in_channels: channels of those images.
        reference: whose weights fit it unchanged, as "torchvision/resnet18"; None where nobody's do.
        task: what it is for; a network for "segmentation" gives scores for each pixel, N K H W.
    """

    params: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    image_size: int = 224
    classes: int = 1000
    in_channels: int = 3
    reference: str | None = None
    task: str = "classification"


class Family(nn.Module, ABC):
    """A network that classifies images and shows its feature maps.

    A subclass takes keyword options only, among them `classes` and `in_channels`, each annotated with what it allows.
    In training, a network with auxiliary heads gives `nn.output.Outputs` instead of plain scores.
    """

    head_name: str  # the submodule that turns features into class scores, as "fc"
    auxiliary_names: tuple[str, ...] = ()  # the submodules that are auxiliary heads
    smallest: int = 1  # side in pixels of the smallest image that leaves something to look at
    reference: str | None = None

    @abstractmethod
    def maps(self, x: Tensor) -> list[Tensor]:
        """What `stages` gives, for images that are large enough."""

    @abstractmethod
    def forward(self, x: Tensor) -> Any:
        """Class scores before softmax: N C H W -> N K; the embedding where there are no classes."""

    def stages(self, x: Tensor) -> list[Tensor]:
        """The last feature map at each resolution, from large to small: 1/1, 1/2, 1/4, … of the image's sides.

        Raises:
            NetwrightError: the images are too small for this network.
        """
        height, width = x.shape[-2:]
        if height < self.smallest or width < self.smallest:
            needed = f"{type(self).__name__} needs images of at least {self.smallest}x{self.smallest} pixels"
            fix = f"enlarge them (--image-size {self.smallest}), or choose a network for small images, such as resnet20"
            raise NetwrightError(f"{needed}, not {height}x{width}", fix)
        return self.maps(x)

    def get_head(self) -> nn.Module:
        """The layer that `head_name` names."""
        return self.get_submodule(self.head_name)


def refuse_layers(layers: tuple[int, ...], example: tuple[int, ...]) -> None:
    """Refuse depths of stages that no network can be built from.

    Raises:
        NetwrightError: no stages, or a stage without layers.
    """
    if not layers or not all(type(count) is int and count >= 1 for count in layers):
        raise NetwrightError(f"layers cannot be {layers!r}", f"give whole numbers of at least 1: layers={example}")
