"""What a network gives besides plain scores: those of several heads, or a code and what is decoded from it."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from netwright.nn.observation import Observation


class Outputs(NamedTuple):
    """The scores of the main head, N K, and those of each auxiliary head, N K, from the deepest to the shallowest."""

    scores: Tensor
    auxiliary: tuple[Tensor, ...]


@dataclass(frozen=True)
class Decoded:
    """What an autoencoder gives: codes of pictures, and what is decoded from them.

    Attributes:
        natural: what the decoder says of each picture, N C H W: means, or logits; `pixels` are the pictures.
        code: what was decoded, N D: in training a draw, where codes are random; else their mean.
        mean: of each code, N D.
        log_variance: the logarithm of each code's variance, N D; None where codes are not random.
        observation: what `natural` means.
        beta: the weight of the divergence in the loss.
        floor: nats of each dimension's divergence that are not charged.
    """

    natural: Tensor
    code: Tensor
    mean: Tensor
    log_variance: Tensor | None
    observation: Observation
    beta: float = 1.0
    floor: float = 0.0

    @property
    def pixels(self) -> Tensor:
        """The reconstructions, N C H W; a Gaussian's may lie outside [0, 1]."""
        return self.observation.pixels(self.natural)

    @property
    def divergence(self) -> Tensor | None:
        """KL(q(z | x) ‖ N(0, I)) of each dimension in nats, N D; None where codes are not random."""
        return None if self.log_variance is None else normal_divergence(self.mean, self.log_variance)

    def detach(self) -> "Decoded":
        """The same without a graph."""
        variance = None if self.log_variance is None else self.log_variance.detach()
        parts = {name: getattr(self, name).detach() for name in ("natural", "code", "mean")}
        return replace(self, **parts, log_variance=variance)

    def float(self) -> "Decoded":
        """The same in float32."""
        variance = None if self.log_variance is None else self.log_variance.float()
        parts = {name: getattr(self, name).float() for name in ("natural", "code", "mean")}
        return replace(self, **parts, log_variance=variance)


def normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(m, s²) ‖ N(0, 1)) = ½ (m² + s² − 1 − log s²), in nats (Kingma & Welling 2014, appendix B). Same shape."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def main_output(output: Any) -> Any:
    """What a task looks at: the main head's scores where there are several heads."""
    return output.scores if isinstance(output, Outputs) else output


def wants_labels(model: nn.Module) -> bool:
    """Whether a network takes each picture's class besides the picture, as a conditional autoencoder does."""
    return bool(getattr(model, "conditional", False))


def given(model: nn.Module, image: Tensor, label: Tensor) -> Any:
    """A network's output for pictures, N C H W, with their labels where it takes them."""
    return model(image, label) if wants_labels(model) else model(image)
