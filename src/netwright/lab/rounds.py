"""Trains the runs of an ablation, all at once or round by round, and puts together what was found."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netwright.lab._stat_verdict import DECIBELS, POINTS
from netwright.lab.compare import Verdict, compare
from netwright.lab.executors import Executor
from netwright.lab.findings import Runs, effects, ended_early, factorial_part, rows
from netwright.lab.foreseen import Prepared
from netwright.lab.looks import METHOD, SOURCE, Spending, kept, next_seeds
from netwright.lab.outcome import Outcome
from netwright.lab.run import run_jobs
from netwright.records.outcomes import OutcomeStore


class Rounds:
    """The runs of an ablation.

    Args:
        prepared: what is to be trained.
        store: where finished runs are kept.
        executor: computes them.
        told: hears of each.
        command: that asked for it; "" for none.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: OutcomeStore,
        executor: Executor,
        told: Callable[[str], None],
        command: str = "",
    ) -> None:
        self.prepared = prepared
        self.command = command
        self.store = store
        self.executor = executor
        self.told = told
        self.outcomes: dict[str, dict[int, Outcome]] = {}
        self.found = 0  # runs that were there before

    def all(self) -> dict[str, Any]:
        """Every arm with every seed."""
        self.train((arm.name, seed) for seed in self.prepared.seeds for arm in self.prepared.plan.rows)
        return self.summary(self.compared())

    def until_resolved(self, spending: Spending) -> dict[str, Any]:
        """A few seeds of every arm, then more of those whose effects they would resolve soonest, look by look."""
        wanted, plan = self.prepared.wanted, self.prepared.plan
        counts = {effect.name: spending.looks[0] for effect in plan.effects}
        looks: list[dict[str, Any]] = []
        verdicts: dict[str, Verdict] = {}
        while True:
            self.train(self._with_seeds(counts))
            seeds = {effect.name: len(self.runs.seeds_of(effect)) for effect in plan.effects}
            verdicts = kept(verdicts, self.compared(spending), margin=wanted.margin)
            left = math.inf if wanted.budget is None else wanted.budget - self._spent()
            more = next_seeds(verdicts, self._costs(), spending=spending, budget=left, margin=wanted.margin)
            looks.append(_look(len(looks) + 1, verdicts, spending, more))
            self.told(f"look {len(looks)}: {len(looks[-1]['resolved'])} of {len(verdicts)} resolved")
            if not more:
                spent = max(spending.spent(count) for count in seeds.values())
                return self.summary(verdicts, {"method": METHOD, "source": SOURCE, "spent": spent, "rows": looks})
            counts = {name: count + more.get(name, 0) for name, count in seeds.items()}

    def _spent(self) -> float:
        """Seconds of all runs so far, also of those that an earlier call did."""
        every = {id(held): held.seconds for of in self.outcomes.values() for held in of.values()}
        return sum(every.values()) / self.prepared.processes

    def _with_seeds(self, counts: Mapping[str, int]) -> list[tuple[str, int]]:
        """Arms with the seeds that their effects want, a seed of all before the next."""
        first = self.prepared.plan.baseline.recipe.seed
        wanted: dict[tuple[int, str], None] = {}
        for effect in self.prepared.plan.effects:
            wanted |= dict.fromkeys((seed, arm) for arm in effect.weights for seed in range(counts[effect.name]))
        places = {arm.name: place for place, arm in enumerate(self.prepared.plan.rows)}
        return [(arm, first + seed) for seed, arm in sorted(wanted, key=lambda pair: (pair[0], places[pair[1]]))]

    def _costs(self) -> dict[str, float]:
        """Seconds that one more seed of an effect takes."""
        costs, beside = self.prepared.costs, self.prepared.processes
        return {
            effect.name: sum(costs[arm].seconds for arm in effect.weights) / beside
            for effect in self.prepared.plan.effects
        }

    def train(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Train arms with seeds that are not there yet; a seed of all arms comes before the next."""
        arms = {arm.name: arm for arm in self.prepared.plan.rows}
        missing = [(name, seed) for name, seed in wanted if seed not in self.outcomes.get(name, {})]
        jobs = {(name, seed): self.prepared.job(arms[name], seed) for name, seed in missing}
        self.found += len(self.store.finished({job.key for job in jobs.values()}))
        labels = {job.key: f"{name}, seed {seed}" for (name, seed), job in reversed(jobs.items())}
        done = run_jobs(list(jobs.values()), self.store, self.executor, labels=labels, told=self.told)
        for (name, seed), job in jobs.items():
            self.outcomes.setdefault(name, {})[seed] = done[job.key]

    @property
    def runs(self) -> Runs:
        """What there is so far."""
        return Runs(self.prepared.plan, self.outcomes)

    def compared(self, spending: Spending | None = None) -> dict[str, Verdict]:
        """A verdict for every effect; `spending` says what each may spend at this look."""
        wanted, runs = self.prepared.wanted, self.runs
        runs.refuse_other_labels()
        differences = {effect.name: runs.differences(effect, runs.headline) for effect in self.prepared.plan.effects}
        unit = DECIBELS if runs.headline == "psnr" else POINTS
        options: dict[str, Any] = {"margin": wanted.margin, "alpha": wanted.alpha, "test": wanted.test, "unit": unit}
        return compare(differences, **options, spending=spending)

    def summary(self, verdicts: Mapping[str, Verdict], looks: dict[str, Any] | None = None) -> dict[str, Any]:
        """What `ablation.json` holds."""
        prepared, runs = self.prepared, self.runs
        plan, wanted = prepared.plan, prepared.wanted
        data, recipe = prepared.data[plan.baseline.name], plan.baseline.recipe
        seeds = sorted({seed for of in self.outcomes.values() for seed in of})
        every = {
            prepared.job(arm, seed).key: held
            for arm in prepared.plan.rows
            for seed, held in self.outcomes[arm.name].items()
        }
        first = next(iter(every.values()))
        found = rows(runs, seeds)
        return {
            "format": 1,
            "title": f"Which trick helps on {data.name}?",
            "kind": plan.kind,
            "data": data.name,
            "pictures": {side: len(split) for side, split in data.splits.items()},
            "split": prepared.split,
            "n": prepared.pictures,
            "metric": runs.headline,
            "model": recipe.model,
            "image_size": recipe.image_size,
            "epochs": recipe.epochs,
            "device": first.machine.get("name", ""),
            "machine": dict(first.machine),
            "processes": prepared.processes,
            "seeds": seeds,
            "test": next(iter(verdicts.values())).test,
            "margin": wanted.margin,
            "alpha": wanted.alpha,
            "equal": wanted.equal,
            "runs": len(every),
            "found": self.found,
            "run_seconds": sum(held.seconds for held in every.values()),
            "preflight": {
                "seconds_per_run": {name: cost.seconds for name, cost in prepared.costs.items()},
                "memory": max(cost.memory for cost in prepared.costs.values()),
                "smallest_effect": prepared.smallest_effect(),
            },
            "baseline": found[0],
            "rows": found,
            "arms": effects(runs, verdicts, wanted),
            "factorial": factorial_part(runs),
            "looks": looks,
            "commands": [self.command] if self.command else [],
            "notes": [*plan.notes, *prepared.notes, *ended_early(runs)],
        }


def _look(number: int, verdicts: Mapping[str, Verdict], spending: Spending, more: Mapping[str, int]) -> dict[str, Any]:
    """A row of the looks' table."""
    return {
        "look": number,
        "seeds": max(found.n for found in verdicts.values()),
        "spent": max(spending.spent(found.n) for found in verdicts.values()),
        "resolved": [name for name, found in verdicts.items() if found.resolved],
        "seeds_added": [f"{name} +{count}" for name, count in more.items()],
    }
