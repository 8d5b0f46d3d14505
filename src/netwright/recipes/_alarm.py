"""What is wrong with codes, why, and what may help: posterior collapse (Lucas et al., Don't Blame the ELBO!, 2019,
arXiv:1911.02469, for the rule of linear networks), and units that say nothing."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.core.errors import listed
from netwright.core.symptoms import Symptom
from netwright.engine.augment import plain_batches
from netwright.engine.run import Run
from netwright.models._autoencoder import Autoencoding
from netwright.nn.observation import Gaussian, Observation
from netwright.recipes._recipe import Recipe
from netwright.tasks._latent import ACTIVE, Latent
from netwright.tricks import TRICKS
from netwright.tricks.beta_schedule import BetaSchedule

PICTURES = 1024  # of training, from which their variances are taken
MANY = 0.1  # of all units: a few dead ones cost little
LEAST = 1e-3  # of the largest variance, below which a suggestion does not go

Variances = NDArray[np.float64]


def alarm(latent: Latent, recipe: Recipe, progress: float, run: Run | None = None) -> str:
    """What is wrong with the codes of a split and what may help, in words; nothing where all is well.

    Args:
        latent: statistics of the codes.
        recipe: names the tricks that are there already.
        progress: of the run, from 0 to 1.
        run: what is trained: with it the alarm says why, by the data.
    """
    there = [spec.split("(")[0] for spec in recipe.tricks]
    when = "" if progress >= 1 else f", {100 * progress:.0f} % into the run"
    if latent.collapsed:
        why = "" if run is None else _cause_in(run)
        return f"posterior collapse{when}: {collapse(latent)}. {why}{remedies(Symptom.POSTERIOR_COLLAPSE, there)}"
    if not latent.random and latent.dead > MANY * len(latent.mean):
        return f"dead units{when}: {dead(latent)}. {remedies(Symptom.DEAD_UNITS, there)}"
    return ""


def collapse(latent: Latent) -> str:
    """That codes say nothing, with the rate."""
    n, rate = len(latent.mean), float(latent.divergence.sum())
    none = "the code's one dimension carries" if n == 1 else f"none of the code's {n} dimensions carries more than"
    least = f"{rate:.2g} nats, less than {ACTIVE:g}" if n == 1 else f"{ACTIVE:g} nats (all together {rate:.2g})"
    return f"{none} {least}, so the decoder gives the same picture whatever it is shown"


def dead(latent: Latent) -> str:
    """How many units are the same for every picture."""
    n = len(latent.mean)
    if latent.dead == n:
        return f"all {n} numbers of the code are the same for every picture"
    return f"{latent.dead} of the code's {n} numbers are the same for every picture, and cost without saying anything"


@dataclass(frozen=True)
class Price:
    """What a dimension of a code costs at the end of training.

    Attributes:
        beta: the weight of the divergence.
        observation: what the decoder's numbers mean.
        latent: how many dimensions there are.
    """

    beta: float
    observation: Observation
    latent: int

    @property
    def least(self) -> float:
        """What the variance of pictures in a direction has to exceed, for a linear network to use a dimension on it."""
        return self.beta * (self.observation.sigma**2 if isinstance(self.observation, Gaussian) else 1.0)

    def __str__(self) -> str:
        if isinstance(self.observation, Gaussian):
            return f"beta · sigma² = {self.beta:g} · {self.observation.sigma:g}² = {self.least:.3g}"
        return f"beta = {self.beta:g}"


def cause(price: Price, found: Variances) -> str:
    """Why codes collapsed, from the data: the price of saying something, against what there is to say.

    A linear network uses a dimension exactly if beta · sigma² is less than the variance of the pictures in its
    direction. For Bernoulli pixels this holds near the collapsed state, with pixels divided by sqrt(p (1 − p)) and
    sigma = 1.
    """
    if not len(found) or found[0] <= 0:
        return "Why: the training pictures are all the same, so there is nothing to say of them. "
    scaled = "" if isinstance(price.observation, Gaussian) else " (pixels in units of their own spread)"
    largest = f"the largest variance of the training pictures in any direction{scaled}, {found[0]:.3g}"
    if price.least < found[0]:
        used = min(price.latent, int((found > price.least).sum()))
        linear = f"a linear network would use {used} of {price.latent} dimensions"
        return f"The price is not the reason: {price} is below {largest}, and {linear}. It is the training. "
    why = f"Why: {price} is above {largest}; there a code costs more than it gains, in a linear network always. "
    return f"{why}{suggestion(price, found)}. What only raises beta slowly puts it off. "


def suggestion(price: Price, found: Variances) -> str:
    """A smaller sigma or beta, under which a linear network would use the dimensions that there are."""
    last = min(price.latent, len(found)) - 1
    least = max(found[last], LEAST * found[0]) / 2
    gaussian = isinstance(price.observation, Gaussian)
    beta = _rounded(least / (price.observation.sigma**2 if isinstance(price.observation, Gaussian) else 1.0))
    say, least = f"beta={beta:g}", replace(price, beta=beta).least
    if gaussian:
        sigma = _rounded(math.sqrt(max(least, price.beta * 1e-8) / price.beta))
        say, least = f"observation='gaussian(sigma={sigma:g})', or {say}", max(least, price.beta * sigma**2)
    used = int((found[: price.latent] > least).sum())
    return f"Take {say}: there a linear network would use {used} of {price.latent} dimensions"


def remedies(symptom: Symptom, there: list[str]) -> str:
    """Tricks that treat it, by name; those that are in the recipe already are not named again."""
    makers: dict[str, Any] = {name: TRICKS.load(name) for name in TRICKS.names()}
    names = [name for name, make in makers.items() if symptom in make.card.treats]
    new = [f"--with {name}" for name in names if name not in there]
    tried = [name for name in names if name in there]
    more = f" ({listed(tried)} did not do)" if tried else ""
    smaller = " Or take fewer numbers: a smaller latent." if symptom is Symptom.DEAD_UNITS else ""
    return f"Tricks against it: {listed(new) or 'no others'}{more}.{smaller}"


def variances(picture: Tensor, observation: Observation) -> Variances:
    """The variances of pictures along their principal directions, largest first. N C H W -> at most N − 1 of them.

    Where the observation is no Gaussian, pixels are divided by sqrt(p (1 − p)) of their mean p first.
    """
    flat = picture.flatten(1).double()
    if len(flat) < 2:
        return np.zeros(0)
    mean = flat.mean(0)
    centred = flat - mean
    if not isinstance(observation, Gaussian):
        spread = (mean * (1 - mean)).clamp(min=0).sqrt()
        centred = torch.where(spread > 1e-6, centred / spread.clamp(min=1e-6), 0)
    few = len(flat) < flat.shape[1]
    product = (centred @ centred.T if few else centred.T @ centred) / (len(flat) - 1)
    found = torch.linalg.eigvalsh(product).flip(0).clamp(min=0)[: len(flat) - 1]
    return found.cpu().numpy()


def _cause_in(run: Run) -> str:
    network = run.model
    if not isinstance(network, Autoencoding):
        return ""
    # What a schedule of beta ends at is what decides.
    factor = next((trick.last for trick in run.tricks if isinstance(trick, BetaSchedule)), 1.0)
    price = Price(factor * network.beta, network.observation, network.latent)
    return cause(price, variances(_pictures(run), network.observation))


@torch.no_grad()
def _pictures(run: Run) -> Tensor:
    """Some training pictures with values in [0, 1], N C H W."""
    kept: list[Tensor] = []
    for image in plain_batches(run):
        kept.append(run.task.batch(image, torch.zeros(len(image))).cpu())
        if sum(map(len, kept)) >= PICTURES:
            break
    return torch.cat(kept)[:PICTURES]


def _rounded(value: float) -> float:
    """Down to one significant digit: 0.0367 -> 0.03."""
    scale = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.floor(value / scale + 1e-9) * scale:.1g}")
