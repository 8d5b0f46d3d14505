"""p by flipping signs: if nothing differs, each seed's difference might as well have come with the other sign.

Fisher, The Design of Experiments, 1935, section 21; exact for symmetrical differences, without a normal distribution.
Flips of seeds know nothing of other pictures, so what those leave uncertain is added to each flip.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]
MOST_EXACT = 16  # seeds; of more, signs are drawn
SAMPLED = 2**15
EXACT = 1e-12  # what rounding may take off a sum
FEW = 12  # pictures that differ; of more, their sum is as good as normal
FINEST = 64  # steps of a whole picture, in contrasts of 128 runs
ROUNDED = 1e-6


def seeds_p(by_seed: Floats, of_pictures: Floats | float = 0.0, *, seed: int = 0) -> Floats:
    """Two-sided p of a mean over seeds being 0.

    Each flip is judged by its mean over its own standard error, as what was seen is: of seeds alone that changes no p,
    and with what pictures leave it keeps large effects from hiding themselves (studentised: Janssen, Statistics &
    Probability Letters 36, 1997). Of V, the variance that pictures leave, each flip gets a normal part with V (S - 1)
    / S: V / S is in the flips, since all seeds share what pictures do to them. What was seen counts in full, so that p
    is never below 2^(1 - S).

    Args:
        by_seed: mean difference of each seed. ... S.
        of_pictures: V; 0 asks of seeds alone.
        seed: of the signs, where S is above 16.
    """
    count = by_seed.shape[-1]
    pictures = np.asarray(of_pictures, np.float64)[..., None]
    means = by_seed @ signs(count, seed).T / count  # ... flips
    left = np.maximum(0.0, np.square(by_seed).mean(-1)[..., None] - means**2) / max(count - 1, 1)
    errors, seen = np.sqrt(left + pictures), np.abs(means[..., :1])
    as_far = np.abs(means) >= seen - EXACT
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds, width = errors * seen / errors[..., :1], np.sqrt(pictures * (1 - 1 / count))
        smooth = special.ndtr((means - bounds) / width) + special.ndtr((-means - bounds) / width)
    shares = np.where(pictures > 0, smooth, as_far)
    shares[..., 0] = 1.0
    return shares.mean(-1)


@lru_cache(maxsize=32)
def signs(count: int, seed: int = 0) -> Floats:
    """All ways to sign S seeds, up to the sign of all; as they are comes first. Flips S."""
    if count <= MOST_EXACT:
        places = np.arange(2 ** (count - 1))[:, None] >> np.arange(count)[None]
        return 1.0 - 2.0 * (places & 1)
    drawn = np.random.default_rng((seed, count)).choice([-1.0, 1.0], (SAMPLED, count))
    drawn[0] = 1.0
    return drawn


def steps(values: NDArray[Any]) -> int:
    """How many steps make a whole picture, where outcomes are right or wrong: 1 for two runs, 4 for contrasts of 8.

    A contrast of 2^k runs adds up that many outcomes times ± 2 / 2^k. 0: values lie on no such steps, as losses do.
    """
    for parts in (2**power for power in range(FINEST.bit_length())):
        scaled = values * parts
        if (np.abs(scaled - np.rint(scaled)) < ROUNDED * parts).all():
            return parts
    return 0


def pictures_p(values: NDArray[Any]) -> float:
    """Two-sided p if each picture's difference had come with either sign, exact where few pictures differ.

    The two-way error takes the sum over pictures for normal. Where that is in doubt, this is not; where many
    pictures differ it has nothing to add, and is 0.

    Args:
        values: S N, differences or contrasts of outcomes that are right or wrong (`steps`).
    """
    sums = np.rint(values.sum(0) * steps(values)).astype(np.int64)
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    if counts.sum() > FEW:
        return 0.0
    chances = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spaced = np.zeros(2 * size * count + 1)
        spaced[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, spaced)
    places = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, float(chances[places >= abs(int(sums.sum()))].sum()))
