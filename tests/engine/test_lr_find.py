"""The search for a learning rate: it finds what theory says, and leaves no trace."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine import lr_find as module
from netwright.engine.lr_find import FEWEST, lr_find, smooth, steepest
from netwright.engine.run import Run
from netwright.optim import OPTIMIZERS
from tests.support import CLASSES, Pictures, hash_of, one_thread, tiny_run, train_tiny, untimed

TRICKS = {
    "averages": ("ema", "lookahead", "layer_freezing(first=0.2)", "dropout", "mixup", "crop"),
    "swa": ("swa(begin=0.0)", "lookahead(k=2)", "sam", "progressive_resize"),
}


def searched(run: Run, **options: Any) -> module.Search:
    with one_thread():
        return lr_find(run, **{"steps": 30, "low": 1e-3, "high": 1.0, **options})


def state(run: Run) -> str:
    return hash_of(run.memory())


@pytest.mark.parametrize("tricks", TRICKS.values(), ids=TRICKS)
def test_a_search_leaves_no_trace(tricks: tuple[str, ...]) -> None:
    run, untouched = (tiny_run(*tricks, epochs=3) for _ in range(2))
    searched(run)
    assert state(run) == state(untouched)
    for name in ("schedule", "epochs", "interrupted", "finished"):
        assert getattr(run, name) == getattr(untouched, name), name
    assert run.optimizer.lr == untouched.optimizer.lr
    assert run.model.training
    assert all(parameter.grad is None for parameter in run.model.parameters())
    train_tiny(run), train_tiny(untouched)
    assert state_without_time(run) == state_without_time(untouched)


def state_without_time(run: Run) -> str:
    return hash_of({**run.memory(), "history": untimed(run.history), "handed_on": run.predictor().state_dict()})


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_no_optimiser_remembers_it(name: str) -> None:
    searched_first, never = (tiny_run(optimizer=name, epochs=1) for _ in range(2))
    with suppress(NetwrightError):  # so few updates need not learn anything
        searched(searched_first, steps=12, high=0.01)
    assert hash_of(train_tiny(searched_first).model.state_dict()) == hash_of(train_tiny(never).model.state_dict())


def test_in_the_middle_of_a_run_and_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = train_tiny(tiny_run("ema", epochs=1))
    before, schedule = state(run), run.schedule
    searched(run)
    assert state(run) == before
    monkeypatch.setattr(module, "step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        searched(run)
    assert state(run) == before
    assert run.schedule is schedule
    assert run.optimizer.lr == 0.1


def test_tricks_act_as_at_the_beginning_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = tiny_run(epochs=1), list[float]()
    gradient = run.gradient
    run.gradient = lambda batch, run: (seen.append(run.progress), gradient(batch, run))[1]
    searched(run)
    assert len(seen) == 30 > run.steps
    assert max(seen) < 0.01


def test_the_rates_are_those_that_were_used() -> None:
    run, used = tiny_run(optimizer="sgd(lr=0.0)"), list[float]()
    step = run.optimizer.step
    run.optimizer.step = lambda *now, momentum=None: (used.append(run.rate), step(*now, momentum=momentum))
    told: list[tuple[int, int]] = []
    found = searched(run, watch=lambda done, steps: told.append((done, steps)))
    assert used == pytest.approx(np.geomspace(1e-3, 1.0, 30)[: len(used)], rel=1e-12)
    assert used[: len(found.rates)] == pytest.approx(found.rates, rel=1e-12)
    assert told == [(n, 30) for n in range(1, len(used) + 1)]


def test_smooth_is_adams_corrected_mean() -> None:
    losses = np.random.default_rng(0).normal(2, 1, 40)
    weights = 0.1 * 0.9 ** np.arange(40)  # m_n = Σ (1 − β) β^(n − i) l_i, over 1 − β^n = their sum
    closed = [np.average(losses[: n + 1][::-1], weights=weights[: n + 1]) for n in range(40)]
    assert smooth(losses) == pytest.approx(closed, rel=1e-12)
    assert smooth([3.0] * 5) == pytest.approx([3.0] * 5, rel=1e-14)
    assert smooth([]) == ()


def test_steepest_of_a_known_curve() -> None:
    rates = np.geomspace(1e-6, 10, 141)
    losses = 2.3 - 2 / (1 + np.exp(-2 * np.log(rates / 1e-2)))  # falls fastest at 0.01, which is one of the rates
    assert steepest(tuple(rates), tuple(losses)) == 0.01
    rising = np.where(rates > 0.5, 1e3 * rates, losses)  # what comes after the least does not count, however steep
    assert steepest(tuple(rates), tuple(rising)) == 0.01
    lucky = losses.copy()
    lucky[:4] += (3, 2, 1, -2.2)  # nor do the first few batches
    assert steepest(tuple(rates), tuple(lucky)) == 0.01


def test_steepest_refuses_what_never_falls() -> None:
    rates = np.geomspace(1e-3, 1, 20)
    falling_too_soon = (*np.linspace(3, 2, FEWEST), *np.linspace(2, 3, 20 - FEWEST))
    for losses in ((), (2.0,) * 20, tuple(2 + rates), (2.0,) * (FEWEST - 1), falling_too_soon):
        with pytest.raises(NetwrightError, match="no learning rate made the loss fall"):
            steepest(tuple(rates[: len(losses)]), losses)


class Quadratic(nn.Module):
    """Scores that do not depend on the picture; `run.loss` makes ½ Σ λ w² of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.w.expand(len(x), CLASSES)


@pytest.mark.parametrize("largest", [0.5, 5.0, 50.0])
def test_on_a_quadratic_the_rate_is_below_where_it_diverges(largest: float) -> None:
    curvature = largest * torch.tensor([1.0, 0.5, 0.25, 0.1])
    plain = "sgd(momentum=0.0, nesterov=False, weight_decay=0.0)"
    run = tiny_run(network=Quadratic, optimizer=plain, validates=False)
    run.loss = lambda output, batch, run: (curvature * run.model.w**2).sum() / 2
    found = searched(run, low=1e-5, high=100, steps=100)
    assert 0.02 / largest < found.best < 2 / largest
    assert found.rates[-1] < 100, "it stopped when the loss had grown"


def test_it_stops_where_the_loss_diverges() -> None:
    run = tiny_run()
    found = searched(run, low=1e-3, high=1e6, steps=60)
    assert FEWEST < len(found.rates) == len(found.losses) < 60
    assert found.best < 10


def test_a_loss_that_is_no_number_ends_the_search_there() -> None:
    run = tiny_run()
    loss = run.loss
    run.loss = lambda output, batch, run: loss(output, batch, run) * (float("nan") if run.step == 20 else 1.0)
    assert len(searched(run).rates) == 20
    run.loss = lambda output, batch, run: loss(output, batch, run) * float("nan")
    with pytest.raises(NetwrightError, match="no learning rate"):
        searched(run)


def test_nothing_learnt_is_told() -> None:
    with pytest.raises(NetwrightError, match="no learning rate made the loss fall") as caught:
        run = tiny_run()
        run.loss = lambda output, batch, run: 1 + 0 * output[0].sum()
        searched(run)
    assert "--lr" in caught.value.fix


@pytest.mark.parametrize("wrong", [{"low": 0.0}, {"low": 1.0}, {"high": float("inf")}, {"steps": FEWEST}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NetwrightError, match="cannot search"):
        searched(tiny_run(), **wrong)


def test_it_learns_from_data_with_something_to_learn() -> None:
    run = tiny_run(train_source=Pictures(256), batch_size=32)
    found = searched(run, low=1e-5, high=10, steps=80)
    assert 1e-3 < found.best < 2
