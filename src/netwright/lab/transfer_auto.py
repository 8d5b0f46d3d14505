"""`--transfer auto`: a linear probe, random features and a short fine-tune, measured on a budget; then one is picked.

Random features are the control of Saxe et al. 2011, On random weights and unsupervised feature learning.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.data import Data, open_data
from netwright.data.gate.quarantine import read_quarantine
from netwright.lab.domain_shift import DomainShift
from netwright.lab.folds import parts as divided
from netwright.lab.folds import pooled
from netwright.lab.transfer_shift import Learnt, learnt, mended, shift_of
from netwright.lab.trial import Trials
from netwright.nn.depth import depths
from netwright.nn.places import Staged
from netwright.recipes._recipe import LARGEST, Recipe
from netwright.records.intervals import Interval, bootstrap_mean, of_values

BUDGET = 120.0  # seconds
FOLDS = 5
FEWEST, SHORTEST = 5, 0.5  # epochs of a short fine-tune, and its share of a full one: shorter ones say little
MOST = 3000  # pictures that are held in memory
EACH = 10  # pictures of a class, at least, however short the budget
LEAST = 50  # pictures that are held out: fewer would tell nothing
PILOT = 128  # pictures on which the speed is measured
PROBES = 0.25  # share of the budget that is left for everything but the fine-tune
FEATURES, RANDOM, FINETUNE = "features", "random_features", "finetune"

RecipeOf = Callable[[str], Recipe]


@dataclass(frozen=True)
class Plan:
    """What the budget allows.

    Attributes:
        pictures: that take part, of training and validation.
        folds: into how many parts they are divided.
        parts: how many of these are held out in turn.
        epochs: of the fine-tune.
        full: epochs that it would have.
        cut: whether there are more pictures.
    """

    pictures: int
    folds: int
    parts: int
    epochs: int
    full: int
    cut: bool = False


@dataclass(frozen=True, eq=False)
class Measured:
    """One way, on pictures it did not learn from.

    Attributes:
        way: as `--transfer` takes it.
        correct: 1 where it was right, in the order in which pictures were held out. N.
        seconds: of all its trainings and evaluations.
    """

    way: str
    correct: NDArray[np.float64]
    seconds: float

    @property
    def accuracy(self) -> Interval:
        """Over pictures."""
        return of_values(self.correct)

    def over(self, other: "Measured") -> Interval:
        """By how much it is more often right, paired by picture; of one that was asked about fewer, about these."""
        n = min(len(self.correct), len(other.correct))
        return bootstrap_mean(self.correct[:n] - other.correct[:n])

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        return {"way": self.way, "accuracy": self.accuracy.to_json(), "seconds": self.seconds}


@dataclass(frozen=True, eq=False)
class Auto:
    """What was measured, and what follows.

    Attributes:
        plan: on how much.
        features: a new head on fixed features.
        random: the same on random ones.
        finetune: all layers, for fewer epochs.
        stages: heads on maps of each stage, where features are no better than random ones.
        shift: the network's statistics on these pictures.
        mended: features with statistics mended, by how; where they differ.
        seconds: everything together.
    """

    plan: Plan
    features: Measured
    random: Measured
    finetune: Measured
    stages: tuple[Measured, ...] = ()
    shift: DomainShift | None = None
    mended: dict[str, Measured] = field(default_factory=dict[str, Measured])
    seconds: float = 0.0

    @property
    def difference(self) -> Interval:
        """Fine-tune − features."""
        return self.finetune.over(self.features)

    @property
    def over_random(self) -> Interval:
        """Features − random features."""
        return self.features.over(self.random)

    @property
    def fair(self) -> bool:
        """Whether a fine-tune that loses had enough to lose by: all pictures, and half its epochs or more."""
        return not self.plan.cut and self.plan.epochs >= SHORTEST * self.plan.full

    @property
    def resolved(self) -> bool:
        """Whether the interval of the difference leaves 0 out, and what is short did not lose for being so."""
        return self.difference.low > 0 or (self.difference.high < 0 and self.fair)

    @property
    def transfers(self) -> bool:
        """Whether features are better than random ones beyond doubt."""
        return self.over_random.low > 0

    @property
    def way(self) -> str:
        """The one that is picked: the better; where that is not resolved, features, which are cheaper."""
        return FINETUNE if self.difference.low > 0 else FEATURES

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        return {
            "picked": self.way,
            "resolved": self.resolved,
            "transfers": self.transfers,
            "plan": asdict(self.plan),
            "ways": [each.to_json() for each in (self.features, self.random, self.finetune)],
            "finetune_over_features": self.difference.to_json(),
            "features_over_random": self.over_random.to_json(),
            "stages": [each.to_json() for each in self.stages],
            "mended": [each.to_json() | {"how": how} for how, each in self.mended.items()],
            "shift": self.shift and self.shift.to_json(),
            "seconds": self.seconds,
        }


def auto(
    recipe_of: RecipeOf,
    data: Data,
    *,
    budget: float = BUDGET,
    plan: Plan | None = None,
    trials: Trials | None = None,
    told: Callable[[str], None] = lambda words: None,
) -> Auto:
    """Measure on training and validation pictures alone, so that the test split stays unseen.

    Args:
        recipe_of: the recipe of a way, as `transfer_recipe` gives it, with whatever else the user asked for.
        data: opened, with one label a picture.
        budget: seconds that it should take, about.
        plan: how much is measured; by default what the budget allows at the speed of this machine.
        trials: runs and perhaps remembers them.
        told: given a sentence before each thing that takes time.

    Raises:
        NetwrightError: several labels a picture, too few pictures, or whatever `fit` refuses.
    """
    begun = perf_counter()
    _refuse(data, budget)
    trials = trials or Trials()
    recipes = {way: _for_trial(recipe_of(way)) for way in (FEATURES, RANDOM, FINETUNE)}
    seed, group = recipes[FEATURES].seed, recipes[FEATURES].group
    some = pooled(data, MOST, seed)
    if plan is None:
        told("measures how fast a fine-tune is")
        rate = _speed(recipes[FINETUNE], some, trials)
        left = max(0.0, (1 - PROBES) * budget - (perf_counter() - begun))
        plan = planned(len(some.splits["train"]), recipes[FINETUNE].epochs, rate, left, len(data.classes))
        plan = replace(plan, cut=plan.cut or len(some.splits["train"]) < _known(data))
    some = pooled(some, plan.pictures, seed)
    parts = divided(some, plan.folds, seed=seed, group=group)[: plan.parts]
    found: dict[str, Measured] = {}
    for way in recipes:
        told(f"measures {way}: " + (f"{plan.epochs} of {plan.full} epochs" if way == FINETUNE else "a linear probe"))
        recipe = recipes[way].changed(epochs=plan.epochs) if way == FINETUNE else recipes[way]
        found[way] = _measured(way, recipe, parts, trials)
    known = learnt(recipes[FEATURES], data)
    shift = shift_of(known, some.splits["train"], data.preprocess, recipes[FEATURES].device)
    result = Auto(plan, found[FEATURES], found[RANDOM], found[FINETUNE], shift=shift)
    if shift is not None and (shift.inputs_differ or shift.norms_differ):
        told("the pictures' statistics are not the pretraining's: measures features with them mended")
        some_parts = first_parts(parts, result, len(shift.conditions) - 1, budget)
        result = replace(result, mended=_mended(known, shift, recipes[FEATURES], some_parts, trials))
    if not result.transfers:
        told("features are no better than random ones: measures earlier stages")
        some_parts = first_parts(parts, result, depths(known.network).stages, budget)
        result = replace(result, stages=_stages(known, recipe_of, some_parts, trials))
    return replace(result, seconds=perf_counter() - begun)


def opened(recipe: Recipe) -> Data:
    """A recipe's data.

    Raises:
        NetwrightError: they cannot be used.
    """
    return open_data(
        recipe.data,
        image_size=recipe.image_size,
        fit=recipe.fit,
        channels=recipe.channels,
        fractions=(1 - recipe.val_fraction - recipe.test_fraction, recipe.val_fraction, recipe.test_fraction),
        quarantine=read_quarantine(Path(recipe.quarantine).expanduser()) if recipe.quarantine else {},
        group=recipe.group,
    )


def planned(n: int, epochs: int, rate: float, seconds: float, classes: int, folds: int = FOLDS) -> Plan:
    """How much a fine-tune may learn from, how long, and on how many parts, at `rate` pictures a second.

    As many parts as can have half of the full epochs, and 5; then as many epochs as there is time for. If one part
    takes too long, fewer pictures; but 10 of each class, and 50 that are held out, however long these take.
    """
    passes, short = seconds * rate, min(epochs, max(FEWEST, math.ceil(SHORTEST * epochs)))
    training = n * (folds - 1) / folds
    for parts in range(folds, _least_parts(n, folds) - 1, -1):
        if (affordable := int(passes / (parts * training))) >= short:
            return Plan(n, folds, parts, min(epochs, affordable), epochs)
    fewer = int(passes / short * folds / (folds - 1))
    pictures = min(n, max(fewer, EACH * classes, LEAST * folds))
    return Plan(pictures, folds, _least_parts(pictures, folds), short, epochs, cut=pictures < n)


def _least_parts(n: int, folds: int) -> int:
    return min(folds, math.ceil(LEAST * folds / n))


def _known(data: Data) -> int:
    """How many pictures there are for training and validation."""
    return sum(len(data.splits[side]) for side in ("train", "val") if side in data.splits)


def first_parts(parts: list[Data], found: Auto, kinds: int, budget: float) -> list[Data]:
    """The first parts, as many as further probes of some kinds may take a quarter of the budget for."""
    each = kinds * found.features.seconds / len(parts)
    least = _least_parts(found.plan.pictures, found.plan.folds)
    return parts[: max(least, int(PROBES * budget / each) if each else len(parts))]


def _refuse(data: Data, budget: float) -> None:
    if data.splits["train"].labels.ndim != 1:
        fix = "name a way: --transfer features or --transfer finetune"
        raise NetwrightError("auto compares ways by accuracy, and these pictures have several labels each", fix)
    if not budget > 0:
        raise NetwrightError(f"budget cannot be {budget:g}", f"give seconds, as in auto(budget={BUDGET:g})")
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.classes))
    if counts.min() < 2:
        few = data.classes[int(counts.argmin())]
        problem = f"class {few} has {counts.min()} training pictures, of which auto would hold one out"
        raise NetwrightError(problem, "give at least 2 of each class, or name a way: --transfer features")


def _for_trial(recipe: Recipe) -> Recipe:
    """Without what wants a validation split, or takes long to find out."""
    stops = [spec.name for spec in map(Spec.parse, recipe.tricks) if spec.name == "early_stopping"]
    recipe = recipe.without(*stops)
    return recipe.changed("auto", batch_size="auto") if recipe.batch_size == LARGEST else recipe


def _speed(recipe: Recipe, some: Data, trials: Trials) -> float:
    """Training pictures a second, the median of three epochs of a few pictures: the first is slower."""
    few = divided(pooled(some, PILOT, recipe.seed), 2)[0]
    return trials.run(recipe.changed(epochs=3), few).images_per_second


def _measured(way: str, recipe: Recipe, parts: list[Data], trials: Trials, **given: Any) -> Measured:
    found = [trials.run(recipe, part, split="test", **given) for part in parts]
    return Measured(way, np.concatenate([each.correct for each in found]), sum(each.seconds for each in found))


def _mended(
    known: Learnt, shift: DomainShift, recipe: Recipe, parts: list[Data], trials: Trials
) -> dict[str, Measured]:
    """Features under each mended condition, with the statistics of the pictures that the head learns from."""
    found: dict[str, Measured] = {}
    for how in [condition.name for condition in shift.conditions[1:]]:
        correct: list[NDArray[np.float64]] = []
        seconds = 0.0
        for part in parts:
            network, prepared = mended(known, how, part.splits["train"], part)
            trial = trials.run(
                recipe.changed(weights=None),
                prepared,
                network=lambda network=network: network,
                made_from=f"{recipe.model} {recipe.weights} {how}",
            )
            correct.append(trial.correct)
            seconds += trial.seconds
        found[how] = Measured(FEATURES, np.concatenate(correct), seconds)
    return found


def _stages(known: Learnt, recipe_of: RecipeOf, parts: list[Data], trials: Trials) -> tuple[Measured, ...]:
    """A linear probe on the pooled map of each stage, from the first."""
    if not isinstance(known.network, Staged):
        return ()
    ways = [f"{FEATURES}(stage={stage})" for stage in range(depths(known.network).stages)]
    return tuple(_measured(way, _for_trial(recipe_of(way)), parts, trials) for way in ways)
