"""Who may stop a run early: a search that compares it with others while it trains.

Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020 (ASHA): at epochs r, 2 r, 4 r, … a run goes
on if it is in the better half of those that came so far. Golovin et al., Google Vizier, KDD 2017 (median): a run goes
on if its best epoch so far is no worse than the median of the others at this one.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from netwright.core.errors import NetwrightError, unknown
from netwright.records.store import masked

if TYPE_CHECKING:
    from collections.abc import Generator

    from optuna.pruners import BasePruner
    from optuna.storages import RDBStorage

Pruner = Literal["asha", "median", "none"]
PRUNED = "the search stopped it: others were better by this epoch"
REDUCTION = 2  # one in so many goes on from each rung
STARTUP = 4  # trials that are trained to their end, before others are compared with them
FIRST = 4  # comparisons begin at a quarter of the epochs: most warm-ups are over then, and averages have followed
PATIENCE = 60  # seconds a writer waits for the others
BRACKETS = str.maketrans({"{": "{{", "}": "}}"})  # the storage fills in what it finds between them
KIND = "pruner"  # what a study remembers of how it stops runs: a pruner is not kept by the storage


@dataclass(frozen=True)
class Pruning:
    """One trial of a search, as its worker finds it again.

    Attributes:
        storage: address of the search's storage.
        study: its name there.
        trial: the trial's number in it.
        metric: what is told after each epoch, as "val_accuracy".
        last: the epoch at which the run ends by itself, so that nobody need stop it there; 0 where it is not known.
    """

    storage: str
    study: str
    trial: int
    metric: str
    last: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


def reporter(pruning: Pruning) -> Callable[[Mapping[str, Any]], str]:
    """What a worker calls with the row of each epoch: it tells the search, and gives why to stop, or "".

    An epoch without the metric, or one that was told already by a run that broke off, is passed over.

    Raises:
        NetwrightError: optuna is missing, or the search cannot be found.
    """
    trial = _trial(pruning)

    def told(row: Mapping[str, Any]) -> str:
        epoch, value = int(row["epoch"]), row.get(pruning.metric)
        if value is None or not math.isfinite(value):
            return ""
        with quiet():
            trial.report(float(value), epoch)
            if epoch == pruning.last or not trial.should_prune():
                return ""
        return PRUNED

    return told


def pruner_for(kind: str, epochs: int) -> "BasePruner":
    """Optuna's pruner for runs of so many epochs.

    Raises:
        NetwrightError: an unknown kind, or optuna is missing.
    """
    pruners = optuna_().pruners
    if kind not in get_args(Pruner):
        raise unknown("pruner", kind, get_args(Pruner))
    if kind == "none":
        return pruners.NopPruner()
    first = first_look(epochs)
    if kind == "median":
        return pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=first)
    return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=REDUCTION)


def first_look(epochs: int) -> int:
    """The epoch at which runs are first compared."""
    return max(1, epochs // FIRST)


@cache
def storage_for(url: str) -> "RDBStorage":
    """Optuna's tables in the database of the run store, SQLite or PostgreSQL; opened once by a process.

    Raises:
        NetwrightError: optuna is missing, or the database cannot be used.
    """
    from sqlalchemy import event
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    # Without a pool no connection outlives its transaction, so a fork can never inherit one.
    options: dict[str, Any] = {"poolclass": NullPool}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": PATIENCE}
    try:
        with quiet():
            storage = optuna_().storages.RDBStorage(url.translate(BRACKETS), engine_kwargs=options)
    except (SQLAlchemyError, ModuleNotFoundError, RuntimeError) as error:
        fix = "check the address: --store sqlite:///runs.db, or postgresql+psycopg://user:password@host/database"
        raise NetwrightError(f"the search cannot be kept in the run store: {masked(str(error))}", fix) from error
    if url.startswith("sqlite"):
        event.listen(storage.engine, "connect", _on_connect)
    return storage


def _on_connect(connection: Any, _: Any) -> None:
    # Epochs are told often. Written this way they outlive a process that is killed, and wait for no disk.
    connection.execute("PRAGMA synchronous = NORMAL")


@cache
def optuna_() -> Any:
    """The library, told to keep its log to itself.

    Raises:
        NetwrightError: it is missing.
    """
    try:
        with quiet():
            import optuna
    except ModuleNotFoundError as error:
        raise NetwrightError(f"tuning needs {error.name}", "pip install 'netwright[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def quiet() -> "Generator[None]":
    """Without optuna's warnings that some of its parts are new, or that an epoch was told before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", message=".*(is experimental|is already reported|distribution is specified).*")
        yield


def _trial(pruning: Pruning) -> Any:
    """The trial, as one of a study that samples nothing itself."""
    optuna, storage = optuna_(), storage_for(pruning.storage)
    try:
        with quiet():
            sampler = optuna.samplers.RandomSampler(seed=0)
            study = optuna.load_study(study_name=pruning.study, storage=storage, sampler=sampler)
            study.pruner = pruner_for(*study.user_attrs[KIND])
            number = storage.get_trial_id_from_study_id_trial_number(
                storage.get_study_id_from_name(pruning.study), pruning.trial
            )
            return optuna.trial.Trial(study, number)
    except KeyError as error:
        problem = f"there is no trial {pruning.trial} of the search {pruning.study} in {masked(pruning.storage)}"
        raise NetwrightError(problem, "start the search again with the same command") from error
