"""What netwright chooses where a recipe leaves it open: a network and a batch size that suit the data."""

import gc
import math
from collections.abc import Callable

import torch

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import Run
from netwright.models import list_models
from netwright.recipes._inputs import Inputs
from netwright.recipes._memory import forget_peak, free, is_full, peak
from netwright.recipes._recipe import Recipe

SMALL = 64  # up to this side in pixels, networks for small pictures
UPDATES = 80  # in an epoch, about
FEWEST, MOST = 16, 256
MASK_UPDATES, MASK_BATCHES = 25, (4, 16)
PICTURES = 64  # of a batch, at most, that are to be made again: each says much, and what counts is updates
USABLE = 0.8  # the part of the free memory that a batch may fill

Trial = Callable[[Recipe], Run]


def suited(recipe: Recipe, inputs: Inputs) -> Recipe:
    """A recipe whose network and batch size are named: by the size of the pictures, and by how many there are."""
    masked = inputs.masks is not None
    model = network_suiting(max(inputs.shape[1:]), masked=masked)
    batch_size = batch_size_for(len(inputs.splits["train"]), masked=masked)
    if recipe.task == "reconstruction":
        model = str(Spec("autoencoder", {"encoder": model}))
        batch_size = min(batch_size, PICTURES)
    return recipe.resolved(model=model, batch_size=batch_size)


def sized(recipe: Recipe, inputs: Inputs) -> str:
    """The network as a bundle names it: an autoencoder's name says for pictures of which size it is.

    Raises:
        NetwrightError: the recipe says another size than the pictures have.
    """
    spec = Spec.parse(recipe.model)
    if spec.name not in list_models(task="reconstruction"):
        return recipe.model
    height, width = inputs.shape[1:]
    side = height if height == width else (height, width)
    own = spec.options.get("image_size", side)
    if own not in (side, (height, width)):
        fix = f"prepare them so: --image-size {own}" if isinstance(own, int) else "leave image_size out of the model"
        raise NetwrightError(f"{spec.name} is for pictures of {own} pixels a side, and these have {side}", fix)
    return str(spec.with_options(image_size=side))


def network_suiting(side: int, *, masked: bool = False) -> str:
    """A network for pictures of a side in pixels; for masks a U-Net on the same."""
    model = "resnet20" if side <= SMALL else "resnet18"
    return f"unet(encoder='{model}')" if masked else model


def batch_size_for(n: int, *, masked: bool = False) -> int:
    """The power of two that gives about eighty updates an epoch, from 16 to 256: noise helps, and steps count.

    A picture with a mask has thousands of labels: there about twenty-five updates, of 4 to 16 pictures.
    """
    updates, fewest, most = (MASK_UPDATES, *MASK_BATCHES) if masked else (UPDATES, FEWEST, MOST)
    return min(most, max(fewest, 2 ** round(math.log2(max(1, n) / updates))))


def largest_batch(recipe: Recipe, n: int, trial: Trial) -> int:
    """The largest power of two that trains and validates in the memory there is.

    Each size is tried: two updates with the recipe's own optimiser and tricks, and a validation. On a CPU the next size
    is tried only if what it would need, judged by the growth from the last to this, is free.

    Args:
        recipe: whose batch size is sought.
        n: training samples; no batch is larger.
        trial: makes a run of a recipe, on copies of everything that training changes.

    Raises:
        NetwrightError: not even one sample at a time fits.
    """
    size, fits = 1, 0
    needed: list[int] = []
    while size <= n and _next(needed) <= free() * USABLE:
        try:
            needed.append(_tried(trial(recipe.changed("auto", batch_size=size))))
            fits = size
        except (RuntimeError, ValueError) as error:
            if is_full(error):
                break
            if not is_too_small(error):
                raise
        size *= 2
    _collect()
    if not fits:
        raise NetwrightError("not even one picture fits in memory", "take a smaller --image-size or another --model")
    return fits


def is_too_small(error: BaseException) -> bool:
    """Whether this is torch's complaint that batch normalisation got one value a channel."""
    return isinstance(error, ValueError) and "more than 1 value per channel" in str(error)


def _next(needed: list[int]) -> int:
    """What twice the last batch would need: activations grow with it, weights do not."""
    return needed[-1] + 2 * max(0, needed[-1] - needed[-2]) if len(needed) > 1 else 0


def _tried(run: Run) -> int:
    """Two updates and a validation, as the run itself would make them; the most memory they held, in bytes."""
    _collect()
    forget_peak()
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    run.model.train()
    for _, raw in zip(range(2), run.loader.epoch(0), strict=False):
        step(run, augment, raw, before, after)
    if run.validate is not None:
        run.validate()
    return peak()


def _collect() -> None:
    """Give back what earlier trials held: runs and their parts know each other, so Python keeps them for a while."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
