"""What netwright chooses where a recipe leaves it open: a network and a batch size that suit the data."""

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import Run
from netwright.recipes._inputs import Inputs
from netwright.recipes._recipe import Recipe

SMALL = 64  # up to this side in pixels, networks for small pictures
UPDATES = 80  # in an epoch, about
FEWEST, MOST = 16, 256
HELD_BACK = 0.8  # the part of the memory that a batch may fill

Trial = Callable[[Recipe, nn.Module], Run]


def suited(recipe: Recipe, inputs: Inputs) -> Recipe:
    """A recipe whose network and batch size are named: by the size of the pictures, and by how many there are."""
    side = max(inputs.shape[1:])
    model = "resnet20" if side <= SMALL else "resnet18"
    return recipe.resolved(model=model, batch_size=batch_size_for(len(inputs.splits["train"])))


def batch_size_for(n: int) -> int:
    """The power of two that gives about eighty updates an epoch, from 16 to 256: noise helps, and steps count."""
    return min(MOST, max(FEWEST, 2 ** round(math.log2(max(1, n) / UPDATES))))


def largest_batch(recipe: Recipe, inputs: Inputs, network: nn.Module, trial: Trial) -> int:
    """The largest power of two that trains and validates in the memory there is.

    Each size is tried: two updates with the recipe's own optimiser and tricks, and a validation, on a copy. On a CPU
    the next size is tried only if what it would need, judged by the growth from the last to this, is free.

    Raises:
        NetwrightError: not even one sample at a time fits.
    """
    n, size, fits = len(inputs.splits["train"]), 1, 0
    needed: list[int] = []
    while size <= n and (len(needed) < 2 or needed[-1] + 2 * (needed[-1] - needed[-2]) < _free() * HELD_BACK):
        try:
            needed.append(_tried(trial(recipe.changed("auto", batch_size=size), copy.deepcopy(network))))
        except torch.OutOfMemoryError:
            break
        size, fits = 2 * size, size
    if not fits:
        raise NetwrightError("not even one picture fits in memory", "take a smaller --image-size or another --model")
    return fits


def _tried(run: Run) -> int:
    """Two updates and a validation, as the run itself would make them; the most memory the process has held, bytes."""
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    run.model.train()
    for _, raw in zip(range(2), run.loader.epoch(0), strict=False):
        step(run, augment, raw, before, after)
    if run.validate is not None:
        run.validate()
    return peak()


def peak() -> int:
    """The most memory this process has held, in bytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _free() -> int:
    """Bytes that this process may come to hold; without end where the system does not tell."""
    lines = _text("/proc/meminfo").splitlines()
    machine = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    limit, used = _text("/sys/fs/cgroup/memory.max").strip(), _text("/sys/fs/cgroup/memory.current").strip()
    container = [int(limit) - int(used)] if limit.isdigit() and used.isdigit() else []
    return peak() + min([*machine, *container], default=sys.maxsize)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
