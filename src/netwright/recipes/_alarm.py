"""What is wrong with codes, why, and what may help: posterior collapse (Lucas et al., Don't Blame the ELBO!, 2019,
arXiv:1911.02469, for the rule of linear networks), and units that say nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.core.errors import listed
from netwright.core.spec import Spec
from netwright.core.symptoms import Symptom
from netwright.engine.augment import plain_batches
from netwright.engine.run import Run
from netwright.models._autoencoder import Autoencoding
from netwright.nn.observation import Gaussian, Observation
from netwright.recipes._recipe import Recipe
from netwright.tasks._latent import ACTIVE, Latent
from netwright.tricks import TRICKS
from netwright.tricks.beta_schedule import BetaSchedule, travelled
from netwright.tricks.kl_warmup import KlWarmup, warmth
from netwright.tricks.sparse import Sparse

PICTURES, VALUES = 1024, 2**24  # of training, from which their variances are taken, at most, and their values
FEWEST = 64  # pictures, however large
AT_ONCE = 2**21  # values that are held in double precision
MANY = 0.1  # of all units: a few dead ones cost little
UNCHOSEN = 0.5  # of all units, never among the largest: where few are kept, some never are
LEAST = 1e-3  # of the largest variance, below which a suggestion does not go

DOING = {"sparse": "sparse(kind='kl')"}  # of its kinds the one that keeps units alive

Variances = NDArray[np.float64]
_KNOWN: WeakKeyDictionary[nn.Module, Variances] = WeakKeyDictionary()  # of the pictures that a network is trained on


def alarm(latent: Latent, recipe: Recipe, progress: float, run: Run | None = None) -> str:
    """What is wrong with the codes of a split and what may help, in words; nothing where all is well.

    Args:
        latent: statistics of the codes.
        recipe: names the tricks that are there already.
        progress: of the run, from 0 to 1.
        run: what is trained: with it the alarm says why, by the data.
    """
    if latent.n < 2:  # one picture's code is the same for every picture
        return ""
    there = recipe.tricks
    when = "" if progress >= 1 else f", {100 * progress:.0f} % into the run"
    if latent.collapsed:
        why = "" if run is None else _cause_in(run)
        return f"posterior collapse{when}: {collapse(latent)}. {why}{remedies(Symptom.POSTERIOR_COLLAPSE, there)}"
    if latent.random:
        return ""
    sparse = next((each for each in map(_sparse, there) if each is not None), None)
    if sparse is not None and sparse.kind == "topk":
        return f"dead units{when}: {unchosen(latent, sparse)}" if _too_few(latent, sparse, progress) else ""
    if latent.dead > MANY * len(latent.mean):
        return f"dead units{when}: {dead(latent)}. {remedies(Symptom.DEAD_UNITS, there)}"
    return ""


def collapse(latent: Latent) -> str:
    """That codes say nothing, with the rate."""
    n, rate = len(latent.mean), latent.rate
    if latent.active:
        return (
            f"the code carries {rate:.2g} nats of a picture, less than one bit, so the decoder looks at next to nothing"
        )
    if (latent.divergence > ACTIVE).any():
        same = "the code's one dimension is" if n == 1 else f"all of the code's {n} dimensions are"
        return f"{same} the same for every picture, at {rate:.2g} nats, so that the decoder learns nothing of any"
    none = "the code's one dimension carries" if n == 1 else f"none of the code's {n} dimensions carries more than"
    least = f"{rate:.2g} nats, less than {ACTIVE:g}" if n == 1 else f"{ACTIVE:g} nats (all together {rate:.2g})"
    return f"{none} {least}, so the decoder gives the same picture whatever it is shown"


def dead(latent: Latent) -> str:
    """How many units are the same for every picture."""
    n = len(latent.mean)
    if latent.dead == n:
        return f"all {n} numbers of the code are the same for every picture"
    return f"{latent.dead} of the code's {n} numbers are the same for every picture, and cost without saying anything"


def unchosen(latent: Latent, sparse: Sparse) -> str:
    """How many units are never among those that are kept, and what helps."""
    n = len(latent.mean)
    return (
        f"{latent.dead} of the code's {n} numbers are the same for every picture: they are never among the {sparse.k} "
        f"largest that sparse(kind='topk') keeps. Some never are; here {n - latent.dead} have to do for all pictures. "
        f"Give units longer to find a use (anneal above {sparse.anneal:g}), keep more (k above {sparse.k}), or take a "
        "smaller latent, which gives as much."
    )


def _too_few(latent: Latent, sparse: Sparse, progress: float) -> bool:
    """Whether the largest are always the same few. While more are kept in training than in evaluation, nobody knows."""
    alive = len(latent.mean) - latent.dead
    none = alive == 0 or (alive <= sparse.k < len(latent.mean))  # as a network with a code of k numbers
    return progress >= sparse.anneal and (none or latent.dead > UNCHOSEN * len(latent.mean))


@dataclass(frozen=True)
class Price:
    """What a dimension of a code costs.

    Attributes:
        beta: the network's weight of the divergence.
        observation: what the decoder's numbers mean.
        latent: how many dimensions there are.
        factor: what tricks multiply beta by now.
        last: and at the end of the run.
    """

    beta: float
    observation: Observation
    latent: int
    factor: float = 1.0
    last: float = 1.0

    @property
    def scale(self) -> float:
        """The observation model's part in it."""
        return self.observation.sigma**2 if isinstance(self.observation, Gaussian) else 1.0

    @property
    def least(self) -> float:
        """What the variance of pictures in a direction has to exceed, for a linear network to use a dimension on it."""
        return self.factor * self.beta * self.scale

    def __str__(self) -> str:
        beta = f"{self.beta:g}" if self.factor == 1 else f"{self.factor:.3g} · {self.beta:g}"
        if isinstance(self.observation, Gaussian):
            return f"beta · sigma² = {beta} · {self.observation.sigma:g}² = {self.least:.3g}"
        return f"beta = {beta}" if self.factor == 1 else f"beta = {beta} = {self.least:.3g}"


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
        reason = f"The price is not the reason: {price} is below {largest}, and {linear}. "
        end = replace(price, factor=price.last)
        if end.least < found[0]:
            return f"{reason}It is the training. "
        return f"{reason}But it ends at {end}, which is above it. {suggestion(price, found)}. "
    why = f"Why: {price} is above {largest}; there a code costs more than it gains, in a linear network always. "
    return f"{why}{suggestion(price, found)}. What only raises beta slowly puts it off. "


def suggestion(price: Price, found: Variances) -> str:
    """A smaller sigma or beta, under which a linear network would use the dimensions that there are.

    Both are as the network is told them: what tricks multiply beta by stays.
    """
    price = replace(price, factor=max(price.factor, price.last) or 1.0)
    last = min(price.latent, len(found)) - 1
    least = max(found[last], LEAST * found[0]) / 2
    gaussian = isinstance(price.observation, Gaussian)
    beta = _rounded(least / (price.factor * price.scale))
    say, least = f"beta={beta:g}", replace(price, beta=beta).least
    if gaussian:
        weight = price.factor * price.beta
        sigma = _rounded(math.sqrt(max(least, weight * 1e-8) / weight))
        say, least = f"observation='gaussian(sigma={sigma:g})', or {say}", max(least, weight * sigma**2)
    used = int((found[: price.latent] > least).sum())
    return f"Take {say}: there a linear network would use {used} of {price.latent} dimensions"


def remedies(symptom: Symptom, there: Sequence[str]) -> str:
    """Tricks that treat it, as they are written; not those that are in the recipe or that something there excludes.

    Args:
        symptom: what is to be treated.
        there: tricks of the recipe, with their options.
    """
    makers: dict[str, Any] = {name: TRICKS.load(name) for name in TRICKS.names()}
    present = {spec.name: spec.options for spec in map(Spec.parse, there)}
    excluded = {name for each in present if each in makers for name in makers[each].card.excludes}
    new: list[str] = []
    tried: list[str] = []
    for name, make in makers.items():
        if symptom not in make.card.treats or "reconstruction" not in make.card.tasks:
            continue
        wanted = Spec.parse(DOING.get(name, name))
        if name in present and wanted.options.items() <= present[name].items():
            tried.append(str(wanted))
        elif name not in excluded and not set(make.card.excludes) & set(present):
            new.append(f'--with "{wanted}"' if wanted.options else f"--with {wanted}")
    more = f" ({listed(tried)} did not do)" if tried else ""
    smaller = " Or take fewer numbers: a smaller latent." if symptom is Symptom.DEAD_UNITS else ""
    return f"Tricks against it: {listed(new) or 'no others'}{more}.{smaller}"


def variances(picture: Tensor, observation: Observation) -> Variances:
    """The variances of pictures along their principal directions, largest first. N C H W -> at most N − 1 of them.

    Where the observation is no Gaussian, pixels are divided by sqrt(p (1 − p)) of their mean p first.
    """
    flat = picture.flatten(1)
    n, values = flat.shape
    if n < 2:
        return np.zeros(0)
    if values <= n:
        centred = _centred(flat, observation)
        product = centred.T @ centred
    else:  # the same variances are those of a smaller matrix, to which pixels add one after the other
        step = max(1, AT_ONCE // n)
        parts = (_centred(flat[:, start : start + step], observation) for start in range(0, values, step))
        product = torch.zeros(n, n, dtype=torch.float64)
        for part in parts:
            product += part @ part.T
    found = torch.linalg.eigvalsh(product / (n - 1)).flip(0).clamp(min=0)[: n - 1]
    return found.numpy()


def _centred(flat: Tensor, observation: Observation) -> Tensor:
    """Less their means; where the observation is no Gaussian, in units of a coin's spread. N V -> N V, float64."""
    flat = flat.double()
    mean = flat.mean(0)
    centred = flat - mean
    if isinstance(observation, Gaussian):
        return centred
    spread = (mean * (1 - mean)).clamp(min=0).sqrt()
    return torch.where(spread > 1e-6, centred / spread.clamp(min=1e-6), 0)


def _sparse(spec: str) -> Sparse | None:
    return TRICKS.build(spec) if Spec.parse(spec).name == "sparse" else None


def _cause_in(run: Run) -> str:
    network = run.model
    if not isinstance(network, Autoencoding):
        return ""
    if network not in _KNOWN:
        _KNOWN[network] = variances(_pictures(run), network.observation)
    price = Price(network.beta, network.observation, network.latent, _factor(run, run.progress), _factor(run, 1.0))
    return cause(price, _KNOWN[network])


def _factor(run: Run, progress: float) -> float:
    """What tricks multiply beta by at a time."""
    factor = 1.0
    for trick in run.tricks:
        if isinstance(trick, BetaSchedule):
            factor *= trick.first + (trick.last - trick.first) * travelled(progress, trick.kind, trick.cycles)
        if isinstance(trick, KlWarmup):
            factor *= warmth(progress, trick.until)
    return factor


@torch.no_grad()
def _pictures(run: Run) -> Tensor:
    """Some training pictures with values in [0, 1], N C H W."""
    kept: list[Tensor] = []
    left = PICTURES
    for image in plain_batches(run):
        left = left if kept else min(left, max(FEWEST, VALUES // image[0].numel()))
        some = image[:left]
        kept.append(run.task.batch(some, torch.zeros(len(some))).cpu())
        left -= len(some)
        if left <= 0:
            break
    return torch.cat(kept)


def _rounded(value: float) -> float:
    """Down to one significant digit: 0.0367 -> 0.03."""
    scale = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.floor(value / scale + 1e-9) * scale:.1g}")
