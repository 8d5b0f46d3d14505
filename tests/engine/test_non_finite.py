"""Batches that are not a number: what ends the run, what is passed over, what goes back, and nothing that is hidden."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from netwright.core.errors import Interrupted
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher
from netwright.engine.memory import copied, differences
from netwright.engine.non_finite import MOST_ROLLBACKS, MOST_SKIPPED
from netwright.engine.run import NonFiniteError, Run
from netwright.optim.schedules.plateau import Plateau
from netwright.recipes._finish import _best_epoch
from tests.support import Pictures, StopAfter, digest, saver, tiny_run, train_tiny, train_until

Chosen = Callable[[Run], bool]
NAN, INF = float("nan"), float("inf")


def poisoned(run: Run, at: Chosen, value: float = NAN) -> Run:
    """A run whose loss is multiplied by something that is no number, whenever `at` says so."""
    loss = run.loss
    run.loss = lambda output, batch, run: loss(output, batch, run) * (value if at(run) else 1.0)
    return run


def steps(*chosen: int) -> Chosen:
    return lambda run: run.step in chosen


class Kept(Watcher):
    """Everything a run knows after each step, and the errors it was told of."""

    def __init__(self) -> None:
        self.memories: list[dict[str, Any]] = []
        self.errors: list[NonFiniteError] = []
        self.rates: list[float] = []

    def started(self, run: Run) -> None:
        self.begun = copied(run.memory())

    def stepped(self, run: Run) -> None:
        self.memories.append(copied(run.memory()))

    def non_finite(self, run: Run, error: NonFiniteError) -> None:
        self.errors.append(error)
        self.rates.append(run.rate)


def parts_of(memory: dict[str, Any]) -> dict[str, Any]:
    return {name: memory[name] for name in ("model", "optimizer", "tricks")}


@pytest.mark.fault(35, "a loss that is NaN or infinite ends the run before the update: no weight has changed")
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_the_run_ends_and_names_the_batch(value: float) -> None:
    run, kept = poisoned(tiny_run("ema"), steps(5), value), Kept()
    with pytest.raises(NonFiniteError, match=r"at epoch 2, step 6 \(learning rate 0\.0") as caught:
        train_tiny(run, watcher=kept)
    error = caught.value
    assert kept.errors == [error]
    assert (error.numbers["epoch"], error.numbers["step"], error.answer) == (2, 6, "")
    assert len(error.ids) == run.loader.batch_size
    assert set(error.ids) <= set(Pictures(64).ids.tolist())
    before = kept.memories[-1]
    weights = dict(run.model.named_parameters())
    assert all(torch.equal(weights[name], before["model"][name]) for name in weights)
    assert not [*differences(before["optimizer"], run.memory()["optimizer"])]
    assert not [*differences(before["tricks"], run.memory()["tricks"])]


@pytest.mark.fault(36, "an infinite gradient of a finite loss is seen too, before the update")
@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_a_gradient_that_is_infinite_while_the_loss_is_not(policy: str) -> None:
    class Burst(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * INF

    run, kept = tiny_run(), Kept()
    run.non_finite = policy
    loss = run.loss
    run.loss = lambda output, batch, run: (Burst.apply if run.step == 2 else torch.clone)(loss(output, batch, run))
    if policy == "raise":
        with pytest.raises(NonFiniteError, match=r"gradient's norm is (inf|nan) at epoch 1, step 3"):
            train_tiny(run, watcher=kept)
    else:
        train_tiny(run, watcher=kept)
        assert run.skipped == 1
        assert not [*differences(parts_of(kept.memories[1]), parts_of(kept.memories[2]))]
    assert math.isfinite(kept.errors[0].numbers["loss"])
    assert all(p.isfinite().all() for p in run.model.parameters())


@pytest.mark.fault(35, "with non_finite=skip the batch is passed over, counted, and leaves no trace in anything learnt")
def test_a_picture_of_nan_poisons_nothing() -> None:
    source = Pictures(64, floats=True)
    source.images[9] = NAN  # batch normalisation sees it before the loss does
    run, kept = tiny_run("ema", train_source=source, floats=True), Kept()
    run.non_finite = "skip"
    train_tiny(run, watcher=kept)
    assert [row["skipped"] for row in run.history] == [1, 1]
    assert (run.skipped, run.step, len(kept.memories)) == (2, 8, 8)
    assert all(int(source.ids[9]) in error.ids for error in kept.errors)
    for error in kept.errors:
        before, after = [kept.begun, *kept.memories][error.numbers["step"] - 1 :][:2]
        assert not [*differences(parts_of(before), parts_of(after))], "buffers and averages are as they were"
    assert all(value.isfinite().all() for value in run.model.state_dict().values())
    assert all(math.isfinite(row["train_loss"]) for row in run.history), "the mean is over the batches that counted"


@pytest.mark.fault(15, "a skipped step counts as a step: the schedule and the order of samples go on")
def test_a_skipped_step_advances_the_schedule() -> None:
    def rates(run: Run) -> list[float]:
        seen: list[float] = []
        watcher = Watcher()
        watcher.stepped = lambda run: seen.append(run.rate)
        train_tiny(run, watcher=watcher)
        return seen

    skipping = poisoned(tiny_run(), steps(2, 3))
    skipping.non_finite = "skip"
    assert rates(skipping) == rates(tiny_run())
    assert skipping.skipped == 2


@pytest.mark.fault(35, "after ten batches in a row that are not a number the run ends, whatever its policy")
def test_ten_in_a_row_are_too_many() -> None:
    run = poisoned(tiny_run(epochs=4), steps(*range(1, MOST_SKIPPED), *range(MOST_SKIPPED + 1, 16)))
    run.non_finite = "skip"
    train_tiny(run)
    assert run.skipped == 14, "nine in a row, one that is well, and five"
    again = poisoned(tiny_run(epochs=4), lambda run: run.step >= 3)
    again.non_finite = "skip"
    with pytest.raises(NonFiniteError, match="the 10th batch in a row"):
        train_tiny(again)
    assert (again.step, again.skipped) == (3 + MOST_SKIPPED - 1, MOST_SKIPPED - 1)


def test_batches_in_a_row_are_counted_across_a_stop(tmp_path: Path) -> None:
    def fresh() -> Run:
        run = poisoned(tiny_run(epochs=4), lambda run: run.step >= 3)
        run.non_finite = "skip"
        return run

    train_until(fresh(), 8, tmp_path)
    resumed = fresh()
    resumed.recall(read_checkpoint(tmp_path)[0])
    with pytest.raises(NonFiniteError, match="the 10th batch in a row"):
        train_tiny(resumed)
    assert resumed.step == 3 + MOST_SKIPPED - 1


def test_an_epoch_of_nothing_but_skipped_batches_has_no_loss() -> None:
    run = poisoned(tiny_run(), steps(0, 1, 2, 3))
    run.non_finite = "skip"
    train_tiny(run)
    assert math.isnan(run.history[0]["train_loss"])
    assert run.history[0]["skipped"] == 4
    assert "train_accuracy" not in run.history[0]


@pytest.mark.fault(
    35, "with non_finite=rollback the run goes back to the beginning of the epoch at half the learning rate"
)
def test_going_back_halves_the_rate() -> None:
    run, kept = poisoned(tiny_run("ema"), lambda run: run.step == 6 and run.rollbacks < 2), Kept()
    run.non_finite = "rollback"
    usual = tiny_run("ema")
    train_tiny(usual)
    train_tiny(run, watcher=kept)
    assert (run.rollbacks, run.step, len(run.history)) == (2, 8, 2)
    assert [memory["step"] for memory in kept.memories] == [1, 2, 3, 4, 5, 6, 5, 6, 5, 6, 7, 8]
    assert kept.rates[1] == kept.rates[0] / 2
    assert run.history[0]["lr"] == usual.history[0]["lr"]
    assert run.history[1]["lr"] == usual.history[1]["lr"] / 4
    assert digest(run) != digest(usual)
    slower = tiny_run("ema")  # the same from the second epoch on, had the rate been a quarter from there on
    watcher = Watcher()
    watcher.epoch_done = lambda run, row: setattr(run, "rollbacks", 2)
    train_tiny(slower, watcher=watcher)
    assert digest(slower) == digest(run)


@pytest.mark.fault(35, "a run that went back three times and still fails ends")
def test_going_back_has_an_end() -> None:
    run, kept = poisoned(tiny_run(), steps(6)), Kept()
    run.non_finite = "rollback"
    with pytest.raises(NonFiniteError, match=f"gone back {MOST_ROLLBACKS} times already"):
        train_tiny(run, watcher=kept)
    assert [bool(error.answer) for error in kept.errors] == [True] * MOST_ROLLBACKS + [False]


@pytest.mark.fault(35, "skipping and going back are resumed exactly, wherever the run was stopped")
@pytest.mark.parametrize("policy", ["skip", "rollback"])
@pytest.mark.parametrize("stop", [1, 4, 5, 6, 7])
def test_resuming_is_exact_under_every_policy(policy: str, stop: int, tmp_path: Path) -> None:
    def fresh() -> Run:
        run = poisoned(tiny_run("ema"), lambda run: run.step == 6 and run.rollbacks < 2)
        run.non_finite = policy
        return run

    whole = train_tiny(fresh())
    train_until(fresh(), stop, tmp_path)
    resumed = fresh()
    resumed.recall(read_checkpoint(tmp_path)[0])
    train_tiny(resumed)
    assert not [*differences(whole.memory(), resumed.memory())]
    assert (resumed.skipped, resumed.rollbacks) == ((1, 0) if policy == "skip" else (0, 2))


def test_stopping_amid_what_is_done_again_is_exact(tmp_path: Path) -> None:
    class Again(StopAfter):
        def stepped(self, run: Run) -> None:
            if run.rollbacks == 1:
                super().stepped(run)

    def fresh() -> Run:
        run = poisoned(tiny_run(), lambda run: run.step == 7 and run.rollbacks < 1)
        run.non_finite = "rollback"
        return run

    with pytest.raises(Interrupted):
        train_tiny(fresh(), save=saver(tmp_path, seconds=0), watcher=Again(6))
    resumed = fresh()
    memory, _ = read_checkpoint(tmp_path)
    assert (memory["step"], memory["rollbacks"]) == (6, 1)
    resumed.recall(memory)
    assert not [*differences(train_tiny(fresh()).memory(), train_tiny(resumed).memory())]


@pytest.mark.fault(15, "runs in bf16 are resumed exactly; there is no gradient scaler whose state could be lost")
@pytest.mark.parametrize("stop", [2, 4, 5])
def test_bf16_is_resumed_exactly(stop: int, tmp_path: Path) -> None:
    def fresh() -> Run:
        run = tiny_run("ema", "grad_clip", optimizer="adamw(lr=0.01)")
        run.profile = replace(run.profile, precision="bf16")
        return run

    whole = train_tiny(fresh())
    train_until(fresh(), stop, tmp_path)
    resumed = fresh()
    resumed.recall(read_checkpoint(tmp_path)[0])
    assert not [*differences(whole.memory(), train_tiny(resumed).memory())]
    assert digest(whole) != digest(train_tiny(tiny_run("ema", "grad_clip", optimizer="adamw(lr=0.01)")))


@pytest.mark.fault(
    38, "a validation loss that is NaN is never the best: not for early stopping, nor a plateau, nor the record"
)
def test_nan_is_never_best() -> None:
    losses = iter([0.9, NAN, 0.5, NAN, 0.7, 0.8])
    run = tiny_run("early_stopping(patience=10)", epochs=6)
    validate = run.validate
    assert validate is not None
    after: list[str] = []

    def validated() -> dict[str, float]:
        after.append(digest(run))
        return validate() | {"loss": next(losses)}

    run.validate = validated
    train_tiny(run)
    stopper = next(iter(run.tricks))
    assert (stopper.best_epoch_, stopper.best_loss_) == (3, 0.5)
    run.predictor()
    assert digest(run) == after[2], "the third epoch's weights are handed on"
    assert _best_epoch(run.history) == 3
    assert _best_epoch([{"epoch": 1, "val_loss": NAN}]) is None
    rows = [{"train_loss": 1.0, "val_loss": loss} for loss in (0.9, NAN, 0.5, NAN, NAN, NAN)]
    plateau = Plateau(factor=0.1, patience=2)
    assert [plateau(0.5, rows[:n]) for n in range(7)] == pytest.approx([1, 1, 1, 1, 1, 1, 0.1])


def test_copies_are_equal_and_differences_are_found() -> None:
    memory = {"a": [torch.tensor([0.0, NAN]), {"b": NAN, "c": 1}], "seconds": 1.0, "d": torch.ones(2)}
    again = copied(memory)
    assert not [*differences(memory, again)]
    again["seconds"] = 2.0
    assert not [*differences(memory, again)]
    again["a"][0][0] = -0.0  # equal as a number, not as bits
    assert [*differences(memory, again)] == ["a/0"]
    again["d"] = again["d"].double()
    again["a"][1]["c"] = True
    del again["a"][1]["b"]
    again["new"] = 3
    assert [*differences(memory, again)] == ["a/0", "a/1/b", "a/1/c", "d", "new"]


def test_recalling_leaves_the_memory_as_it_is(tmp_path: Path) -> None:
    train_until(tiny_run("ema", "lookahead", "early_stopping"), 3, tmp_path)
    memory, _ = read_checkpoint(tmp_path)
    before = copied(memory)
    run = tiny_run("ema", "lookahead", "early_stopping")
    run.recall(memory)
    train_tiny(run)
    assert not [*differences(before, memory)]
