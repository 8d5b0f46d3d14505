"""Better values for a recipe, searched on the validation pictures and confirmed on pictures that had no part in it."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np
import torch

from netwright.core.errors import NetwrightError, unknown
from netwright.data import Data
from netwright.engine.device import available_threads
from netwright.lab import executors
from netwright.lab.arms import Arm, command
from netwright.lab.executors import Executor, executor_for
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import Pruner, first_look, optuna_, quiet
from netwright.lab.run import run_jobs
from netwright.lab.studies._output import refuse_unwritable
from netwright.lab.trial import data_of
from netwright.lab.tune_search import ABOUT, VALUES, Search, Wanted, metric_of, opened_study
from netwright.lab.tune_space import Space, space_of
from netwright.lab.tune_words import expected, fresh, space_lines, trial_line
from netwright.lab.two_way import two_way
from netwright.recipes._assemble import assemble
from netwright.recipes._ranges import Parameter, applied
from netwright.recipes._recipe import LARGEST, Recipe
from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval
from netwright.records.outcomes import OutcomeStore

Told = Callable[[str], None]
FORMAT = 1
FILE = "tune.json"
FEWEST = 8  # finished trials from which importances are estimated
NO_IMPORTANCE = f"importances want {FEWEST} trials of differing value"


def tune(
    recipe: Recipe,
    ranges: Sequence[str] = (),
    *,
    tricks: bool = False,
    wanted: Wanted | None = None,
    on: str = "local",
    processes: int | None = None,
    gpus: float = 0.0,
    store: str | None = None,
    output: str | Path = "tune",
    told: Told = lambda words: None,
) -> dict[str, Any]:
    """Search values for a recipe, and write `tune.json` and `tune.html`.

    What the recipe's user gave stays; the rest is drawn from the ranges that the recipe, its optimiser and its tricks
    declare. The same call goes on where it was stopped, and more trials go on from fewer.

    Args:
        recipe: knows which of its values its user gave (`Recipe.sources`).
        ranges: to search instead of what is declared, as `lr=1e-4..1e-1` or `optimizer=sgd|adamw`.
        tricks: also whether each trick that the user did not ask for is there.
        wanted: how long, and how trials are judged.
        on: where runs are computed: "local", "ray", "ray://HOST:PORT".
        processes: runs at once.
        gpus: of each run, with Ray.
        store: address of the run store; None for `runs.db` in the output folder.
        output: folder for what is found.
        told: hears how it goes.

    Returns:
        What `tune.json` holds: `best`, `value`, `interval`, `confirmed`, `trials`, `fixed`, and how it came about.

    Raises:
        NetwrightError: a range or value that cannot be, nothing to search, unusable data, or optuna is missing.
        Interrupted: a signal stopped it; what is finished is kept.
    """
    wanted, output, begun = wanted or Wanted(), Path(output), perf_counter()
    check(wanted)
    optuna_()
    executors.check(on, gpus)
    space_of(recipe, ranges, tricks=tricks)
    refuse_unwritable(output)
    held = OutcomeStore(store) if store else OutcomeStore.beside(output)  # all this is refused before data are opened
    held.told = told
    data = data_of(recipe)
    space = space_of(settled(recipe, data, processes), ranges, tricks=tricks)
    for line in space_lines(space, wanted, len(data.splits["val"])):
        told(line)
    study = opened_study(space, study_name(space, data, wanted), held.url, wanted)
    with executor_for(on, processes=processes, threads=space.recipe.threads, gpus=gpus, store=held.url) as executor:
        searched(study, space, data, wanted, held, executor, told)
        found = summary(study, space, data, wanted)
        found |= confirmation(found["best"], space, data, wanted, held, executor, told)
    found |= {
        "command": command(Arm("best", applied(recipe, found["best"]))),
        "study": study.study_name,
        "wall_seconds": perf_counter() - begun,
    }
    return write(found, output)


def check(wanted: Wanted) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        NetwrightError: says which.
    """
    for name, least in (("trials", 1), ("seeds", 1), ("confirm", 0)):
        if getattr(wanted, name) < least:
            raise NetwrightError(f"{name} cannot be {getattr(wanted, name)}", f"give at least {least}")
    if wanted.budget is not None and not wanted.budget > 0:
        raise NetwrightError(f"the budget cannot be {wanted.budget:g} s", "give more, as in --budget 30m")
    if wanted.pruner not in get_args(Pruner):
        raise unknown("pruner", wanted.pruner, get_args(Pruner))


def settled(recipe: Recipe, data: Data, processes: int | None) -> Recipe:
    """The recipe with nothing left open that another machine would fill in otherwise.

    Raises:
        NetwrightError: no validation pictures, or what would have to be found by trying in each trial anew.
    """
    if not len(data.splits.get("val", ())):
        raise NetwrightError(
            f"{data.name} has no validation pictures to judge by", "hold some out: --set val_fraction=0.1"
        )
    if recipe.batch_size == LARGEST or recipe.finds_rate:
        fix = "give numbers, as in --batch-size 128 --lr 0.01, or leave them to the search"
        raise NetwrightError("the batch size or the learning rate would be found by trying, in each trial anew", fix)
    threads = torch.get_num_threads()
    try:
        found = assemble(recipe, data=data).recipe
    finally:
        torch.set_num_threads(threads)  # the process may have other work
    most = max(1, available_threads() // (processes or 1))
    names = ("model", "batch_size", "image_size", "channels", "precision", "device")
    return recipe.resolved(**{name: getattr(found, name) for name in names}, threads=min(found.threads or 1, most))


def study_name(space: Space, data: Data, wanted: Wanted) -> str:
    """What the search is called in its storage: searches of the same space on the same data are one."""
    return "tune-" + sha256(f"{FORMAT} {space.key} {data.fingerprint} {wanted.seeds}".encode()).hexdigest()[:24]


def searched(
    study: Any, space: Space, data: Data, wanted: Wanted, store: OutcomeStore, executor: Executor, told: Told
) -> None:
    """Go on with the search, and tell of each trial."""
    best: float | None = max((row["value"] for row in rows_of(study) if row["state"] == "complete"), default=None)
    timed = False

    def on_trial(row: Mapping[str, Any]) -> None:
        nonlocal best, timed
        told(trial_line(row, wanted.trials, best, usual=row["values"] == space.usual))
        if row["state"] != "COMPLETE":
            return
        best = row["value"] if best is None else max(best, row["value"])
        if not timed and row["found"] < wanted.seeds:
            timed = True
            told(expected(row["seconds"], wanted.trials - len(rows_of(study)), executor.slots, wanted.pruner))

    Search(study, space, data.fingerprint, "val", wanted, store, executor, told, on_trial).go_on()


def summary(study: Any, space: Space, data: Data, wanted: Wanted) -> dict[str, Any]:
    """What the search found, before it is confirmed.

    Raises:
        NetwrightError: no trial was trained to its end.
    """
    rows = rows_of(study)
    complete = [row for row in rows if row["state"] == "complete"]
    if not complete:
        problems = [row["problem"] for row in rows if row.get("problem")]
        why = f": {problems[0]}" if problems else ""
        raise NetwrightError(f"no trial was trained to its end{why}", "give more trials or a larger --budget")
    best = max(complete, key=lambda row: (row["value"], -row["number"]))
    baseline = next((row for row in complete if row["values"] == space.usual), None)
    states = ("complete", "pruned", "failed")
    recipe = space.recipe
    return {
        "format": FORMAT,
        "title": f"Better values for {recipe.name} on {data.name}",
        "data": data.name,
        "model": recipe.model,
        "pictures": {side: len(split) for side, split in data.splits.items()},
        "split": "val",
        "metric": metric_of(recipe.task),
        "recipe": recipe.model_dump(mode="json"),
        "best": best["values"],
        "best_trial": best["number"],
        "value": best["value"],
        "interval": [best["interval"]["low"], best["interval"]["high"]],
        "baseline": None if baseline is None else {name: baseline[name] for name in ("number", "value", "interval")},
        "fixed": dict(space.fixed),
        "space": [_described(each) for each in space.parameters],
        "trials": rows,
        "counts": {state: sum(row["state"] == state for row in rows) for state in states},
        "importance": importance(study, recipe.epochs),
        "no_importance": NO_IMPORTANCE,
        "seeds": wanted.seeds,
        "pruner": wanted.pruner,
        "run_seconds": sum(row["seconds"] or 0.0 for row in rows),
    }


def rows_of(study: Any) -> list[dict[str, Any]]:
    """Every trial that came to an end, as `tune.json` lists it; those that were asked for again are left out."""
    with quiet():
        trials = study.get_trials(deepcopy=False)
    found: list[dict[str, Any]] = []
    for trial in trials:
        about = trial.user_attrs.get(ABOUT)
        if about is None or trial.state.name not in ("COMPLETE", "PRUNED"):
            continue
        state = "failed" if "problem" in about else trial.state.name.lower()
        value = trial.value if state == "complete" else None
        row: dict[str, Any] = {"interval": None, "seconds": None, **about}
        curve = {str(epoch): told for epoch, told in sorted(trial.intermediate_values.items())}
        values = trial.user_attrs[VALUES]
        found.append({"number": trial.number, "state": state, "values": values, "value": value, **row, "curve": curve})
    return found


def importance(study: Any, epochs: int) -> dict[str, Any] | None:
    """The share of the variance between trials that each parameter explains, by fANOVA (Hutter et al., ICML 2014).

    Of final values, if enough trials were trained to their end; else of what all trials had when they were first
    compared, since those that went on from there are no fair sample. A random forest's estimate from trials that were
    not drawn evenly: of the order it tells more than of sizes, and there is no interval.
    """
    optuna, early = optuna_(), first_look(epochs)
    with quiet():
        trials = study.get_trials(deepcopy=False)
        final = [(trial, trial.value) for trial in trials if trial.state.name == "COMPLETE"]
        first = [(trial, trial.intermediate_values[early]) for trial in trials if early in trial.intermediate_values]
        values, when = (final, None) if len(final) >= max(FEWEST, len(first) / 2) else (first, early)
        if len(values) < FEWEST or len({value for _, value in values}) < 2:
            return None
        made = optuna.create_study(direction="maximize")
        for trial, value in values:
            kept = {"params": trial.params, "distributions": trial.distributions}
            made.add_trial(optuna.trial.create_trial(**kept, value=value))
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(made, evaluator=evaluator)
        except (RuntimeError, ValueError):  # as of values that do not vary
            return None
    shares = {name: float(share) for name, share in found.items()}
    return {"shares": shares, "epoch": when, "n": len(values)} if shares else None


def confirmation(
    best: Mapping[str, Any],
    space: Space,
    data: Data,
    wanted: Wanted,
    store: OutcomeStore,
    executor: Executor,
    told: Told,
) -> dict[str, Any]:
    """The best recipe and the recipe as it was, with seeds that had no part in the search, on the same pictures."""
    chosen = space.to_recipe(best)
    if chosen.key == space.recipe.key:
        words = "no trial was better than the recipe as it was, which is the best: there is nothing to confirm"
        return {"confirmed": None, "unconfirmed": words}
    if not wanted.confirm:
        words = "nothing was confirmed: the value of the best is flattered by having been chosen; try --confirm 3"
        return {"confirmed": None, "unconfirmed": words}
    split = "test" if len(data.splits.get("test", ())) else "val"
    first = space.recipe.seed + wanted.seeds
    seeds = list(range(first, first + wanted.confirm))
    told(f"trains the best and the recipe as it was with {fresh(len(seeds))}")
    arms = {"best": chosen, "as it was": space.recipe}
    jobs = {
        (arm, s): Job(of.changed("auto", seed=s), data.fingerprint, split) for s in seeds for arm, of in arms.items()
    }
    labels = {job.key: f"{arm}, seed {seed}" for (arm, seed), job in jobs.items()}
    done = run_jobs(list(jobs.values()), store, executor, told, labels=labels)
    one, other = ([done[jobs[arm, seed].key] for seed in seeds] for arm in arms)
    return {"confirmed": compared(one, other, split, seeds), "machine": dict(one[0].machine)}


def compared(best: Sequence[Outcome], baseline: Sequence[Outcome], split: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Both on the same pictures, seed by seed, and how the best does with fresh seeds on what it was chosen by."""
    metric = best[0].headline
    ours, theirs = (np.stack([each.values[metric] for each in of]).astype(np.float64) for of in (best, baseline))
    again = [each.history[-1].get(f"val_{metric}", math.nan) for each in best]
    reached = {"best": two_way(ours, difference=False), "baseline": two_way(theirs, difference=False)}
    reached |= {"difference": two_way(ours - theirs, difference=True), "again": over_seeds(again)}
    return {
        "split": split,
        "n": ours.shape[1],
        "seeds": list(seeds),
        **{name: interval.to_json() for name, interval in reached.items()},
        "by_seed": {"best": ours.mean(1).tolist(), "baseline": theirs.mean(1).tolist()},
    }


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean with Student's t interval over seeds; of one seed there is none. Shares, so within 0 … 1."""
    from scipy import stats

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, math.nan, math.nan, count, "t")
    reach = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach), count, "t")


def write(found: dict[str, Any], output: Path) -> dict[str, Any]:
    """Write `tune.json`, and the page from it."""
    from netwright.report.tune import write as write_page  # brings matplotlib along, which training need not wait for

    output.mkdir(parents=True, exist_ok=True)
    write_atomic(output / FILE, json.dumps(found, indent=2, ensure_ascii=False))
    write_page(output)
    return found


def _described(parameter: Parameter) -> dict[str, Any]:
    bounds = {name: None if math.isnan(value) else value for name, value in _bounds(parameter).items()}
    return asdict(parameter) | bounds | {"text": str(parameter)}


def _bounds(parameter: Parameter) -> dict[str, float]:
    return {"low": parameter.low, "high": parameter.high}
