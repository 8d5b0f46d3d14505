"""Which trick helps here: every arm of a plan with the same seeds, on the same pictures, and what can be said of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from netwright.core.errors import listed
from netwright.engine.device import available_threads
from netwright.lab.executors import Executor, executor_for
from netwright.lab.executors import check as check_place
from netwright.lab.foreseen import Prepared, foreseen, longer, seeds_for, spending_of
from netwright.lab.plan import Plan
from netwright.lab.rounds import Rounds
from netwright.lab.settle import (
    Known,
    computed_alike,
    costs_of,
    equalised,
    known,
    opened,
    plan_key,
    processes_for,
    refuse_other_pictures,
    settled,
    threads_for,
    with_threads,
)
from netwright.lab.studies._output import refuse_unwritable
from netwright.lab.trial import split_of
from netwright.lab.wanted import Wanted, Where, check
from netwright.records.atomic import write_atomic
from netwright.records.outcomes import OutcomeStore
from netwright.records.plain import plain
from netwright.records.store import masked

__all__ = ["Wanted", "Where", "ablate", "carry_out", "foreseen", "prepare"]

Told = Callable[[str], None]
FILE, KNOWN, CHECKPOINTS = "ablation.json", "known.json", "checkpoints"


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
    refuse_place(where)
    refuse_unwritable(output)
    data = opened(plan)
    plan = settled(plan, data)
    split = split_of(data[plan.baseline.name], wanted.split)
    refuse_other_pictures(plan, data, split)
    key = plan_key(plan, data)
    before = known(output / KNOWN, key)
    if before is None:
        told("measures what a run takes")
        before = Known(costs_of(plan, data, split, threads_for(plan, where.processes or available_threads())))
    plan, costs = equalised(plan, before.costs, wanted.equal)
    if where.remote:
        processes, plan = where.processes or 1, with_threads(plan)
    else:
        processes = where.processes or processes_for(costs, plan.baseline.recipe)
        before = replace(before, threads=before.threads or threads_for(plan, processes))
        plan = computed_alike(plan, costs, before.threads or 1)
    before.keep(output / KNOWN, key)
    found = Prepared(plan, data, costs, split, processes, wanted)
    count, notes = seeds_for(found)
    if split != wanted.split:
        notes.append(f"the data has no {wanted.split} split: runs are measured on {split}, which recipes may look at")
    if lengths := longer(found):
        notes.append(f"epochs: {listed(lengths)}")
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
    store.told = told
    with _executor(prepared, where, store, output) as executor:
        rounds = Rounds(prepared, store, executor, told, masked(command))
        until = prepared.wanted.until_resolved
        found = rounds.until_resolved(spending_of(prepared.plan, prepared.wanted)) if until else rounds.all()
    result = plain(found | {"wall_seconds": perf_counter() - begun})
    write_atomic(output / FILE, json.dumps(result, indent=2, ensure_ascii=False))
    write(output)
    return result


def refuse_place(where: Where) -> None:
    """Refuse at once a store or a place to compute that is none, before data are read.

    Raises:
        NetwrightError: there is no such.
    """
    check_place(where.on, where.gpus)
    if where.store:
        OutcomeStore(where.store)


def _executor(prepared: Prepared, where: Where, store: OutcomeStore, output: Path) -> Executor:
    return executor_for(
        where.on,
        processes=where.processes if where.remote else prepared.processes,
        threads=prepared.plan.baseline.recipe.threads,
        gpus=where.gpus,
        store=store.url,
        checkpoints=output / CHECKPOINTS,
    )
