"""Whether a run fits in main memory, asked before it begins, and what is said when memory runs out after all."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.data.loader import RESIDENT_BYTES
from netwright.data.split import Split
from netwright.nn.ends import head_parameters
from netwright.nn.headed import Headed
from netwright.nn.init import evaluating
from netwright.recipes._memory import left

MOST = 0.9  # the part of the free memory that a run may be expected to fill
FLOAT = 4  # bytes
# Results that a network without gradients holds at a time, in the size of its largest: eleven families held 2 to 5.
AT_A_TIME = 5
OWN_STATE = 2  # tensors a parameter for which an optimiser of a library may keep: Adam's


def refuse_too_large(
    trained: int,
    splits: Mapping[str, Any],
    activations: int,
    batch: int,
    slots: int,
    *,
    resumed: bool = False,
    features: int | None = None,
) -> None:
    """Refuse a run on a CPU that would need more than nine tenths of the memory that is free.

    What it needs is held to be its pictures, for each parameter that trains a gradient and the optimiser's tensors, and
    what the network's operations give for a batch. Real runs of eight networks held 0.8 to 2.0 times the last of these.

    Args:
        trained: parameters that want gradients.
        splits: of the data; those that netwright decoded are copied to memory if they are small.
        activations: bytes that the network's operations give for one picture and that are held together.
        batch: pictures in one pass.
        slots: tensors that the optimiser keeps for each parameter.
        resumed: the run has begun, and its batch cannot be changed.
        features: bytes of those that are kept, of a network of which nothing but the head trains; its largest batch is
            one of evaluation, twice that of training, which no trick takes in parts.

    Raises:
        NetwrightError: it would; the fix names a batch that would fit, if one does.
    """
    fixed = pictures(splits) + FLOAT * trained * (1 + slots) + (features or 0)
    free, needed = left(), fixed + activations * batch
    if needed <= MOST * free:
        return
    fits = int((MOST * free - fixed) // max(1, activations))
    smaller = "take a smaller --image-size or --model, fewer pictures, or a machine with more memory"
    parts = f"--batch-size {fits}, or the same batch in parts: --with 'accumulate(parts={-(-batch // max(1, fits))})'"
    if features is not None:
        fits //= 2
        parts = f"--batch-size {fits}"
    raise NetwrightError(
        f"this run would need about {_size(needed)} of memory, {_size(fixed)} of it whatever the batch, and "
        f"{_size(max(0, free))} are free",
        for_a_run(parts if fits > 0 else smaller, resumed=resumed),
    )


def stands_still(network: nn.Module) -> bool:
    """Whether nothing but the head trains, so that nothing the rest makes of a picture is held for a gradient."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    return trained <= head_parameters(network)


def feature_bytes(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """What the features of one picture, C H W, take that a head of ours is given; nothing where there is none."""
    if not isinstance(network, Headed):
        return 0
    with evaluating(network):
        return FLOAT * network.features(torch.zeros(1, *shape)).shape[1]


def for_a_run(fix: str, *, resumed: bool) -> str:
    """What makes a run need less memory; one that has begun cannot be changed so."""
    return f"free some memory and resume it again; a new run could be smaller: {fix}" if resumed else fix


def pictures(splits: Mapping[str, Any]) -> int:
    """Bytes of the splits that are copied to memory; larger ones stay on the disk."""
    sizes = [split.images.nbytes for split in splits.values() if isinstance(split, Split)]
    return sum(size for size in sizes if size <= RESIDENT_BYTES)


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
