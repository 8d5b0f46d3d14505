"""Who stops a run early: rungs of successive halving, the median, and workers that tell a search in a database."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netwright.core.errors import NetwrightError
from netwright.lab import pruning as pruning_
from netwright.lab.job import Job
from netwright.lab.pruning import KIND, PRUNED, Pruning, first_look, optuna_, pruner_for, quiet, reporter, storage_for
from netwright.recipes._recipe import Recipe
from netwright.records.outcomes import OutcomeStore

EPOCHS = 12  # rungs at 3 and 6


@pytest.fixture
def url(tmp_path: Path) -> str:
    return OutcomeStore.beside(tmp_path).url


def study(url: str, kind: str) -> Any:
    with quiet():
        made = optuna_().create_study(study_name="s", storage=storage_for(url), direction="maximize")
    made.set_user_attr(KIND, [kind, EPOCHS])
    return made


def ended(found: Any, url: str, curve: float) -> int:
    """The epoch at which a run that has the same value in each epoch ends."""
    with quiet():
        number = found.ask().number
    told = reporter(Pruning(url, "s", number, "val_accuracy", EPOCHS))
    for epoch in range(1, EPOCHS + 1):
        if told({"epoch": epoch, "val_accuracy": curve}):
            return epoch
    with quiet():
        found.tell(number, curve)
    return EPOCHS


class TestHalving:
    def test_half_goes_on_from_each_rung(self, url: str) -> None:
        found = study(url, "asha")
        # Values that fall: each is worse than all before, so that after the first nobody goes on.
        assert [ended(found, url, value) for value in (0.9, 0.8, 0.7)] == [EPOCHS, 3, 3]
        assert ended(found, url, 0.95) == EPOCHS
        # Second of five at the first rung, where two go on; second of three at the next, where one does.
        assert ended(found, url, 0.92) == 6
        # Fourth of six, of which three go on.
        assert ended(found, url, 0.85) == 3

    def test_the_first_look_comes_at_a_quarter(self) -> None:
        assert [first_look(epochs) for epochs in (1, 4, 12, 40)] == [1, 1, 3, 10]


class TestMedian:
    def test_worse_than_the_median_ends_after_the_first_look(self, url: str) -> None:
        found = study(url, "median")
        assert [ended(found, url, value) for value in (0.5, 0.6, 0.7, 0.8)] == [EPOCHS] * 4
        assert ended(found, url, 0.64) < EPOCHS
        assert ended(found, url, 0.71) == EPOCHS


class TestReporter:
    def test_the_last_epoch_is_nobodys_to_stop(self, url: str) -> None:
        found = study(url, "asha")
        ended(found, url, 0.9)
        with quiet():
            number = found.ask().number
        told = reporter(Pruning(url, "s", number, "val_accuracy", last=3))
        assert told({"epoch": 3, "val_accuracy": 0.1}) == ""

    def test_a_run_that_broke_off_may_tell_again(self, url: str) -> None:
        found = study(url, "asha")
        with quiet():
            number = found.ask().number
        how = Pruning(url, "s", number, "val_accuracy", EPOCHS)
        assert reporter(how)({"epoch": 1, "val_accuracy": 0.5}) == ""
        assert reporter(how)({"epoch": 1, "val_accuracy": 0.6}) == ""
        assert found.get_trials()[number].intermediate_values == {1: 0.5}

    def test_what_is_not_a_number_is_passed_over(self, url: str) -> None:
        found = study(url, "asha")
        with quiet():
            number = found.ask().number
        told = reporter(Pruning(url, "s", number, "val_accuracy"))
        assert told({"epoch": 1}) == ""
        assert told({"epoch": 2, "val_accuracy": math.nan}) == ""
        assert found.get_trials()[number].intermediate_values == {}

    def test_says_why(self, url: str) -> None:
        found = study(url, "asha")
        ended(found, url, 0.9)
        with quiet():
            number = found.ask().number
        assert reporter(Pruning(url, "s", number, "val_accuracy"))({"epoch": 3, "val_accuracy": 0.1}) == PRUNED

    def test_a_search_that_is_not_there_is_refused(self, url: str) -> None:
        study(url, "asha")
        for how in (Pruning(url, "s", 7, "val_accuracy"), Pruning(url, "other", 0, "val_accuracy")):
            with pytest.raises(NetwrightError, match="no trial"):
                reporter(how)


def test_a_search_elsewhere_that_is_not_there_is_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning_, "storage_for", lambda url: optuna_().storages.InMemoryStorage())
    with pytest.raises(NetwrightError, match=r"me:\*\*\*@host") as told:
        reporter(Pruning("postgresql://me:secret@host/lab", "search", 3, "val_accuracy"))
    assert "secret" not in str(told.value)


def test_it_travels_with_its_job() -> None:
    job = Job(Recipe(), "f", "val", pruning=Pruning("sqlite:///a b{c}.db", "s", 3, "val_accuracy", 7))
    again = Job.from_json(job.to_json())
    assert (again.pruning, again.key) == (job.pruning, job.key)
    assert job.key == replace(job, pruning=None).key


def test_an_unknown_pruner_is_refused() -> None:
    with pytest.raises(NetwrightError, match="unknown pruner 'ahsa'") as told:
        pruner_for("ahsa", 10)
    assert "asha" in told.value.fix


def test_brackets_in_a_path_are_kept(tmp_path: Path) -> None:
    storage_for(f"sqlite:///{tmp_path / 'a{b}.db'}")
    assert (tmp_path / "a{b}.db").exists()


def test_an_address_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="cannot be kept"):
        storage_for(f"sqlite:///{tmp_path / 'none' / 'runs.db'}")


def test_without_optuna_the_fix_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pruning_.optuna_.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(NetwrightError, match="optuna") as told:
        optuna_()
    assert "netwright[tune]" in told.value.fix
    monkeypatch.undo()
    pruning_.optuna_.cache_clear()
