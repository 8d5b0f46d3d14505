"""The training loop: what stops it, and what does not change it."""

import pytest
import torch
from torch import nn

from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher
from netwright.engine.run import NonFiniteError, Run
from tests.support import Noted, Pictures, digest, saver, tiny_run, train_tiny, untimed


def parameters(run: Run) -> list[torch.Tensor]:
    return [p.detach().clone() for p in run.model.parameters()]


class Remember(Watcher):
    """Keeps the weights after each step and counts what it is told."""

    def __init__(self) -> None:
        self.weights: list[list[torch.Tensor]] = []
        self.calls: list[str] = []

    def started(self, run: Run) -> None:
        self.calls.append("started")

    def stepped(self, run: Run) -> None:
        self.calls.append("step")
        self.weights.append(parameters(run))

    def epoch_done(self, run: Run, row: dict) -> None:
        self.calls.append("epoch")


def test_watcher_is_told_everything_and_saving_follows_each_step_and_epoch() -> None:
    run, watcher, saved = tiny_run(), Remember(), Noted(seconds=0)
    train_tiny(run, watcher=watcher, save=saved)
    assert watcher.calls == ["started", *["step"] * 4, "epoch", *["step"] * 4, "epoch"]
    assert saved.places == [*((0, n) for n in (1, 2, 3, 4)), (1, 4), *((1, n) for n in (5, 6, 7, 8)), (2, 8), (2, 8)]
    assert run.finished
    assert run.progress == 1.0
    assert len(run.history) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_the_update(bad: float) -> None:
    run, watcher = tiny_run(), Remember()
    loss = run.loss
    run.loss = lambda output, batch, run: loss(output, batch, run) * (bad if run.step == 5 else 1.0)
    with pytest.raises(NonFiniteError, match="at epoch 2, step 6") as caught:
        train_tiny(run, watcher=watcher)
    assert f"the loss is {bad}" in caught.value.problem
    assert "the update was not made" in caught.value.problem
    assert "--lr" in caught.value.fix
    assert run.step == 5
    assert all(torch.equal(now, then) for now, then in zip(parameters(run), watcher.weights[-1], strict=True))


def test_a_gradient_that_is_no_number_stops_too() -> None:
    run, watcher = tiny_run(), Remember()
    gradient = run.gradient

    def broken(batch, run):
        passed = gradient(batch, run)
        if run.step == 2:
            next(run.model.parameters()).grad.view(-1)[0] = float("inf")
        return passed

    run.gradient = broken
    with pytest.raises(NonFiniteError, match=r"gradient's norm is inf at epoch 1, step 3"):
        train_tiny(run, watcher=watcher)
    assert all(torch.equal(now, then) for now, then in zip(parameters(run), watcher.weights[-1], strict=True))


def test_validation_does_not_change_training() -> None:
    seen, unseen = train_tiny(tiny_run()), train_tiny(tiny_run(validates=False))
    assert digest(seen) == digest(unseen)
    assert "val_loss" in seen.history[0]
    assert "val_loss" not in unseen.history[0]

    noisy = tiny_run()
    validate = noisy.validate

    def draws() -> dict[str, float]:
        torch.rand(17)  # whatever validation draws, training does not see
        return validate()

    noisy.validate = draws
    assert digest(train_tiny(noisy)) == digest(seen)


def test_dropout_is_a_function_of_seed_and_step() -> None:
    def dropped(seed: int) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []
        run = tiny_run(seed=seed, epochs=1)
        (layer,) = [m for m in run.model.modules() if isinstance(m, nn.Dropout)]
        layer.register_forward_hook(lambda m, _, output: seen.append(output == 0) if m.training else None)
        train_tiny(run)
        return seen

    first = dropped(0)
    assert all(torch.equal(a, b) for a, b in zip(first, dropped(0), strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], dropped(1)[0])


def test_the_row_of_an_epoch_is_the_mean_over_its_samples() -> None:
    run = tiny_run(epochs=1)
    seen: list[tuple[int, float, float]] = []
    count = run.count

    def remember(batch, passed) -> None:
        right = (passed.output.argmax(1) == batch.label).float().sum()
        seen.append((len(batch), float(passed.loss), float(right)))
        count(batch, passed)

    run.count = remember
    train_tiny(run)
    (row,) = run.history
    n = sum(k for k, _, _ in seen)
    assert n == 64
    assert row["train_loss"] == pytest.approx(sum(k * loss for k, loss, _ in seen) / n, rel=1e-12)
    assert row["train_accuracy"] == sum(right for _, _, right in seen) / n
    assert (row["kind"], row["epoch"], row["step"]) == ("epoch", 1, 4)
    assert row["images_per_second"] == pytest.approx(64 / row["seconds"])


def test_the_rate_follows_the_schedule() -> None:
    run, rates = tiny_run(schedule="cosine(warmup=0.25)", optimizer="sgd(lr=0.2)"), []

    class Rates(Watcher):
        def stepped(self, run: Run) -> None:
            rates.append(factors[-1])

    factors: list[float] = []
    step = run.optimizer.step
    run.optimizer.step = lambda *now, momentum=None: (factors.append(now[0]), step(*now, momentum=momentum))
    train_tiny(run, watcher=Rates())
    assert rates == [run.schedule((i + 0.5) / 8) for i in range(8)]  # at the middle of each update


def test_training_learns() -> None:
    run = train_tiny(tiny_run(epochs=20, n=128))
    assert run.history[-1]["train_loss"] < 0.8 * run.history[0]["train_loss"]


def test_a_finished_run_trains_no_further(tmp_path) -> None:
    run = train_tiny(tiny_run(), save=saver(tmp_path))
    again = tiny_run()
    again.recall(read_checkpoint(tmp_path)[0])
    train_tiny(again)
    assert again.step == run.step
    assert digest(again) == digest(run)
    assert untimed(again.history) == untimed(run.history)


def test_a_batch_larger_than_the_data_is_the_data() -> None:
    run = train_tiny(tiny_run(train_source=Pictures(5), batch_size=64))
    assert run.loader.steps == 1
    assert run.step == 2
