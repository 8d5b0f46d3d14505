"""What the runs of a plan say together: effects with verdicts, and what each arm reached and took."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.lab.compare import Verdict, difference_interval, scalar_interval
from netwright.lab.factorial import BETWEEN, half_normal, lenth, two_way_table
from netwright.lab.outcome import Outcome
from netwright.lab.plan import Arm, Effect, Plan, command
from netwright.lab.power import smallest_effect
from netwright.lab.two_way import two_way
from netwright.lab.wanted import Wanted
from netwright.records.intervals import Interval
from netwright.report.calibration import mean_gap

Floats = NDArray[np.float64]
LOSS = "loss"
CURVES = ("val_loss", "train_loss")


@dataclass(frozen=True, eq=False)
class Runs:
    """The outcomes of a plan: by name of the arm, then by seed."""

    plan: Plan
    outcomes: Mapping[str, Mapping[int, Outcome]]

    def seeds_of(self, effect: Effect) -> list[int]:
        """Those with which every arm that an effect rests on has been trained."""
        first, *others = (set(self.outcomes[name]) for name in effect.weights)
        return sorted(first.intersection(*others))

    def differences(self, effect: Effect, metric: str) -> Floats:
        """What an effect is, seed by seed and picture by picture. S N."""
        stacked = {name: stack(held, metric) for name, held in self.paired(effect).items()}
        return np.sum([effect.weights[name] * values for name, values in stacked.items()], axis=0)

    def paired(self, effect: Effect) -> dict[str, list[Outcome]]:
        """The runs that an effect rests on, by name of the arm, in the order of seeds."""
        seeds = self.seeds_of(effect)
        return {name: [self.outcomes[name][seed] for seed in seeds] for name in effect.weights}

    def values(self, arm: Arm, metric: str) -> Floats:
        """What an arm reached. S N."""
        held = self.outcomes[arm.name]
        return stack([held[seed] for seed in sorted(held)], metric)

    @property
    def headline(self) -> str:
        """The metric that arms are compared by."""
        return next(iter(self.outcomes[self.plan.baseline.name].values())).headline

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of the task."""
        return tuple(next(iter(self.outcomes[self.plan.baseline.name].values())).values)

    def refuse_other_labels(self) -> None:
        """Outcomes that were measured on other pictures, as of a store that was tampered with.

        Raises:
            NetwrightError: there is one.
        """
        every = [(name, seed, held) for name, of in self.outcomes.items() for seed, held in of.items()]
        for name, seed, held in every:
            if not np.array_equal(held.labels, every[0][2].labels):
                problem = f"{name} with seed {seed} was measured on other pictures than the rest"
                raise NetwrightError(problem, "give another --store or --output, so that it is trained anew")


def rows(runs: Runs, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """What each arm reached and took, the baseline first; `common` is about the seeds that all arms have."""
    shared = set.intersection(*(set(of) for of in runs.outcomes.values()))
    return [_row(runs, arm, seeds) | {"common": _reached(runs, arm, sorted(shared))} for arm in runs.plan.rows]


def ended_early(runs: Runs) -> list[str]:
    """Arms of which runs diverged, or were stopped by a trick, in words."""
    found: list[str] = []
    for arm in runs.plan.rows:
        held = runs.outcomes[arm.name]
        early = [run.stopped for run in held.values() if run.stopped]
        if early:
            found.append(f"{arm.name}: {len(early)} of {len(held)} runs ended early ({early[0]})")
    return found


def effects(runs: Runs, verdicts: Mapping[str, Verdict], wanted: Wanted) -> list[dict[str, Any]]:
    """Every effect with its verdict, what else it changes, and how small a one these runs could have told."""
    return [
        _effect(runs, effect, verdicts[effect.name])
        | {"resolvable": _resolvable(verdicts[effect.name], len(runs.plan.effects), wanted)}
        for effect in runs.plan.effects
    ]


def _resolvable(verdict: Verdict, effects: int, wanted: Wanted) -> float | None:
    if verdict.n < 2:
        return None
    found = smallest_effect(
        seeds=verdict.n,
        sd_seeds=verdict.sd_seeds,
        sd_pictures_of_mean=verdict.sd_pictures_of_mean,
        effects=effects,
        alpha=wanted.alpha,
        test=wanted.test,
    )
    return found if math.isfinite(found) else None


def _reached(runs: Runs, arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    held = [runs.outcomes[arm.name][seed] for seed in seeds]
    return {
        "accuracy": two_way(stack(held, runs.headline), difference=False).to_json(),
        "seconds": fmean(run.seconds for run in held),
        "n": len(held),
    }


def _row(runs: Runs, arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    held = [runs.outcomes[arm.name][seed] for seed in sorted(runs.outcomes[arm.name])]
    seen = runs.values(arm, runs.headline)
    recipe = arm.recipe
    return {
        "name": arm.name,
        "changes": list(arm.changes),
        "spec": {
            "tricks": list(recipe.tricks),
            **{name: getattr(recipe, name) for name in ("optimizer", "schedule", "model", "epochs", "batch_size")},
        },
        "accuracy": two_way(seen, difference=False).to_json(),
        "by_seed": seen.mean(1).tolist(),
        "loss": difference_interval(runs.values(arm, LOSS)).to_json() if LOSS in runs.metrics else None,
        "calibration": _calibration(held),
        "seconds": fmean(each.seconds for each in held),
        "images_per_second": fmean(each.images_per_second for each in held),
        "memory": max(each.memory for each in held),
        "epochs": held[0].epochs,
        "steps": held[0].steps,
        "stopped": sorted({each.stopped for each in held if each.stopped}),
        "n": len(held),
        "curves": {name: curve for name in (f"val_{runs.headline}", *CURVES) if (curve := mean_curve(held, name))},
        "command": command(arm, seed=seeds[0]),
    }


def _effect(runs: Runs, effect: Effect, verdict: Verdict) -> dict[str, Any]:
    found = verdict.to_json() | {
        "weights": dict(effect.weights),
        "order": effect.order,
        "aliases": list(effect.aliases),
    }
    loss = difference_interval(runs.differences(effect, LOSS)).to_json() if LOSS in runs.metrics else None
    held = runs.paired(effect)
    time = _ratio(effect, held, lambda run: run.seconds)
    memory = _ratio(effect, held, lambda run: max(1.0, run.memory))
    return found | {
        "loss": loss,
        "calibration": _calibration_difference(effect, held),
        "time_ratio": time and time.value,
        "time": time and time.to_json(),
        "memory_ratio": memory and memory.value,
    }


def _calibration_difference(effect: Effect, held: Mapping[str, Sequence[Outcome]]) -> dict[str, Any] | None:
    errors = {name: calibration_errors(runs) for name, runs in held.items()}
    if not all(map(len, errors.values())):
        return None
    return scalar_interval(np.sum([effect.weights[name] * each for name, each in errors.items()], axis=0)).to_json()


def _ratio(effect: Effect, held: Mapping[str, Sequence[Outcome]], of: Callable[[Outcome], float]) -> Interval | None:
    """How many times as much runs with the trick take as those without, paired by seed; the mean of logarithms."""
    logs = {name: np.log([of(run) for run in runs]) for name, runs in held.items()}
    if not all(np.isfinite(each).all() for each in logs.values()):
        return None
    seen = scalar_interval(np.sum([effect.weights[name] * each for name, each in logs.items()], axis=0))
    value, low, high = (float(np.exp(each)) for each in (seen.value, seen.low, seen.high))
    return Interval(value, low, high, seen.n, seen.method)


def stack(held: Sequence[Outcome], metric: str) -> Floats:
    """A metric of several runs. S N."""
    return np.stack([run.values[metric] for run in held]).astype(np.float64)


def calibration_errors(held: Sequence[Outcome]) -> Floats:
    """The expected calibration error of each run, with 15 bins of equal width; none where a task gives no classes."""
    found = [
        mean_gap(each.confidence.astype(np.float64), each.values[each.headline] > 0.5)
        for each in held
        if each.confidence is not None
    ]
    return np.array(found)


def _calibration(held: Sequence[Outcome]) -> dict[str, Any] | None:
    errors = calibration_errors(held)
    if not len(errors):
        return None
    seen = scalar_interval(errors)
    return {"value": seen.value, "by_seed": errors.tolist(), "interval": [seen.low, seen.high]}


def mean_curve(held: Sequence[Outcome], name: str) -> list[float]:
    """The mean over seeds of what an epoch's row says, as long as all have one; [] where it says nothing."""
    each = [[float(row[name]) for row in run.history if row.get(name) is not None] for run in held]
    length = min(map(len, each))
    return np.mean([values[:length] for values in each], axis=0).tolist() if length else []


def factorial_part(runs: Runs) -> dict[str, Any] | None:
    """The design, which effects stand out of the noise, and tables of two tricks at a time; None for other plans."""
    design = runs.plan.design
    if design is None:
        return None
    means = {arm.name: float(runs.values(arm, runs.headline).mean()) for arm in runs.plan.rows}
    sizes = {
        effect.name: sum(weight * means[arm] for arm, weight in effect.weights.items()) for effect in runs.plan.effects
    }
    reach = lenth(sizes.values())
    quantiles = half_normal(sizes)
    pairs = [effect.name.split(BETWEEN) for effect in runs.plan.effects if effect.order == 2]
    return {
        "design": design.to_json(),
        "half_normal": [{"name": name, "effect": sizes[name], "quantile": at} for name, at in quantiles.items()],
        "margin_of_error": reach.margin,
        "two_way": [{"factors": [a, b], "means": two_way_table(means, design, a, b)} for a, b in pairs],
    }
