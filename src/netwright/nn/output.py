"""What a network gives in training when it has heads besides its main one."""

from typing import Any, NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """The scores of the main head, N K, and those of each auxiliary head, N K, from the deepest to the shallowest."""

    scores: Tensor
    auxiliary: tuple[Tensor, ...]


def main_output(output: Any) -> Any:
    """What a task looks at: the main head's scores where there are several heads."""
    return output.scores if isinstance(output, Outputs) else output
