"""Stochastic depth (Huang, Sun, Liu, Sedra & Weinberger 2016, arXiv:1603.09382)."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, each sample's branch is left out with `probability`, and kept ones are scaled to make up for it.

    Residual families have one at the end of each branch that is added to something: `stochastic_depth` looks for them.
    """

    def __init__(self, probability: float = 0.0) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """N ... -> the same shape."""
        return drop_path(x, self.probability) if self.training and self.probability else x

    def extra_repr(self) -> str:
        """For printing."""
        return f"probability={self.probability:g}"


def drop_path(x: Tensor, probability: float) -> Tensor:
    """x times 0 with `probability`, else times 1/(1 - probability), drawn for each sample. N ... -> N ...."""
    kept = 1 - probability
    if not kept:
        return x * 0
    return x * (x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(kept) / kept)
