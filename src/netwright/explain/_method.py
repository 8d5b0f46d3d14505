"""What methods of looking into a network share: whom they look at, and what they give."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.normalise import Normalise
from netwright.nn.output import main_output

BATCH = 32  # changed pictures at a time


@dataclass(frozen=True)
class Subject:
    """A network that is looked into.

    Attributes:
        network: maps N C H W to class scores, N K; it is put into evaluation mode, and its weights are left alone.
        normalise: how values in [0, 1] become its input; None where they are its input.
        shape: of its input, C H W; only methods that paint or show kernels of a dense layer want it.
        temperature: divides the scores before they become probabilities.
        several: whether a picture may have several labels, so that each class has a probability of its own.
    """

    network: nn.Module
    normalise: Normalise | None = None
    shape: tuple[int, int, int] | None = None
    temperature: float = 1.0
    several: bool = False

    def scores(self, image: Tensor) -> Tensor:
        """Class scores in float32, whatever precision the network was trained in. N C H W -> N K.

        Raises:
            NetwrightError: it gives something else.
        """
        self.network.eval()
        return scores_of(self.network(image))

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """Calibrated probabilities, N C H W -> N K."""
        parts = [self.scores(part) / self.temperature for part in image.split(BATCH)]
        scores = torch.cat(parts)
        return scores.sigmoid() if self.several else scores.softmax(1)

    def probability(self, image: Tensor, target: Tensor) -> Tensor:
        """Of one class for each picture. N C H W and N -> N."""
        return self.probabilities(image).gather(1, target[:, None])[:, 0]

    def input(self, value: Tensor) -> Tensor:
        """Values in [0, 1] as the network wants them, N C H W."""
        return value if self.normalise is None else self.normalise(value)


def scores_of(output: Any) -> Tensor:
    """The main head's class scores, N K.

    Raises:
        NetwrightError: it is something else, as masks or features would be.
    """
    scores = main_output(output)
    if not isinstance(scores, Tensor) or scores.dim() != 2:
        given = _given(scores) if isinstance(scores, Tensor) else "no tensor"
        raise NetwrightError(f"this network gives {given}, not a score for each class", "choose a classifier")
    return scores.float()


def _given(scores: Tensor) -> str:
    return "scores for each pixel" if scores.dim() == 4 else f"a tensor N {' '.join('…' for _ in scores.shape[1:])}"


@dataclass(frozen=True)
class Sheet:
    """Pictures that belong together.

    Attributes:
        title: what they are.
        tiles: uint8 H W 3 each.
        captions: one for each tile, perhaps empty.
        note: a sentence to read with them.
        facts: numbers behind the sentence, for machines.
    """

    title: str
    tiles: list[np.ndarray]
    captions: list[str]
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


class Where(ABC):
    """A method that says which places of a picture speak for a class."""

    by_places: ClassVar[bool] = False  # whether it reads feature maps, which not every network has

    @abstractmethod
    def heat(self, subject: Subject, image: Tensor, target: Tensor) -> Tensor:
        """How much each pixel speaks for a class: above 0 for it, below 0 against it; the scale is the method's own.

        Args:
            subject: the network.
            image: normalised pictures, N C H W.
            target: the class asked about for each, N.

        Returns:
            N H W, float32.

        Raises:
            NetwrightError: the network has nothing for this method to read.
        """


class What(ABC):
    """A method that shows what parts of a network look for, or what they make of one picture."""

    wants_picture: ClassVar[bool] = False

    @property
    def wants_class(self) -> bool:
        """Whether what it shows is about a class."""
        return False

    @abstractmethod
    def sheets(self, subject: Subject, image: Tensor | None = None, target: int | None = None) -> list[Sheet]:
        """Sheets of pictures.

        Args:
            subject: the network.
            image: one normalised picture, 1 C H W, for methods that want one.
            target: a class, for methods that want one.

        Raises:
            NetwrightError: the network has nothing for this method to show, or something it wants is missing.
        """


@contextmanager
def with_gradients() -> Generator[None]:
    """With gradients, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
