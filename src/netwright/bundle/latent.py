"""What can be done with codes: between pictures, along a dimension, towards another class.

Straight and spherical ways between codes: White, Sampling generative networks, arXiv:1609.04468; traversals: Higgins et
al., beta-VAE, ICLR 2017; arithmetic with means of classes: Larsen et al., Autoencoding beyond pixels, ICML 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.core.errors import NetwrightError
from netwright.nn.output import normal_divergence
from netwright.tasks._latent import ACTIVE

PARALLEL = 1e-6  # 1 − |cos| of the angle between codes from which on there is no one arc between them
FAR, NARROW = 1.0, 0.5  # of the prior's deviation: means and spreads of codes that lie beside it
MOST_DIMENSIONS = 10  # that are traversed without being named
Chosen = Sequence[int] | Literal["active", "all"]


@dataclass(frozen=True)
class Between:
    """Pictures from one to another.

    Attributes:
        shares: how far each is on the way, from 0 to 1.
        codes: S D.
        decoded: the pictures of the codes, S C H W.
        blended: the same shares of the two pictures themselves, S C H W: no network has a part in them.
    """

    shares: Tensor
    codes: Tensor
    decoded: Tensor
    blended: Tensor


@dataclass(frozen=True)
class Traversal:
    """What each of some dimensions of a code changes in a picture.

    Attributes:
        dimensions: which, those that say most first.
        says: how much each says over pictures: its divergence from the prior in nats; the deviation of codes where
            they are not random. None where nobody measured it.
        values: of each dimension, K S.
        decoded: K S C H W.
    """

    dimensions: Sequence[int]
    says: Sequence[float] | None
    values: Tensor
    decoded: Tensor


def way(first: Tensor, second: Tensor, shares: Tensor, *, spherical: bool = False) -> Tensor:
    """Codes between two, D and D, at shares of the way from 0 to 1, S: S D.

    Straight, or along the arc around the origin, on which lengths stay those of codes: between two draws of N(0, I) the
    straight way leads through shorter codes than are ever drawn.

    Raises:
        NetwrightError: there is no one arc, since a code is zero or they point in opposite directions.
    """
    along = shares[:, None].to(first)
    if not spherical:
        return (1 - along) * first + along * second
    lengths = torch.stack([first.norm(), second.norm()])
    if not lengths.min() > 0:
        raise NetwrightError("a code is zero, so that there is no arc to it", "leave out --spherical")
    cosine = (first @ second / lengths.prod()).clamp(-1, 1)
    if 1 - cosine.abs() < PARALLEL:
        if cosine > 0:  # the arc is a straight line
            return (1 - along) * first + along * second
        raise NetwrightError("the codes point in opposite directions: there are many arcs", "leave out --spherical")
    angle = cosine.arccos()
    return (((1 - along) * angle).sin() * first + (along * angle).sin() * second) / angle.sin()


def interpolate(
    bundle: AutoencoderBundle,
    first: Any,
    second: Any,
    *,
    steps: int = 8,
    spherical: bool = False,
    label: str | int | None = None,
) -> Between:
    """Pictures on the way from one picture's code to another's, both ends among them.

    Args:
        bundle: the autoencoder.
        first: a path, a Pillow image or an array.
        second: the same.
        steps: how many pictures, at least 2.
        spherical: take the arc around the origin instead of the straight way.
        label: of a conditional network, the class of all of them.

    Raises:
        NetwrightError: too few steps, a picture that cannot be read, no arc, or no class where one is needed.
    """
    shares = _shares(steps)
    pictures = bundle.pictures([first, second])
    start, end = bundle.encode(pictures, label)[0]
    codes = way(start, end, shares, spherical=spherical)
    weight = shares.view(-1, 1, 1, 1)
    blended = (1 - weight) * pictures[0] + weight * pictures[1]
    return Between(shares, codes, bundle.decode(codes, label), blended)


def frame(bundle: AutoencoderBundle) -> tuple[Tensor, Tensor]:
    """The middle and the spread of training pictures' codes, D each; of the prior where nobody kept those.

    Raises:
        NetwrightError: nobody did, and codes are not random, so that there is no prior.
    """
    kept = bundle.statistics
    if kept is not None and "deviation" in kept:
        return torch.tensor(kept["mean"]), torch.tensor(kept["deviation"])
    if not bundle.random:
        problem = "nothing was kept of this network's codes in training, so nobody knows how far they reach"
        raise NetwrightError(problem, "train it anew, or train a vae, whose codes have a prior")
    return prior(bundle)


def prior(bundle: AutoencoderBundle) -> tuple[Tensor, Tensor]:
    """Mean and deviation of N(0, I), D each."""
    return torch.zeros(bundle.latent), torch.ones(bundle.latent)


def beside_prior(bundle: AutoencoderBundle) -> str | None:
    """What to know before codes are drawn from the prior: that those of training lie elsewhere, where they do.

    A dimension lies elsewhere if the mean of its codes is more than one deviation of the prior away from nought, or
    codes are spread over less than half of it or more than twice.
    """
    kept = bundle.statistics
    if not bundle.random or kept is None or not {"deviation", "divergence"} <= set(kept):
        return None
    rows = zip(kept["mean"], kept["deviation"], kept["divergence"], strict=True)
    off = [
        (place, mean, deviation)
        for place, (mean, deviation, nats) in enumerate(rows)
        if nats > ACTIVE and (abs(mean) > FAR or deviation > 1 / NARROW or (nats > 1 and deviation < NARROW))
    ]
    if not off:
        return None
    place, mean, deviation = max(off, key=lambda each: abs(each[1]))
    return (
        f"in {len(off)} of {bundle.latent} dimensions training's codes lie beside the prior (dimension {place}: "
        f"mean {mean:.2f}, deviation {deviation:.2f}): much of what the prior draws the decoder has never learned; "
        f"--fitted draws where they lie, and longer training or a larger beta brings them closer"
    )


def said(bundle: AutoencoderBundle, code: tuple[Tensor, Tensor | None] | None = None) -> Tensor:
    """How much each dimension says over pictures, D: nats of divergence, or the deviation where codes are not random.

    Args:
        bundle: the autoencoder.
        code: mean and logarithm of the variance of one picture's code, 1 D, which must do where nothing was kept of
            training.

    Raises:
        NetwrightError: nothing was kept, and there is no picture.
    """
    kept = bundle.statistics or {}
    if not bundle.random:
        return frame(bundle)[1]
    if "divergence" in kept:
        return torch.tensor(kept["divergence"])
    if code is None or code[1] is None:
        problem = "nothing was kept of this network's codes in training, so nobody knows which dimensions say most"
        raise NetwrightError(problem, "name a picture, or the dimensions: --dim 0")
    return normal_divergence(code[0], code[1])[0]


def _unmeasured(bundle: AutoencoderBundle, code: tuple[Tensor, Tensor | None] | None) -> bool:
    """Whether neither training nor a picture tells what random codes say."""
    return bundle.random and code is None and "divergence" not in (bundle.statistics or {})


def chosen_dimensions(says: Tensor, chosen: Chosen, *, random: bool) -> list[int]:
    """Dimensions by number: those that are named; all; or the ten that say most, if they say anything.

    Args:
        says: of each dimension, D.
        chosen: which.
        random: whether `says` is in nats.

    Raises:
        NetwrightError: a dimension that is not there, or none that says anything.
    """
    order = says.argsort(descending=True, stable=True).tolist()
    if chosen == "all":
        return order
    if chosen != "active":
        wrong = [each for each in chosen if not 0 <= each < len(says)]
        if wrong or not chosen:
            problem = f"codes have no dimension {wrong[0]}" if wrong else "no dimension is named"
            raise NetwrightError(problem, f"they have {len(says)}: give 0 to {len(says) - 1}")
        return list(dict.fromkeys(chosen))
    least = ACTIVE if random else 0.0
    active = [each for each in order if says[each] > least]
    if not active:
        problem = "no dimension of these codes says anything: the posterior has collapsed"
        fix = "train with a smaller beta, kl_warmup or free_bits; --dim all shows that nothing changes"
        raise NetwrightError(problem, fix)
    return active[:MOST_DIMENSIONS]


def traverse(
    bundle: AutoencoderBundle,
    image: Any | None = None,
    *,
    dimensions: Chosen = "active",
    reach: float = 3.0,
    steps: int = 9,
    label: str | int | None = None,
) -> Traversal:
    """One dimension of a code after another takes all values in reach, while the others stay.

    Args:
        bundle: the autoencoder.
        image: whose code it is; None takes the middle of codes.
        dimensions: numbers, "all", or "active" for up to ten that say most.
        reach: how far from the middle of training pictures' codes, in their standard deviations.
        steps: values of each, at least 2.
        label: of a conditional network, the picture's class.

    Raises:
        NetwrightError: as `chosen_dimensions`; or too few steps, or a picture that cannot be read.
    """
    if not 0 < reach < float("inf"):
        raise NetwrightError(f"a range of {reach:g} leads nowhere", "give more than 0: 3 is usual")
    middle, spread = frame(bundle)
    code = None if image is None else bundle.encode([image], label)
    nobody = not isinstance(dimensions, str) and _unmeasured(bundle, code)
    says = None if nobody else said(bundle, code)
    known = torch.zeros(bundle.latent) if says is None else says
    wanted = chosen_dimensions(known, dimensions, random=bundle.random)
    places = (2 * _shares(steps) - 1) * reach
    values = middle[wanted, None] + spread[wanted, None] * places  # K S
    base = middle if code is None else code[0][0]
    codes = base.repeat(len(wanted), steps, 1)
    for row, dimension in enumerate(wanted):
        codes[row, :, dimension] = values[row]
    decoded = bundle.decode(codes.flatten(0, 1), label).unflatten(0, (len(wanted), steps))
    return Traversal(wanted, None if says is None else [float(says[each]) for each in wanted], values, decoded)


def plane(bundle: AutoencoderBundle, steps: int = 15, *, label: str | int | None = None) -> tuple[Tensor, Tensor]:
    """Pictures of codes of two numbers, at equal shares of the prior: the values S, and S S C H W.

    Where there is no prior, they are at equal shares of normal distributions like those of training's codes.

    Values are the middles of `steps` quantiles. The first number grows from left to right, the second upwards.

    Raises:
        NetwrightError: codes have more numbers or fewer, or too few steps.
    """
    if bundle.latent != 2:
        problem = f"codes of {bundle.latent} numbers cannot be laid out in a plane"
        raise NetwrightError(problem, "name a picture to traverse, or train with latent=2")
    middle, spread = prior(bundle) if bundle.random else frame(bundle)
    values = torch.special.ndtri((torch.arange(_steps(steps)) + 0.5) / steps)
    up, across = torch.meshgrid(values.flip(0), values, indexing="ij")
    codes = middle + spread * torch.stack([across, up], -1).flatten(0, 1)
    return values, bundle.decode(codes, label).unflatten(0, (steps, steps))


def direction(codes: Tensor, of: Tensor, to: Tensor) -> Tensor:
    """What to add to a code of some kind to make it one of another: the difference of the means. N D -> D.

    Args:
        codes: of pictures.
        of: which ones are of the kind that they come from, N booleans.
        to: which ones are of the kind that they go to.

    Raises:
        NetwrightError: there are none of a kind.
    """
    for flags, flag in ((of, "--from"), (to, "--to")):
        if not flags.any():
            raise NetwrightError(f"no picture is of the kind that {flag} names", "give data that has some")
    return codes[to].mean(0) - codes[of].mean(0)


def _steps(steps: int) -> int:
    if steps < 2:
        raise NetwrightError(f"{steps} steps do not lead anywhere", "give 2 at least, the two ends")
    return steps


def _shares(steps: int) -> Tensor:
    return torch.linspace(0, 1, _steps(steps))
