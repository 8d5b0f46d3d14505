"""A search on runs whose values are known by a formula, and one on real runs: what stays, is found, and is kept."""

import json
import math
import os
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.lab import executors, tune_search
from netwright.lab import tune as tune_
from netwright.lab.executors._executor import new_owner
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import PRUNED, STARTUP, reporter
from netwright.lab.tune import compared, over_seeds, rows_of, tune, write
from netwright.lab.tune_search import Wanted, opened_study
from netwright.lab.tune_space import Space, space_of
from netwright.lab.tune_words import confirmed_lines
from netwright.recipes._recipe import Recipe, recipe
from netwright.records.outcomes import OutcomeStore
from tests.forked import exit_code, forked
from tests.lab.one_cache import own_cache

__all__ = ["own_cache"]  # a fixture

BEST = 0.02  # the learning rate at which the formula has its maximum, half a decade from the recipe's
PICTURES = 1000


def quality(of: Recipe) -> float:
    """95 % at the best rate, 10 points less half a decade away."""
    text = of.optimizer
    rate = float(text.split("lr=")[1].split(",")[0].rstrip(")")) if "lr=" in text else 0.1
    return max(0.05, 0.95 - 0.4 * math.log10(rate / BEST) ** 2)


def outcome(job: Job, stopped: str, epochs: int) -> Outcome:
    """As many pictures right as the formula says, moved a little by the seed."""
    share = min(1.0, quality(job.recipe) + 0.002 * (job.recipe.seed % 3))
    right = (np.arange(PICTURES) < round(share * PICTURES)).astype(np.float32)
    rows = [{"epoch": epoch, "val_accuracy": curve(job.recipe, epoch)} for epoch in range(1, epochs + 1)]
    return Outcome(
        {"accuracy": right}, np.zeros(PICTURES, np.int64), None, rows, 0.5, 1.0, epochs, epochs, 0, {}, stopped
    )


def curve(of: Recipe, epoch: int) -> float:
    return quality(of) * (1 - 0.5**epoch)


class Formula:
    """Computes jobs by the formula, and writes down which."""

    slots = 1

    def __init__(self, log: Path, killed_at: int = 0, refuses: Any = lambda job: False) -> None:
        self.owner = new_owner()
        self.log = log
        self.killed_at = killed_at
        self.refuses = refuses

    def submit(self, job: Job) -> Future[Outcome]:
        done: Future[Outcome] = Future()
        with self.log.open("a") as file:
            file.write(f"{job.key} {job.split} {job.recipe.seed}\n")
        if self.killed_at and len(self.log.read_text().splitlines()) == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.refuses(job):
            done.set_exception(NetwrightError("the loss is nan", "lower the learning rate"))
            return done
        stopped, epochs, tell = "", job.recipe.epochs, reporter(job.pruning) if job.pruning else None
        for epoch in range(1, epochs + 1) if tell else ():
            stopped = tell({"epoch": epoch, "val_accuracy": curve(job.recipe, epoch)})
            if stopped:
                epochs = epoch
                break
        done.set_result(outcome(job, stopped, epochs))
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch, log: Path) -> Any:
    monkeypatch.setattr(tune_, "write", lambda found, output: found)  # drawing a page takes longer than a search here

    def use(**how: Any) -> Formula:
        made = Formula(log, **how)
        monkeypatch.setattr(tune_, "executor_for", lambda *_, **__: made)
        return made

    use()
    return use


# Of everything but the learning rate the user says what it is.
ONLY_RATE = {"optimizer": "sgd(weight_decay=5e-4)", "schedule": "constant(warmup=0.0)", "tricks": (), "epochs": 4}


def given(**values: Any) -> Recipe:
    return recipe("digits", threads=1, device="cpu", precision="fp32", **{**ONLY_RATE, **values})


def computed(log: Path, split: str = "val") -> list[str]:
    lines = [line.split() for line in log.read_text().splitlines()]
    return [key for key, of, _ in lines if of == split]


@pytest.mark.usefixtures("formula")
class TestFinds:
    def test_the_maximum_of_a_known_function(self, tmp_path: Path) -> None:
        wanted = Wanted(trials=18, confirm=2, pruner="none")
        found = tune(given(), wanted=wanted, output=tmp_path / "tune")
        # Within a tenth of a decade: 0.4 points. Uniform draws over two decades miss that 18 times with 0.9^18 = 15 %,
        # and half of them lie within 0.3 decades with a few per cent: it is the search that comes near.
        away = [abs(math.log10(row["values"]["lr"] / BEST)) for row in found["trials"]]
        assert min(away) < 0.1
        assert np.median(away[-8:]) < 0.3
        assert abs(math.log10(found["best"]["lr"] / BEST)) == min(away)
        assert found["value"] >= 0.95 - 0.4 * 0.1**2 - 1 / PICTURES
        assert found["best"].keys() == {"lr"}
        assert len(found["trials"]) == 18 and found["counts"]["complete"] == 18
        assert found["trials"][0]["values"] == {"lr": 0.1}  # it begins with the recipe as it was
        assert found["baseline"]["number"] == 0
        assert f"lr={found['best']['lr']}" in found["command"]
        held = found["confirmed"]
        assert held["split"] == "test" and held["seeds"] == [1, 2]
        assert held["difference"]["value"] == pytest.approx(held["best"]["value"] - held["baseline"]["value"])
        assert found["importance"]["shares"] == {"lr": pytest.approx(1.0)}
        write(found, tmp_path / "tune")
        assert json.loads(json.dumps(found)) == json.loads((tmp_path / "tune" / "tune.json").read_text())
        page = (tmp_path / "tune" / "tune.html").read_text()
        assert "netwright train" in page and "fresh seeds" in page

    def test_the_test_split_is_looked_at_once(self, tmp_path: Path, log: Path) -> None:
        tune(given(), wanted=Wanted(trials=4, confirm=2, pruner="none"), output=tmp_path / "tune")
        assert len(computed(log)) == 4
        assert len(computed(log, "test")) == 4  # two recipes, two seeds


@pytest.mark.usefixtures("formula")
class TestPrunes:
    def test_hopeless_trials_are_stopped_and_not_kept(self, tmp_path: Path, log: Path) -> None:
        found = tune(given(), wanted=Wanted(trials=10, confirm=1), output=tmp_path / "tune")
        assert [row["state"] for row in found["trials"][:STARTUP]] == ["complete"] * STARTUP
        pruned = [row for row in found["trials"] if row["state"] == "pruned"]
        assert len(pruned) >= 2
        best = found["value"]
        for row in pruned:
            assert row["epochs"] < 4 and row["value"] is None
            assert 0.95 - 0.4 * math.log10(row["values"]["lr"] / BEST) ** 2 <= best
        store = OutcomeStore.beside(tmp_path / "tune")
        assert len(store.finished(computed(log))) == found["counts"]["complete"]
        assert all(row["stopped"] == "" for row in (held.summary for held in store.list(99)) if row)
        assert all(Outcome.from_bytes(each).stopped != PRUNED for each in store.contents(computed(log)).values())


class TestGoesOn:
    def test_a_killed_search_loses_and_repeats_nothing(self, tmp_path: Path, log: Path, formula: Any) -> None:
        wanted = Wanted(trials=6, confirm=0, pruner="none")

        def work() -> None:
            formula(killed_at=4)
            tune(given(), wanted=wanted, output=tmp_path / "tune")

        assert exit_code(forked(work)) == -signal.SIGKILL
        before = computed(log)
        assert len(before) == 4
        formula()
        found = tune(given(), wanted=wanted, output=tmp_path / "tune")
        keys = computed(log)
        assert keys[4] == keys[3]  # what was under way begins again
        assert len(set(keys)) == 6 and len(keys) == 7  # and nothing else does
        assert len(found["trials"]) == 6
        assert {row["state"] for row in found["trials"]} == {"complete"}

    def test_killed_before_a_trial_says_what_it_is_none_is_lacking(
        self, tmp_path: Path, formula: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = Wanted(trials=5, confirm=0, pruner="none")

        def work() -> None:
            formula()
            drawn, count = Space.drawn, iter(range(9))

            def dying(self: Space, trial: Any) -> Any:
                if next(count) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return drawn(self, trial)

            monkeypatch.setattr(Space, "drawn", dying)
            tune(given(), wanted=wanted, output=tmp_path / "tune")

        assert exit_code(forked(work)) == -signal.SIGKILL
        formula()
        told: list[str] = []
        found = tune(given(), wanted=wanted, output=tmp_path / "tune", told=told.append)
        assert len(found["trials"]) == 5
        heads = [line.partition(":")[0] for line in told if line.startswith("trial ")]
        assert heads == ["trial 3 of 5", "trial 4 of 5", "trial 5 of 5"]

    def test_a_trial_of_nobody_is_waited_for_and_then_taken_up(
        self, tmp_path: Path, formula: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tune_search, "LEASE", 2.0)
        monkeypatch.setattr(tune_search, "POLL", 0.05)
        formula()
        tune(given(), wanted=Wanted(trials=2, confirm=0, pruner="none"), output=tmp_path / "tune")
        space = space_of(tune_.settled(given(), tune_.data_of(given()), None))
        name = tune_.study_name(space, tune_.data_of(given()), Wanted())
        opened_study(space, name, OutcomeStore.beside(tmp_path / "tune").url, Wanted()).ask()  # and then silence
        found = tune(given(), wanted=Wanted(trials=4, confirm=0, pruner="none"), output=tmp_path / "tune")
        assert len(found["trials"]) == 4

    def test_more_trials_go_on_from_fewer(self, tmp_path: Path, log: Path, formula: Any) -> None:
        formula()
        few = tune(given(), wanted=Wanted(trials=3, confirm=0, pruner="none"), output=tmp_path / "tune")
        more = tune(given(), wanted=Wanted(trials=5, confirm=0, pruner="none"), output=tmp_path / "tune")
        assert more["trials"][:3] == few["trials"]
        assert len(computed(log)) == len(set(computed(log))) == 5

    def test_what_the_store_has_is_not_trained(self, tmp_path: Path, log: Path, formula: Any) -> None:
        formula()
        ranges, wanted = ["batch_size=32|64"], Wanted(trials=8, confirm=0)
        found = tune(given(lr=0.05), ranges, wanted=wanted, output=tmp_path / "tune")
        assert len(found["trials"]) == 8
        assert len(set(computed(log))) == len(computed(log)) == 2  # there are two values, stopped early or not

    def test_another_space_is_another_search(self, tmp_path: Path, formula: Any) -> None:
        formula()
        wanted = Wanted(trials=1, confirm=0)
        one = tune(given(), wanted=wanted, output=tmp_path / "tune")
        other = tune(given(), ["lr=1e-3..1"], wanted=wanted, output=tmp_path / "tune")
        assert one["study"] != other["study"]


class TestFails:
    def test_values_that_cannot_be_trained_are_the_worst(self, tmp_path: Path, formula: Any) -> None:
        formula(refuses=lambda job: quality(job.recipe) < 0.6)
        told: list[str] = []
        found = tune(
            given(), ["lr=1e-4..10"], wanted=Wanted(trials=8, confirm=0), output=tmp_path / "tune", told=told.append
        )
        failed = [row for row in found["trials"] if row["state"] == "failed"]
        assert failed and all(row["problem"] == "the loss is nan" for row in failed)
        assert any("cannot be trained (the loss is nan)" in line for line in told)

    def test_a_recipe_that_cannot_be_trained_is_told(self, tmp_path: Path, formula: Any) -> None:
        formula(refuses=lambda job: True)
        with pytest.raises(NetwrightError, match="the loss is nan"):
            tune(given(), wanted=Wanted(trials=8), output=tmp_path / "tune")


@pytest.mark.usefixtures("formula")
class TestSeeds:
    def test_a_trial_is_the_mean_over_its_seeds(self, tmp_path: Path, log: Path) -> None:
        found = tune(given(), wanted=Wanted(trials=2, seeds=3, confirm=1, pruner="none"), output=tmp_path / "tune")
        assert len(computed(log)) == 6
        first = found["trials"][0]
        right = [round(PICTURES * (quality(given(lr=0.1)) + 0.002 * seed)) / PICTURES for seed in range(3)]
        assert first["value"] == pytest.approx(np.mean(right))
        assert found["confirmed"] is None or found["confirmed"]["seeds"] == [3]


class TestSpace:
    def test_what_is_given_stays_and_is_said(self) -> None:
        space = space_of(recipe("digits", lr=0.01).with_("mixup(alpha=0.4)"))
        assert {"lr": 0.01, "mixup.alpha": 0.4}.items() <= space.fixed.items()
        assert not {"lr", "mixup.alpha"} & {each.name for each in space.parameters}

    def test_ranges_override_and_add(self) -> None:
        ranges = ["lr=1e-4..1e-1", "batch_size=32|64|128", "optimizer=sgd|adamw", "rotate.degrees=1..90"]
        found = {each.name: each for each in space_of(recipe("digits"), ranges).parameters}
        assert (found["lr"].low, found["lr"].high, found["lr"].log, found["lr"].source) == (1e-4, 0.1, True, "user")
        assert found["batch_size"].choices == (32, 64, 128)
        assert found["optimizer"].choices == ("sgd(lr=0.05)", "adamw")  # a bare name is the recipe's own
        assert found["rotate.degrees"].high == 90
        assert found["adamw.weight_decay"].when == ("optimizer", "adamw")

    def test_searches_of_the_same_are_one(self) -> None:
        assert space_of(recipe("digits")).key == space_of(recipe("digits")).key
        assert space_of(recipe("digits")).key != space_of(recipe("digits"), tricks=True).key
        assert space_of(recipe("digits")).key != space_of(recipe("digits", seed=1)).key

    @pytest.mark.parametrize(
        ("text", "problem", "fix"),
        [
            ("lr", "cannot read --range lr", "low..high"),
            ("lr=0.1..0.01", "begins above its end", "lr=0.01..0.1"),
            ("lr=0.1..0.1", "leaves nothing to choose", "as a value"),
            ("lr=-1..1", "lr cannot be -1", "at least 0"),
            ("lr=a..b", "is no range of numbers", "low..high"),
            ("rotate.degrees=10..300", "rotate.degrees cannot be 300", "between 0 and 180"),
            ("rotate.degres=1..2", "unknown option of rotate 'degres'", "degrees"),
            ("rotat.degrees=1..2", "unknown parameter 'rotat.degrees'", "did you mean 'rotate.degrees'"),
            ("mixup.alpha=0.1..1", "has no trick mixup", "--with mixup"),
            ("batch_size=0|64", "batch_size cannot be 0", "greater"),
            ("batch_size=64", "leaves nothing to choose", "two or more"),
            ("optimizer=sgd|adamx", "unknown optimizer 'adamx'", "adam"),
            ("model=lenet5|resnet21", "unknown model 'resnet21'", "resnet"),
            ("seed=1|2", "seed cannot be searched", "batch_size"),
            ("normalise=(1,2)|unit", "cannot be searched", "numbers"),
        ],
    )
    def test_mistakes_are_told(self, text: str, problem: str, fix: str) -> None:
        with pytest.raises(NetwrightError) as told:
            space_of(recipe("digits"), [text])
        assert problem in told.value.problem
        assert fix in told.value.fix

    def test_given_and_searched_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match=r"lr is given as 0\.01, and as a range too"):
            space_of(recipe("digits", lr=0.01), ["lr=1e-3..1"])
        with pytest.raises(NetwrightError, match="twice"):
            space_of(recipe("digits"), ["lr=1e-3..1", "optimizer.lr=1e-2..1"])

    def test_nothing_to_search_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="nothing to search"):
            space_of(given(lr=0.1))


class TestMistakes:
    @pytest.mark.parametrize(
        ("how", "problem"),
        [
            ({"trials": 0}, "trials cannot be 0"),
            ({"seeds": 0}, "seeds cannot be 0"),
            ({"confirm": -1}, "confirm cannot be -1"),
            ({"budget": 0.0}, "budget"),
            ({"pruner": "hyperbnd"}, "unknown pruner"),
        ],
    )
    def test_numbers_that_mean_nothing(self, how: dict[str, Any], problem: str, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match=problem):
            tune(recipe("digits"), wanted=Wanted(**how), output=tmp_path / "tune")

    @pytest.mark.parametrize(
        ("how", "problem"),
        [
            ({"store": "mysql://host/lab"}, "address of the run store"),
            ({"on": "ray://host"}, "no address of a cluster"),
        ],
    )
    def test_places_that_cannot_be_are_refused_before_data_are_opened(
        self, how: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(executors, "find_spec", lambda name: name)
        monkeypatch.setattr(tune_, "data_of", lambda recipe: pytest.fail("the data were opened"))
        with pytest.raises(NetwrightError, match=problem):
            tune(recipe("digits"), output=tmp_path / "tune", **how)

    def test_what_would_be_found_by_trying(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="found by trying"):
            tune(recipe("digits", lr="find"), output=tmp_path / "tune")

    @pytest.mark.usefixtures("formula")
    def test_a_budget_that_is_spent_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="no trial was trained to its end"):
            tune(given(), wanted=Wanted(budget=1e-9), output=tmp_path / "tune")


class TestConfirmation:
    def test_by_hand(self) -> None:
        jobs = [Job(given(lr=rate, seed=seed), "f", "test") for rate in (0.02, 0.1) for seed in (3, 4)]
        runs = [outcome(job, "", 4) for job in jobs]
        found = compared(runs[:2], runs[2:], "test", [3, 4])
        assert found["best"]["value"] == pytest.approx(0.951)
        right = round(PICTURES * quality(jobs[2].recipe)) / PICTURES
        assert found["baseline"]["value"] == pytest.approx(right + 0.001)
        assert found["difference"]["low"] > 0
        assert found["again"]["value"] == pytest.approx(0.95 * (1 - 0.5**4))

    def test_interval_over_seeds_is_students(self) -> None:
        from scipy import stats

        values = [0.91, 0.93, 0.92, 0.95]
        low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
        found = over_seeds(values)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
        assert math.isnan(over_seeds([0.9]).low)

    def test_words(self) -> None:
        held = {"split": "test", "n": 1000, "seeds": [1, 2], "by_seed": {}}
        held |= {name: {"value": 0.9, "low": 0.88, "high": 0.92} for name in ("best", "baseline", "again")}
        found = {"confirmed": held, "value": 0.95, "trials": [{}] * 20}
        for low, high, words in (
            (0.01, 0.03, "better by"),
            (-0.03, -0.01, "worse by"),
            (-0.01, 0.03, "not told apart"),
        ):
            held["difference"] = {"value": (low + high) / 2, "low": low, "high": high}
            assert words in "\n".join(confirmed_lines(found))
        assert "the best of 20 trials had 95.0 %; with fresh seeds it has 90.0 % [88.0, 92.0], 5.0 points less" in (
            "\n".join(confirmed_lines(found))
        )
        held["split"] = "val"
        assert "no test split" in "\n".join(confirmed_lines(found))


def test_four_real_trials(tmp_path: Path) -> None:
    real = recipe("digits", epochs=1, threads=1, device="cpu", precision="fp32")
    told: list[str] = []
    found = tune(real, tricks=True, wanted=Wanted(trials=4, confirm=1), output=tmp_path / "tune", told=told.append)
    assert len(found["trials"]) == 4
    assert found["fixed"]["epochs"] == 1
    assert any("a trial takes about" in line for line in told)
    assert found["value"] == pytest.approx(max(row["value"] or 0 for row in found["trials"]))
    space = space_of(tune_.settled(real, tune_.data_of(real), None), tricks=True)
    store = OutcomeStore.beside(tmp_path / "tune")
    again = opened_study(space, found["study"], store.url, Wanted(trials=4))
    assert rows_of(again) == found["trials"]
