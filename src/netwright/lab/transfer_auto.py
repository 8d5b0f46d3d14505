"""`--transfer auto`: a linear probe, random features and a short fine-tune, measured on a budget; then one is picked.

Random features are the control of Saxe et al. 2011, On random weights and unsupervised feature learning.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.data import Data
from netwright.lab.domain_shift import DomainShift
from netwright.lab.folds import parts as divided
from netwright.lab.folds import pooled
from netwright.lab.transfer_shift import Learnt, learnt, mended, shift_of
from netwright.lab.transfer_ways import FEATURES, FINETUNE, RANDOM, RecipeOf, Ways, ways_for
from netwright.lab.trial import Trials, contents
from netwright.nn.depth import depths
from netwright.nn.places import Staged
from netwright.recipes._recipe import Recipe
from netwright.records.intervals import Interval, bootstrap_mean, of_values

BUDGET = 120.0  # seconds
FOLDS = 5
FEWEST, SHORTEST = 5, 0.5  # epochs of a short fine-tune, and its share of a full one: shorter ones say little
MOST = 3000  # pictures that are held in memory
EACH = 10  # pictures of a class, at least, however short the budget
LEAST = 50  # pictures that are held out: fewer would tell nothing
PILOT = 128  # pictures on which the speed is measured
MENDING, STAGES = "statistics mended", "earlier stages"  # what may be looked into
PROBES = 0.25  # share of the budget that is kept for looking into what is odd


Told = Callable[[str], None]


@dataclass(frozen=True)
class Speed:
    """Of this machine, on these pictures.

    Attributes:
        finetune: pictures a second while it trains.
        probe: seconds that one probe takes for each of its pictures.
    """

    finetune: float
    probe: float = 0.0


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
        probes_without: tricks that change pictures, which the probes were measured without.
        skipped: what is odd and was not looked into, since the budget is too short for it.
        seconds: everything together.
    """

    plan: Plan
    features: Measured
    random: Measured
    finetune: Measured
    stages: tuple[Measured, ...] = ()
    shift: DomainShift | None = None
    mended: dict[str, Measured] = field(default_factory=dict[str, Measured])
    probes_without: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
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
            "probes_without": list(self.probes_without),
            "skipped": list(self.skipped),
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
    told: Told = lambda words: None,
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
    trials, ways = trials or Trials(), ways_for(recipe_of, data)
    first = ways(FEATURES)
    known = learnt(first, data)  # whatever cannot be used is refused before anything is measured
    if ways.left_out:
        told(f"the probes go without {listed(ways.left_out)}: what changes pictures makes a probe cost a training")
    some = pooled(data, MOST, first.seed)
    if plan is None:
        told("measures how fast a fine-tune and a probe are")
        speed = _speed(ways, some, trials)
        left = max(0.0, (1 - PROBES) * budget - (perf_counter() - begun))
        plan = planned(len(some.splits["train"]), ways(FINETUNE).epochs, speed, left, len(data.classes))
        plan = replace(plan, cut=plan.cut or len(some.splits["train"]) < _known(data))
    some = pooled(some, plan.pictures, first.seed)
    parts = divided(some, plan.folds, seed=first.seed, group=first.group)[: plan.parts]
    found: dict[str, Measured] = {}
    for way in (FEATURES, RANDOM, FINETUNE):
        told(f"measures {way}: " + (f"{plan.epochs} of {plan.full} epochs" if way == FINETUNE else "a linear probe"))
        recipe = ways(way).changed(epochs=plan.epochs) if way == FINETUNE else ways(way)
        found[way] = _measured(way, recipe, parts, trials)
    shift = shift_of(known, some.splits["train"], data.preprocess, first.device)
    result = Auto(plan, found[FEATURES], found[RANDOM], found[FINETUNE], shift=shift, probes_without=ways.left_out)
    result = _looked_into(result, known, ways, parts, trials, budget, told)
    return replace(result, seconds=perf_counter() - begun)


def _looked_into(
    found: Auto, known: Learnt, ways: Ways, parts: list[Data], trials: Trials, budget: float, told: Told
) -> Auto:
    """With what is odd looked into, as far as the budget allows."""
    shift, stages = found.shift, depths(known.network).stages if isinstance(known.network, Staged) else 0
    differ = shift is not None and (shift.inputs_differ or shift.norms_differ)
    odd: dict[str, int] = {MENDING: len(shift.conditions) - 1} if shift is not None and differ else {}
    odd |= {} if found.transfers or not stages else {STAGES: stages}
    some = first_parts(parts, found, sum(odd.values()), budget) if odd else []
    if not some:
        return replace(found, skipped=tuple(odd))
    if shift is not None and MENDING in odd:
        told("the pictures' statistics are not the pretraining's: measures features with them mended")
        found = replace(found, mended=_mended(known, shift, ways(FEATURES), some, trials))
    if STAGES in odd:
        told("features are no better than random ones: measures earlier stages")
        names = [f"{FEATURES}(stage={stage})" for stage in range(stages)]
        found = replace(found, stages=tuple(_measured(way, ways(way), some, trials) for way in names))
    return found


def planned(n: int, epochs: int, speed: Speed, seconds: float, classes: int, folds: int = FOLDS) -> Plan:
    """How much a fine-tune may learn from, how long, and on how many parts, beside the two probes.

    As many parts as can have half of the full epochs, and 5; then as many epochs as there is time for. If one part
    takes too long, fewer pictures; but 10 of each class, and 50 that are held out, however long these take.
    """
    short = min(epochs, max(FEWEST, math.ceil(SHORTEST * epochs)))
    learning = (folds - 1) / folds  # of the pictures
    for parts in range(folds, _least_parts(n, folds) - 1, -1):
        affordable = speed.finetune * max(0.0, seconds / parts - 2 * n * speed.probe) / (learning * n)
        if affordable >= short:
            return Plan(n, folds, parts, min(epochs, int(min(affordable, epochs))), epochs)
    fewer = seconds / (learning * short / speed.finetune + 2 * speed.probe)
    pictures = min(n, max(int(min(fewer, n)), EACH * classes, LEAST * folds))
    return Plan(pictures, folds, _least_parts(pictures, folds), short, epochs, cut=pictures < n)


def _least_parts(n: int, folds: int) -> int:
    return min(folds, math.ceil(LEAST * folds / n))


def _known(data: Data) -> int:
    """How many pictures there are for training and validation."""
    return sum(len(data.splits[side]) for side in ("train", "val") if side in data.splits)


def first_parts(parts: list[Data], found: Auto, kinds: int, budget: float) -> list[Data]:
    """The first parts, as many as further probes of some kinds may take a quarter of the budget for.

    None where this holds fewer than 50 pictures out, and fewer than the ways had: they would tell nothing.
    """
    each = kinds * found.features.seconds / len(parts)
    allowed = len(parts) if each * len(parts) <= PROBES * budget else int(PROBES * budget / each)
    least = min(len(parts), _least_parts(found.plan.pictures, found.plan.folds))
    return parts[:allowed] if allowed >= least else []


def _refuse(data: Data, budget: float) -> None:
    if data.splits["train"].labels.ndim != 1:
        fix = "name a way: --transfer features or --transfer finetune"
        raise NetwrightError("auto compares ways by accuracy, and these pictures have several labels each", fix)
    if not 0 < budget <= sys.float_info.max:
        raise NetwrightError(f"budget cannot be {budget!r:.40}", f"give seconds, as in auto(budget={BUDGET:g})")
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.classes))
    if counts.min() < 2:
        few = data.classes[int(counts.argmin())]
        problem = f"class {few} has {counts.min()} training pictures, of which auto would hold one out"
        raise NetwrightError(problem, "give at least 2 of each class, or name a way: --transfer features")


def _speed(ways: Ways, some: Data, trials: Trials) -> Speed:
    """On a few pictures: of a fine-tune the median of three epochs, since the first is slower; and a whole probe."""
    few = divided(pooled(some, PILOT, ways(FINETUNE).seed), 2)[0]
    probe = trials.run(ways(FEATURES), few)
    rate = trials.run(ways(FINETUNE).changed(epochs=3), few).images_per_second
    return Speed(rate, probe.seconds / sum(map(len, few.splits.values())))


def _measured(way: str, recipe: Recipe, parts: list[Data], trials: Trials, **given: Any) -> Measured:
    found = [trials.run(recipe, part, split="test", **given) for part in parts]
    return Measured(way, np.concatenate([each.correct for each in found]), sum(each.seconds for each in found))


def _mended(
    known: Learnt, shift: DomainShift, recipe: Recipe, parts: list[Data], trials: Trials
) -> dict[str, Measured]:
    """Features under each mended condition, with the statistics of the pictures that the head learns from."""
    found: dict[str, Measured] = {}
    structure = [Spec.parse(text).name for text in known.made_by]
    for how in [condition.name for condition in shift.conditions[1:]]:
        correct: list[NDArray[np.float64]] = []
        seconds = 0.0
        for part in parts:
            network, prepared = mended(known, how, part.splits["train"], part)
            trial = trials.run(
                recipe.changed(weights=None).without(*structure),
                prepared,
                network=lambda network=network: network,
                made_from=f"{recipe.model} {contents(recipe.weights)} {known.made_by} {how}",
            )
            correct.append(trial.correct)
            seconds += trial.seconds
        found[how] = Measured(FEATURES, np.concatenate(correct), seconds)
    return found
