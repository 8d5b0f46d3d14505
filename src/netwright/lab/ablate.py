"""Which trick helps here: every arm of a plan with the same seeds, on the same pictures, and what can be said of it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, get_args

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data import Data
from netwright.lab.executors import Executor, executor_for
from netwright.lab.job import Job
from netwright.lab.looks import FIRST, Spending
from netwright.lab.plan import Arm, Plan, describe
from netwright.lab.power import chosen, smallest_effect
from netwright.lab.preflight import Cost
from netwright.lab.rounds import Rounds
from netwright.lab.settle import (
    Equal,
    computed_alike,
    costs_of,
    equalised,
    keep_costs,
    kept_costs,
    opened,
    plan_key,
    processes_for,
    refuse_other_pictures,
    settled,
    with_threads,
)
from netwright.lab.studies._output import refuse_unwritable
from netwright.lab.trial import split_of
from netwright.records.atomic import write_atomic
from netwright.records.outcomes import OutcomeStore

Test = Literal["auto", "sign_flip", "t"]
Told = Callable[[str], None]
FILE, COSTS, CHECKPOINTS = "ablation.json", "costs.json", "checkpoints"
ASSUMED_SD = 0.01  # of paired differences between seeds, before any is known: half a point to one and a half is usual
DIFFER = 0.15  # the share of pictures about which two networks of an ablation usually disagree
SEEDS = 8  # of each arm, where nobody says
MANY = 1000
MOST_SEEDS = 24  # that --until-resolved may come to


@dataclass(frozen=True)
class Wanted:
    """How sure an ablation is to be, and what it may cost.

    Attributes:
        seeds: runs of each arm; None for what the budget allows, or else 8.
        budget: seconds that the runs may take together.
        equal: what is the same for all arms: epochs, updates, or the expected time.
        margin: a difference that would not matter, as a share: 0.01 is one point.
        alpha: how often, at most, one of several tricks without an effect may be said to have one.
        test: "sign_flip", "t", or "auto".
        split: where runs are measured.
        until_resolved: begin with `seeds` and add seeds where they are worth most, until every effect is resolved.
        most_seeds: that this may come to.
    """

    seeds: int | None = None
    budget: float | None = None
    equal: Equal = "epochs"
    margin: float = 0.01
    alpha: float = 0.05
    test: Test = "auto"
    split: str = "test"
    until_resolved: bool = False
    most_seeds: int = MOST_SEEDS


@dataclass(frozen=True)
class Where:
    """Where runs are computed, and where they are kept.

    Attributes:
        on: "local", "ray", or "ray://HOST:PORT".
        processes: beside each other; None for as many as cores and memory allow.
        gpus: of each run, with Ray.
        store: address of the run store; None for `runs.db` in the output folder.
    """

    on: str = "local"
    processes: int | None = None
    gpus: float = 0.0
    store: str | None = None

    @property
    def remote(self) -> bool:
        """Whether other machines compute, whose cores and accelerators this one does not know."""
        return self.on.startswith("ray://")


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

    def smallest_effect(self) -> float:
        """That these seeds resolve four times of five, if runs differ as they usually do."""
        return smallest_effect(
            seeds=len(self.seeds),
            sd_seeds=ASSUMED_SD,
            sd_pictures_of_mean=math.sqrt(DIFFER / self.pictures),
            effects=len(self.plan.effects),
            alpha=self.wanted.alpha,
            test=self.wanted.test,
        )


def ablate(
    plan: Plan,
    wanted: Wanted | None = None,
    *,
    where: Where | None = None,
    output: str | Path = "ablation",
    told: Told = lambda words: None,
) -> dict[str, Any]:
    """Train every arm of a plan with the same seeds, and write `ablation.json`, `.html`, `.md` and pictures.

    Finished runs are kept in the run store under a hash of what decides them: the same call goes on where it was
    stopped, and runs that another ablation has done cost nothing.

    Args:
        plan: of lab/plan.py.
        wanted: how sure it is to be, and what it may cost.
        where: where runs are computed and kept.
        output: folder for what is found, and for the store unless `where` names one.
        told: hears how it goes.

    Returns:
        What `ablation.json` holds; `arms` has the verdicts.

    Raises:
        NetwrightError: unusable data, a budget that no two seeds fit in, or whatever training refuses.
        Interrupted: a signal stopped it; what is finished is kept.
    """
    where, output = where or Where(), Path(output)
    prepared = prepare(plan, wanted or Wanted(), where, output, told)
    for line in foreseen(prepared):
        told(line)
    return carry_out(prepared, where, output, told)


def prepare(plan: Plan, wanted: Wanted, where: Where, output: Path, told: Told = lambda words: None) -> Prepared:
    """Open the data, settle what recipes leave open, and measure what the runs will take.

    Raises:
        NetwrightError: as `ablate`.
    """
    check(wanted)
    refuse_unwritable(output)
    data = opened(plan)
    plan = settled(plan, data)
    split = split_of(data[plan.baseline.name], wanted.split)
    refuse_other_pictures(plan, data, split)
    key = plan_key(plan, data)
    costs = kept_costs(output / COSTS, key)
    if costs is None:
        told("measures what a run takes")
        costs = costs_of(plan, data, split)
        keep_costs(output / COSTS, key, costs)
    plan, costs = equalised(plan, costs, wanted.equal)
    if where.remote:
        processes, plan = where.processes or 1, with_threads(plan)
    else:
        processes = where.processes or processes_for(costs, plan.baseline.recipe)
        plan = computed_alike(plan, costs, processes)
    found = Prepared(plan, data, costs, split, processes, wanted)
    count, notes = seeds_for(found)
    if where.remote:
        notes.append(f"times are those of this machine{'' if where.processes else ', one run after the other'}")
    first = plan.baseline.recipe.seed
    return replace(found, seeds=tuple(range(first, first + count)), notes=tuple(notes))


def carry_out(
    prepared: Prepared, where: Where, output: Path, told: Told = lambda words: None, *, command: str = ""
) -> dict[str, Any]:
    """Train what is not trained yet, and write what was found; `command` is what asked for it.

    Raises:
        NetwrightError: whatever training refuses.
        Interrupted: a signal stopped it; what is finished is kept.
    """
    from netwright.report.ablation import write  # brings matplotlib along, which training need not wait for

    begun = perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    store = OutcomeStore(where.store) if where.store else OutcomeStore.beside(output)
    with _executor(prepared, where, store, output) as executor:
        rounds = Rounds(prepared, store, executor, told, command)
        spending = spending_of(prepared.plan, prepared.wanted)
        found = rounds.until_resolved(spending) if prepared.wanted.until_resolved else rounds.all()
    result = found | {"wall_seconds": perf_counter() - begun}
    write_atomic(output / FILE, json.dumps(result, indent=2, ensure_ascii=False))
    write(output)
    return result


def foreseen(prepared: Prepared) -> list[str]:
    """The plan in words, before anything is trained: arms, runs, minutes, memory, and what can be resolved."""
    memory = max(cost.memory for cost in prepared.costs.values()) / 2**30
    beside = "one after the other" if prepared.processes == 1 else f"{prepared.processes} beside each other"
    begins = "begins with " if prepared.wanted.until_resolved else ""
    return [
        *describe(prepared.plan),
        f"{begins}{prepared.plan.trainings * len(prepared.seeds)} runs with seeds {prepared.seeds[0]} to "
        f"{prepared.seeds[-1]}, {beside}: about {duration(prepared.seconds_a_seed * len(prepared.seeds))}, "
        f"{memory:.1f} GB of memory each",
        f"resolves effects from about {100 * prepared.smallest_effect():.1f} points on (four times of five, "
        f"{prepared.pictures:,} pictures, if paired differences deviate by {100 * ASSUMED_SD:g} point between seeds)",
        *(f"note: {note}" for note in prepared.notes),
    ]


def seeds_for(prepared: Prepared) -> tuple[int, list[str]]:
    """How many seeds, and what to say of it.

    Raises:
        NetwrightError: not even two fit in the budget.
    """
    wanted, effects = prepared.wanted, len(prepared.plan.effects)
    notes: list[str] = []
    if wanted.until_resolved:
        looks = spending_of(prepared.plan, wanted).looks
        return looks[0], [f"looks at {listed(map(str, looks))} seeds, and adds some where they are worth most"]
    count = wanted.seeds or SEEDS
    if wanted.budget is not None:
        fitting = int(wanted.budget / prepared.seconds_a_seed)
        if fitting < 2:
            fix = f"give --budget {duration(2 * prepared.seconds_a_seed)} or more, fewer arms, or fewer epochs"
            problem = f"two seeds take {duration(2 * prepared.seconds_a_seed)}, and the budget is"
            raise NetwrightError(f"{problem} {duration(wanted.budget)}", fix)
        if wanted.seeds is not None and fitting < wanted.seeds:
            notes.append(f"the budget holds {fitting} of the {wanted.seeds} seeds")
        count = min(fitting, wanted.seeds or MOST_SEEDS)
    if chosen(wanted.test, count, effects, wanted.alpha) == "t":
        flips = next(more for more in range(count, MANY) if chosen("auto", more, effects, wanted.alpha) != "t")
        notes.append(
            f"with {count} seeds verdicts rest on Student's t, which takes differences between seeds for normally "
            f"distributed; sign flips, which need no such thing, could tell from {flips} seeds on"
        )
    return count, notes


def spending_of(plan: Plan, wanted: Wanted) -> Spending:
    """How alpha is spent on looks."""
    first = min(wanted.seeds or FIRST, wanted.most_seeds)
    return Spending(wanted.most_seeds, wanted.alpha, len(plan.effects), wanted.test, first=first)


def check(wanted: Wanted) -> None:
    """Refuse what means nothing.

    Raises:
        NetwrightError: says what is allowed.
    """
    if wanted.equal not in get_args(Equal):
        raise unknown("way to be equal", wanted.equal, get_args(Equal))
    if wanted.test not in get_args(Test):
        raise unknown("test", wanted.test, get_args(Test))
    if wanted.seeds is not None and wanted.seeds < 1:
        raise NetwrightError(f"{wanted.seeds} seeds are none", "give at least 2: --seeds 8")
    if not 0 < wanted.margin < 1:
        raise NetwrightError(f"margin cannot be {wanted.margin:g}", "give a share: 0.01 is one point of accuracy")
    if not 0 < wanted.alpha < 0.5:
        raise NetwrightError(f"alpha cannot be {wanted.alpha:g}", "give a share below 0.5, as 0.05")
    if wanted.budget is not None and not 0 < wanted.budget < math.inf:
        raise NetwrightError(f"budget cannot be {wanted.budget:g} seconds", "give a time, as 45m or 2h")


def duration(seconds: float) -> str:
    """A time in words: 40 s, 12 min, 2 h 5 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _executor(prepared: Prepared, where: Where, store: OutcomeStore, output: Path) -> Executor:
    return executor_for(
        where.on,
        processes=where.processes if where.remote else prepared.processes,
        threads=prepared.plan.baseline.recipe.threads,
        gpus=where.gpus,
        store=store.url,
        checkpoints=output / CHECKPOINTS,
    )
