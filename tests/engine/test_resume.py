"""A run that is put where a checkpoint is knows and does what the uninterrupted one does, bit for bit."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netwright.core.errors import Interrupted
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher
from netwright.engine.memory import copied, differences
from netwright.engine.run import Batch, Run
from tests.support import StopAfter, saver, tiny_run, train_tiny, train_until

EVERYTHING = (
    "ema",
    "lookahead",
    "accumulate(parts=4)",
    "early_stopping(patience=5, min_delta=10.0)",
    "grad_clip",
    "mixup",
)


def again(fresh: Callable[[], Run], folder: Path) -> Run:
    """A new process's run, put where the folder's newest checkpoint is."""
    run = fresh()
    run.recall(read_checkpoint(folder)[0])
    return run


class Rates(Watcher):
    """The factor and momentum that each update was made with."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[Any, ...]] = {}

    def started(self, run: Run) -> None:
        step = run.optimizer.step

        def noted(*factors: float, momentum: float | None = None) -> None:
            self.seen[run.step] = (run.rate, momentum, *factors)
            step(*factors, momentum=momentum)

        run.optimizer.step = noted


@pytest.mark.fault(13, "learning rate and momentum of a resumed run are those of the uninterrupted one, bit for bit")
@pytest.mark.parametrize("stop", [1, 4, 6])
@pytest.mark.parametrize(
    "schedule",
    ["one_cycle", "cosine(warmup=0.25)", "step", "cosine_restarts", "plateau(patience=0, min_delta=10.0)", "linear"],
)
def test_the_schedule_goes_on_where_it_was(schedule: str, stop: int, tmp_path: Path) -> None:
    def fresh() -> Run:
        return tiny_run("layer_freezing", schedule=schedule, epochs=3)

    whole, before, after = Rates(), Rates(), Rates()
    train_tiny(fresh(), watcher=whole)
    with pytest.raises(Interrupted):
        watcher = StopAfter(stop)
        watcher.started = before.started
        train_tiny(fresh(), save=saver(tmp_path), watcher=watcher)
    train_tiny(again(fresh, tmp_path), watcher=after)
    assert len(before.seen) == stop
    assert before.seen | after.seen == whole.seen


@pytest.mark.fault(
    1, "weights, averages, optimiser and history of a resumed run equal the uninterrupted one's bit for bit"
)
@pytest.mark.fault(17, "running statistics of batch normalisation are resumed with their counts")
@pytest.mark.parametrize("tricks", [EVERYTHING, ("swa(begin=0.3)", "sam"), ("bn_refresh", "repeated_augmentation")])
def test_everything_that_a_run_knows_is_resumed(tricks: tuple[str, ...], tmp_path: Path) -> None:
    def fresh() -> Run:
        return tiny_run(*tricks, epochs=3, optimizer="adamw(lr=0.01)", schedule="one_cycle")

    whole = train_tiny(fresh())
    assert any("num_batches_tracked" in name for name in whole.model.state_dict())
    for stop in (1, 4, 7, 8):  # within an epoch, at the end of one, and several times in one run
        train_until(again(fresh, tmp_path) if stop > 1 else fresh(), stop, tmp_path)
    assert not [*differences(whole.memory(), train_tiny(again(fresh, tmp_path)).memory())]


LOST: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "optimizer": lambda memory, start: memory.update(optimizer=start["optimizer"]),
    "ema": lambda memory, start: memory["tricks"].update(ema=start["tricks"]["ema"]),
    "lookahead": lambda memory, start: memory["tricks"].update(lookahead=start["tricks"]["lookahead"]),
    "early_stopping": lambda memory, start: memory["tricks"].update(early_stopping=start["tricks"]["early_stopping"]),
    "running statistics": lambda memory, start: memory["model"].update(
        {name: value for name, value in start["model"].items() if "running" in name}
    ),
    "cursor": lambda memory, start: memory.update(step=memory["step"] - 1),
    "history": lambda memory, start: memory.update(history=[]),
    "sums": lambda memory, start: memory.update(sums={}),
}


@pytest.mark.fault(14, "averages of weights (EMA, SWA, lookahead) are in the checkpoint: without one a resume differs")
@pytest.mark.fault(18, "the best epoch and the epochs waited for a better one are part of the checkpoint")
@pytest.mark.parametrize("lost", LOST)
def test_the_comparison_sees_what_is_lost(lost: str, tmp_path: Path) -> None:
    def fresh() -> Run:
        return tiny_run(*EVERYTHING, epochs=3, schedule="plateau(patience=0, min_delta=10.0)")

    start = copied(fresh().memory())
    train_until(fresh(), 6, tmp_path)
    memory, _ = read_checkpoint(tmp_path)
    whole = train_tiny(again(fresh, tmp_path))
    LOST[lost](memory, start)
    run = fresh()
    run.recall(memory)
    assert [*differences(whole.memory(), train_tiny(run).memory())]


@pytest.mark.fault(16, "a crash amid an accumulated batch goes on from the update before it, to the same weights")
@pytest.mark.parametrize("part", range(4))
def test_a_crash_between_the_parts_of_a_batch(part: int, tmp_path: Path) -> None:
    def fresh() -> Run:
        return tiny_run("accumulate(parts=4)", "ema", validates=False)

    crashing, calls = fresh(), itertools.count()
    loss = crashing.loss

    def fails(output: Any, batch: Batch, run: Run) -> torch.Tensor:
        if next(calls) == 4 * 5 + part:
            raise RuntimeError("power failure")
        return loss(output, batch, run)

    crashing.loss = fails
    with pytest.raises(RuntimeError, match="power failure"):
        train_tiny(crashing, save=saver(tmp_path, seconds=0))
    resumed = again(fresh, tmp_path)
    assert resumed.step == 5
    assert not [*differences(train_tiny(fresh()).memory(), train_tiny(resumed).memory())]


@pytest.mark.fault(20, "a run stopped while it validates is resumed exactly: validation changes nothing in training")
def test_a_crash_amid_validation(tmp_path: Path) -> None:
    def fresh() -> Run:
        return tiny_run("ema", "early_stopping")

    whole, crashing = train_tiny(fresh()), fresh()

    def fails() -> dict[str, float]:
        torch.rand(3)
        raise RuntimeError("power failure")

    crashing.validate = fails
    with pytest.raises(RuntimeError, match="power failure"):
        train_tiny(crashing, save=saver(tmp_path, seconds=0))
    resumed = again(fresh, tmp_path)
    assert (resumed.step, resumed.epoch) == (4, 0), "the epoch is done, but not closed"
    assert not [*differences(whole.memory(), train_tiny(resumed).memory())]
