"""What a run remembers, as a value: a copy of it, and where two of them differ."""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

TIMES = ("seconds", "images_per_second")  # what a clock wrote is never the same twice


def copied(memory: Any) -> Any:
    """The same dicts, lists, numbers and words, with tensors of their own on the same devices."""
    match memory:
        case Tensor():
            return memory.detach().clone()
        case dict():
            return {name: copied(value) for name, value in cast(dict[Any, Any], memory).items()}
        case list() | tuple():
            return [copied(value) for value in cast(list[Any], memory)]
        case _:
            return memory


def differences(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """The places where two memories are not equal bit for bit, in the order of the first; times do not count.

    A tensor on a device equals one that a checkpoint brought back to the CPU.
    """
    match one, other:
        case Tensor(), Tensor():
            if not _same_bits(one, other):
                yield at
        case dict(), dict():
            for name in [*one, *(name for name in other if name not in one)]:
                if name not in TIMES:
                    yield from differences(one.get(name), other.get(name), f"{at}/{name}" if at else str(name))
        case ((list() | tuple()), (list() | tuple())) if len(one) == len(other):
            for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
                yield from differences(mine, theirs, f"{at}/{place}")
        case _:
            if not _same_value(one, other):
                yield at


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    first, second = (x.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for x in (one, other))
    return torch.equal(first, second)


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other
