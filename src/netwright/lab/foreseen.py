"""What an ablation will take and what it can resolve, said before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from netwright.core.errors import NetwrightError, listed
from netwright.data import Data
from netwright.lab.job import Job
from netwright.lab.looks import FIRST, Spending
from netwright.lab.plan import Arm, Plan, command, describe
from netwright.lab.power import chosen, foreseen_effect, foreseen_error
from netwright.lab.preflight import Cost
from netwright.lab.wanted import Wanted
from netwright.report.words import duration

SEEDS = 8  # of each arm, where nobody says
MANY = 1000


@dataclass(frozen=True, eq=False)
class Prepared:
    """A plan whose recipes leave nothing open, with what it will take.

    Attributes:
        plan: with every recipe settled.
        data: opened, by the name of the arm.
        costs: of one run of each arm.
        split: where runs are measured.
        processes: beside each other.
        wanted: how sure it is to be.
        seeds: of the runs.
        notes: what a user should know.
    """

    plan: Plan
    data: Mapping[str, Data]
    costs: Mapping[str, Cost]
    split: str
    processes: int
    wanted: Wanted
    seeds: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def pictures(self) -> int:
        """On which runs are measured."""
        return len(self.data[self.plan.baseline.name].splits[self.split])

    @property
    def seconds_a_seed(self) -> float:
        """That all arms with one seed should take, as many beside each other as there are processes."""
        different = {arm.recipe.key: self.costs[arm.name].seconds for arm in self.plan.rows}
        return sum(different.values()) / self.processes

    def job(self, arm: Arm, seed: int) -> Job:
        """One run."""
        recipe = arm.recipe.changed("auto", seed=seed)
        return Job(recipe, self.data[arm.name].fingerprint, self.split, like=self.plan.baseline.recipe.model)

    def to_json(self) -> dict[str, Any]:
        """The plan, and what is foreseen of it."""
        return {
            "kind": self.plan.kind,
            "arms": [
                {"name": arm.name, "changes": list(arm.changes), "epochs": arm.recipe.epochs, "command": command(arm)}
                for arm in self.plan.rows
            ],
            "effects": [{"name": effect.name, "weights": dict(effect.weights)} for effect in self.plan.effects],
            "seeds": list(self.seeds),
            "runs": self.plan.trainings * len(self.seeds),
            "processes": self.processes,
            "seconds": self.seconds_a_seed * len(self.seeds),
            "memory": max(cost.memory for cost in self.costs.values()),
            "smallest_effect": self.smallest_effect(),
            "notes": [*self.plan.notes, *self.notes],
        }

    @property
    def assumed_sd(self) -> float:
        """Of effects between seeds, before any is known: the largest."""
        return max(foreseen_error(self.pictures, weights=weights).sd_seeds for weights in self._weights)

    def smallest_effect(self) -> float | None:
        """That these seeds resolve four times of five, if runs differ as they usually do; None if nothing can be."""
        wanted, seeds, alpha = self.wanted, len(self.seeds), self.wanted.alpha
        if wanted.until_resolved:
            seeds = wanted.most_seeds
            alpha = spending_of(self.plan, wanted).level(seeds)
        of, effects = partial(foreseen_effect, self.pictures, seeds=seeds), len(self.plan.effects)
        each = [of(weights=weights, effects=effects, alpha=alpha, test=wanted.test) for weights in self._weights]
        return None if None in each else max(found for found in each if found is not None)

    @property
    def _weights(self) -> set[tuple[float, ...]]:
        """Of the effects: many have the same."""
        return {tuple(sorted(effect.weights.values())) for effect in self.plan.effects}


def foreseen(prepared: Prepared) -> list[str]:
    """The plan in words, before anything is trained: arms, runs, minutes, memory, and what can be resolved."""
    memory = max(cost.memory for cost in prepared.costs.values()) / 2**30
    beside = "one after the other" if prepared.processes == 1 else f"{prepared.processes} beside each other"
    runs = prepared.plan.trainings * len(prepared.seeds)
    begins = "begins with " if prepared.wanted.until_resolved else ""
    takes = duration(prepared.seconds_a_seed * len(prepared.seeds))
    return [
        *describe(prepared.plan),
        f"{begins}{runs} runs with {_named(prepared.seeds)}, {beside}: about {takes}, {memory:.1f} GB of memory each",
        _resolvable(prepared),
        *(f"note: {note}" for note in prepared.notes),
    ]


def _named(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _resolvable(prepared: Prepared) -> str:
    smallest = prepared.smallest_effect()
    if smallest is None:
        return "resolves nothing: these are too few seeds"
    return (
        f"resolves effects from about {100 * smallest:.1f} points on, four times of five, if seeds make them vary by "
        f"{100 * prepared.assumed_sd:.1f} points, as is usual with {prepared.pictures:,} {prepared.split} pictures"
    )


def longer(prepared: Prepared) -> list[str]:
    """Arms with their epochs, where these are not the same for all."""
    lengths = {arm.name: arm.recipe.epochs for arm in prepared.plan.rows}
    return [f"{name} {epochs}" for name, epochs in lengths.items()] if len(set(lengths.values())) > 1 else []


def seeds_for(prepared: Prepared) -> tuple[int, list[str]]:
    """How many seeds, and what to say of it.

    Raises:
        NetwrightError: not even two fit in the budget.
    """
    wanted, effects = prepared.wanted, len(prepared.plan.effects)
    notes: list[str] = []
    count = spending_of(prepared.plan, wanted).looks[0] if wanted.until_resolved else wanted.seeds or SEEDS
    if wanted.budget is not None:
        fitting, least = int(wanted.budget / prepared.seconds_a_seed), count if wanted.until_resolved else 2
        if fitting < least:
            fix = f"give --budget {duration(1.1 * least * prepared.seconds_a_seed)}, fewer arms, or fewer epochs"
            problem = f"{least} seeds take about {duration(least * prepared.seconds_a_seed)}, and the budget is"
            raise NetwrightError(f"{problem} {duration(wanted.budget)}", fix)
        if wanted.seeds is not None and fitting < wanted.seeds:
            notes.append(f"the budget holds {fitting} of the {wanted.seeds} seeds")
        if not wanted.until_resolved:
            count = min(fitting, wanted.seeds or wanted.most_seeds)
    if wanted.until_resolved:
        looks = spending_of(prepared.plan, wanted).looks
        return count, [f"looks at {listed(map(str, looks))} seeds, and adds some where they are worth most"]
    if chosen(wanted.test, count, effects, wanted.alpha) == "t":
        flips = next(more for more in range(count, MANY) if chosen("auto", more, effects, wanted.alpha) != "t")
        seeds = "1 seed" if count == 1 else f"{count} seeds"
        notes.append(
            f"with {seeds} verdicts rest on Student's t, which takes differences between seeds for normally "
            f"distributed; sign flips, which need no such thing, could tell from {flips} seeds on"
        )
    return count, notes


def spending_of(plan: Plan, wanted: Wanted) -> Spending:
    """How alpha is spent on looks."""
    first = min(wanted.seeds or FIRST, wanted.most_seeds)
    return Spending(wanted.most_seeds, wanted.alpha, len(plan.effects), wanted.test, first=first)
