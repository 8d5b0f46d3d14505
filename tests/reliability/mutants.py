"""A memory with one thing missing: what a resumed run would be if it forgot that, made in the process that resumes.

Each changes nothing in a run that is never interrupted, but for `rng`, which breaks a rule that makes a state of the
generator unnecessary: so each is compared with an uninterrupted run that has the same mistake.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from netwright.data.loader import Loader
from netwright.engine import loop
from netwright.engine.memory import copied
from netwright.engine.plans import Raw
from netwright.engine.run import Run
from netwright.records.folder import RunFolder
from tests.reliability.deaths import changed

Memory = dict[str, Any]


def recalls(other: Callable[[Memory, Memory], Memory]) -> Callable[[], None]:
    """A run recalls `other(saved, own)` instead of what was saved; `own` is the memory of a run that begins."""

    def mutate() -> None:
        def around(recall: Callable[[Run, Memory], None]) -> Callable[[Run, Memory], None]:
            return lambda run, saved: recall(run, saved | other(saved, copied(run.memory())))

        changed(Run, "recall", around)

    return mutate


def forgets_a_trick(name: str) -> Callable[[], None]:
    """The state of one trick is as it was when the run began."""
    return recalls(lambda saved, own: {"tricks": saved["tricks"] | {name: own["tricks"][name]}})


def forgets_statistics(saved: Memory, own: Memory) -> Memory:
    """Batch normalisation begins anew."""
    return {"model": {name: (own if "running" in name else saved)["model"][name] for name in saved["model"]}}


def draws_on() -> None:
    """Layers draw from a generator that goes on from step to step, and that no checkpoint holds."""
    changed(loop, "seed_network", lambda _: lambda seed, device: None)


def restarts_the_schedule() -> None:
    """The schedule counts the updates of this process."""

    def resumed(recall: Callable[[Run, Memory], None]) -> Callable[[Run, Memory], None]:
        def met(run: Run, saved: Memory) -> None:
            recall(run, saved)
            first["step"] = run.step

        return met

    first = {"step": 0}
    changed(Run, "recall", resumed)
    changed(Run, "time", lambda _: property(lambda run: (run.step - first["step"] + 0.5) / run.steps))


def loses_its_place() -> None:
    """An epoch that was interrupted is read from its beginning."""

    def around(epoch: Callable[..., Iterator[Raw]]) -> Callable[..., Iterator[Raw]]:
        return lambda loader, number, start=0: islice(epoch(loader, number, 0), loader.steps - start)

    changed(Loader, "epoch", around)


def counts_epochs_anew() -> None:
    """The order of an epoch is drawn for its number in this process."""

    def around(epoch: Callable[..., Iterator[Raw]]) -> Callable[..., Iterator[Raw]]:
        def met(loader: Loader, number: int, start: int = 0) -> Iterator[Raw]:
            first.append(number)
            return epoch(loader, number - first[0], start)

        first: list[int] = []
        return met

    changed(Loader, "epoch", around)


def keeps_rows() -> None:
    """Rows of metrics past the checkpoint stay, and are written again."""
    changed(RunFolder, "write_metrics", lambda _: lambda *_: None)


@dataclass(frozen=True)
class Mutant:
    """A mistake, and the part of what a run comes to that must show it."""

    make: Callable[[], None]
    part: str


MUTANTS = {
    "rng": Mutant(draws_on, "model"),
    "optimizer": Mutant(recalls(lambda _, own: {"optimizer": own["optimizer"]}), "optimizer"),
    "schedule": Mutant(restarts_the_schedule, "model"),
    "ema": Mutant(forgets_a_trick("ema"), "tricks"),
    "cursor": Mutant(loses_its_place, "model"),
    "epoch seed": Mutant(counts_epochs_anew, "model"),
    "statistics": Mutant(recalls(forgets_statistics), "bundle"),
    "sums": Mutant(recalls(lambda _, own: {"sums": own["sums"]}), "history"),
    "history": Mutant(recalls(lambda *_: {"history": []}), "history"),
    "rows": Mutant(keeps_rows, "metrics"),
}
