"""The search itself: trials are asked for, trained by an executor, and told; stopped anywhere, it goes on from there.

Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011 (TPE); Falkner, Klein & Hutter, BOHB, ICML
2018 (its multivariate form). Optuna (Akiba et al., KDD 2019) keeps the trials, in the database of the run store.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netwright.core.errors import Interrupted, NetwrightError
from netwright.lab.executors import Executor
from netwright.lab.executors._executor import is_gone
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import KIND, PRUNED, STARTUP, Pruning, optuna_, pruner_for, quiet, storage_for
from netwright.lab.run import LEASE, POLL, Work
from netwright.lab.tune_space import Space
from netwright.lab.two_way import two_way
from netwright.records.intervals import Interval
from netwright.records.outcomes import OutcomeStore

HEADLINES = {
    "multi_label": "label_accuracy",
    "segmentation": "iou",
}  # the first metric of a task; of all others it is accuracy
MOST_STARTUP = 10  # trials that are drawn at random before those that are told count
ALL_FAILED = 5  # after so many that could not be trained, and none that could, something else is wrong
VALUES, OWNER, KEY, ABOUT = "values", "owner", "key", "about"  # what a trial's record holds beside optuna's own


@dataclass(frozen=True)
class Wanted:
    """How long a search goes on, and how it judges.

    Attributes:
        trials: in all, those of earlier calls and those that were stopped early included.
        budget: seconds after which no more are asked for; None for no limit.
        seeds: of each trial: its value is the mean over them.
        confirm: fresh seeds with which the best recipe and the recipe as it was are compared at the end.
        pruner: "asha", "median", or "none".
    """

    trials: int = 30
    budget: float | None = None
    seeds: int = 1
    confirm: int = 3
    pruner: str = "asha"


@dataclass(eq=False)
class Flight:
    """A trial on its way: one job for each seed, one after the other."""

    trial: Any
    values: dict[str, Any]
    jobs: tuple[Job, ...]
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    computed: int = 0

    @property
    def job(self) -> Job:
        """The one that is next."""
        return self.jobs[len(self.outcomes)]


def metric_of(task: str) -> str:
    """What a search maximises.

    Raises:
        NetwrightError: the task has no share of right answers.
    """
    if task == "reconstruction":
        fix = "compare recipes with netwright ablate --arms, which knows decibels"
        raise NetwrightError("tune compares shares of right answers, and reconstruction has none", fix)
    return HEADLINES.get(task, "accuracy")


def value_of(outcomes: list[Outcome]) -> Interval:
    """The mean over seeds and pictures, with an interval for those of them that there are several of."""
    metric = outcomes[0].headline
    return two_way(np.stack([each.values[metric] for each in outcomes]).astype(np.float64), difference=False)


def opened_study(space: Space, name: str, url: str, wanted: Wanted) -> Any:
    """The study of a search: a new one, or the one that the same command has begun.

    Raises:
        NetwrightError: optuna is missing, or the database cannot be used.
    """
    optuna, epochs = optuna_(), space.recipe.epochs
    with quiet():
        study = optuna.create_study(
            study_name=name, storage=storage_for(url), direction="maximize", load_if_exists=True
        )
        begun = len(study.get_trials(deepcopy=False))
        study.set_user_attr(KIND, [wanted.pruner, epochs])
        study.pruner = pruner_for(wanted.pruner, epochs)
        # With the same seed again it would draw what it drew before it was stopped.
        study.sampler = optuna.samplers.TPESampler(
            seed=(space.recipe.seed + begun) % 2**32,
            n_startup_trials=max(3, min(MOST_STARTUP, wanted.trials // 3)),
            multivariate=True,
            group=any(each.when for each in space.parameters),
            constant_liar=True,
            warn_independent_sampling=False,
        )
        if not begun and space.usual is not None:
            study.enqueue_trial(space.usual)
    return study


class Search(Work):
    """Trials on their way from asked to told.

    Args:
        study: optuna's.
        space: what is searched.
        fingerprint: of the data.
        split: on which trials are judged.
        wanted: how long, and how.
        store: of finished runs.
        executor: entered.
        told: hears how it goes.
        on_trial: hears of each trial's end: its number, how many have ended, its values, what it reached or why not.
    """

    def __init__(
        self,
        study: Any,
        space: Space,
        fingerprint: str,
        split: str,
        wanted: Wanted,
        store: OutcomeStore,
        executor: Executor,
        told: Callable[[str], None],
        on_trial: Callable[[Mapping[str, Any]], None] = lambda row: None,
    ) -> None:
        super().__init__({}, store, executor, told, {})
        self.study = study
        self.space = space
        self.fingerprint = fingerprint
        self.split = split
        self.limits = wanted
        self.on_trial = on_trial
        self.metric = metric_of(space.recipe.task)
        self.flights: dict[Future[Outcome], Flight] = {}
        self.parked: list[Flight] = []
        self.failed: list[NetwrightError] = []
        self.until = float("inf") if wanted.budget is None else time.monotonic() + wanted.budget

    def go_on(self) -> None:
        """Ask, train and tell, until there are enough trials or the budget is spent.

        Raises:
            NetwrightError: the recipe as it was cannot be trained, or nothing can.
            Interrupted: a signal stopped it; what is finished is kept.
        """
        with self.stops_on_signals(), self.renewed():
            self._take_up()
            while True:
                while self._has_room():
                    self._start(self._asked())
                if not self.flights and not self.parked:
                    if not self._others():
                        return
                    time.sleep(POLL)
                    self._take_up()
                    continue
                for flight in self.parked[:]:
                    self.parked.remove(flight)
                    self._start(flight)
                self._land()

    def _has_room(self) -> bool:
        if len(self.flights) + len(self.parked) >= self.executor.slots or time.monotonic() >= self.until:
            return False
        return self._count("COMPLETE", "PRUNED", "RUNNING") < self.limits.trials

    def _others(self) -> bool:
        """Whether it depends on trials of other drivers if there are enough: they may end well, or have been killed."""
        if time.monotonic() >= self.until or self._count("COMPLETE", "PRUNED") >= self.limits.trials:
            return False
        return self._count("RUNNING") > 0

    def _count(self, *states: str) -> int:
        wanted = tuple(optuna_().trial.TrialState[state] for state in states)
        return len(self.study.get_trials(deepcopy=False, states=wanted))

    def _take_up(self) -> None:
        """Trials whose driver is gone are marked as failed, and asked for again."""
        running = optuna_().trial.TrialState.RUNNING
        for trial in self.study.get_trials(deepcopy=False, states=(running,)):
            if self._is_gone(trial):
                # In this order: killed in between, it is asked for twice, and trained once.
                self.study.enqueue_trial({**trial.system_attrs.get("fixed_params", {}), **trial.params})
                with suppress(ValueError):  # another driver has done the same this moment
                    self._tell_study(trial.number, None, "FAIL")

    def _is_gone(self, trial: Any) -> bool:
        owner, key = trial.user_attrs.get(OWNER), trial.user_attrs.get(KEY)
        if owner is not None and is_gone(owner):
            return True
        if owner is None or key is None:  # its driver is about to say, or was killed in that moment
            began = trial.datetime_start
            return began is None or time.time() - began.timestamp() > LEASE
        # On another machine: gone if it let its lease run out.
        if self.store.finished([key]) or owner == self.executor.owner:
            return False
        mine = self.store.claim(key, self.executor.owner, recipe={}, seed=0, data=self.fingerprint, lease=LEASE)
        if mine:
            self.store.release(key, self.executor.owner)
        return mine

    def _asked(self) -> Flight:
        """A new trial, with its jobs; its record says who trains it, should that be the last that is heard."""
        with quiet():
            trial = self.study.ask()
            trial.set_user_attr(OWNER, self.executor.owner)  # first: without it, nobody could tell that it was killed
            values = self.space.drawn(trial)
        recipe = self.space.to_recipe(values)
        seeds = range(recipe.seed, recipe.seed + self.limits.seeds)
        jobs = [Job(recipe.changed("auto", seed=seed), self.fingerprint, self.split) for seed in seeds]
        if self.limits.pruner != "none" and trial.number >= STARTUP and values != self.space.usual:
            how = Pruning(self.store.url, self.study.study_name, trial.number, f"val_{self.metric}", recipe.epochs)
            jobs[0] = replace(jobs[0], pruning=how)
        for name, value in ((VALUES, values), (KEY, jobs[0].key)):
            trial.set_user_attr(name, value)
        return Flight(trial, values, tuple(jobs))

    def _start(self, flight: Flight) -> None:
        """Go as far as finished runs allow, then train; what somebody else trains at this moment is waited for."""
        while len(flight.outcomes) < len(flight.jobs):
            key = flight.job.key
            self.jobs.setdefault(key, flight.job)
            content = self.store.content(key)
            found = None if content is None else self._read(key, content)
            if found is not None:
                flight.outcomes.append(found)
                continue
            if not flight.outcomes and (twin := self._stopped_before(flight)) is not None:
                self._stop(flight, twin)
            elif any(other.job.key == key for other in self.flights.values()) or not self._claim(key):
                self.parked.append(flight)
            else:
                self.claimed.add(key)
                flight.computed += 1
                self.flights[self.executor.submit(flight.job)] = flight
            return
        self._complete(flight)

    def _land(self) -> None:
        """Wait until a run is done, here or perhaps elsewhere."""
        if not self.flights:
            if self.parked:
                time.sleep(POLL)
            return
        for future in wait(self.flights, POLL if self.parked else None, FIRST_COMPLETED).done:
            self._landed(self.flights.pop(future), future)

    def _landed(self, flight: Flight, future: Future[Outcome]) -> None:
        key, owner = flight.job.key, self.executor.owner
        try:
            outcome = future.result()
        except Interrupted:
            raise
        except NetwrightError as error:
            self.claimed.discard(key)
            self.store.fail(key, owner, error.problem)
            self._fail(flight, error)
            return
        if outcome.stopped == PRUNED:  # what it gave is not what the whole run would have given
            self.claimed.discard(key)
            self.store.release(key, owner)
            self._stop(flight, None)
            return
        if not self.store.finished([key]):
            self.store.finish(key, owner, outcome.to_bytes(), outcome.summary())
        self.claimed.discard(key)
        self.outcomes[key] = outcome
        flight.outcomes.append(outcome)
        self._start(flight)

    def _complete(self, flight: Flight) -> None:
        found, first = value_of(flight.outcomes), flight.outcomes[0]
        if flight.jobs[0].pruning is None or not flight.computed:
            self._replay(flight.trial, {int(row["epoch"]): row.get(f"val_{self.metric}") for row in first.history})
        seconds = sum(each.seconds for each in flight.outcomes)
        about = {"interval": found.to_json(), "epochs": first.epochs, "seconds": seconds}
        self._end(flight, found.value, "COMPLETE", {**about, "found": len(flight.jobs) - flight.computed})

    def _stop(self, flight: Flight, twin: Any) -> None:
        """Stopped early: by the search, or as one with the same values was."""
        if twin is not None:
            self._replay(flight.trial, twin.intermediate_values)
        with quiet():
            told = next(
                each.intermediate_values
                for each in self.study.get_trials(deepcopy=False)
                if each.number == flight.trial.number
            )
        self._end(flight, None, "PRUNED", {"epochs": max(told, default=0), "found": int(twin is not None)})

    def _fail(self, flight: Flight, error: NetwrightError) -> None:
        """Values with which it cannot be trained are the worst there are; the recipe as it was has to be trainable."""
        self.failed.append(error)
        states = optuna_().trial.TrialState
        alone = not self.study.get_trials(deepcopy=False, states=(states.COMPLETE,))
        self._end(flight, None, "PRUNED", {"epochs": 0, "found": 0, "problem": error.problem})
        if flight.values == self.space.usual or (alone and len(self.failed) >= ALL_FAILED):
            raise error

    def _end(self, flight: Flight, value: float | None, state: str, about: dict[str, Any]) -> None:
        flight.trial.set_user_attr(ABOUT, about)
        self._tell_study(flight.trial.number, value, state)
        number, ended = flight.trial.number, self._count("COMPLETE", "PRUNED")
        self.on_trial(
            {"number": number, "ended": ended, "state": state, "value": value, "values": flight.values, **about}
        )

    def _tell_study(self, number: int, value: float | None, state: str) -> None:
        with quiet():
            self.study.tell(number, value, state=optuna_().trial.TrialState[state])

    def _replay(self, trial: Any, told: Mapping[int, float | None]) -> None:
        """Tell epochs that no worker told, so that others are compared with them."""
        with quiet():
            for epoch, value in sorted(told.items()):
                if value is not None and np.isfinite(value):
                    trial.report(value, epoch)
                    trial.should_prune()  # which enters it on the rungs that it has come to

    def _stopped_before(self, flight: Flight) -> Any:
        """A trial with the same values that was stopped early; None where there is none."""
        pruned = optuna_().trial.TrialState.PRUNED
        for trial in self.study.get_trials(deepcopy=False, states=(pruned,)):
            if trial.user_attrs.get(KEY) == flight.jobs[0].key and "problem" not in trial.user_attrs.get(ABOUT, {}):
                return trial
        return None
