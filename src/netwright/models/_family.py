"""What every model family offers, and what one row of its table of variants says."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from torch import Tensor, nn

from netwright.core.options import Between

Count = Annotated[int, Between(1)]
Share = Annotated[float, Between(0, 1)]


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
    """

    params: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    image_size: int = 224
    classes: int = 1000
    in_channels: int = 3
    reference: str | None = None


class Family(nn.Module, ABC):
    """A network that classifies images and shows its feature maps.

    A subclass takes keyword options only, among them `classes` and `in_channels`, each annotated with what it allows.
    """

    head_name: str  # the submodule that turns features into class scores, as "fc"
    reference: str | None = None

    @abstractmethod
    def stages(self, x: Tensor) -> list[Tensor]:
        """The last feature map at each resolution, from large to small: 1/2, 1/4, … of the image's sides."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Class scores before softmax: N C H W -> N K."""

    def get_head(self) -> nn.Module:
        """The layer that `head_name` names."""
        return self.get_submodule(self.head_name)
