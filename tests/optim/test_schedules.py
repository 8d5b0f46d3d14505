"""Schedules against torch's and their formulas."""

import math

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.optim import SCHEDULES

GRID = [i / 1000 for i in range(1001)]


def torch_rates(make, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("name", SCHEDULES.names())
@pytest.mark.parametrize("warmup", [None, 0, 0.1, 1])
def test_stays_between_zero_and_the_peak(name: str, warmup: float | None) -> None:
    schedule = SCHEDULES.build(name if warmup is None else f"{name}(warmup={warmup})")
    factors = [schedule(p) for p in GRID]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1, abs=0.01)  # the grid may miss the peak by half a thousandth of the run


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_warmup_climbs_and_joins_without_a_jump(name: str) -> None:
    schedule = SCHEDULES.build(f"{name}(warmup=0.2)")
    climb = [schedule(p) for p in GRID if p <= 0.2]
    assert climb == sorted(climb)
    # No shape is steeper than 8 a run here (a half cosine over a fifth of the run: π/2 · 5 = 7.9).
    assert schedule(0.2 - 1e-9) == pytest.approx(schedule(0.2), abs=8e-9)
    assert schedule(0.2) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_warmup_is_linear(name: str) -> None:
    schedule = SCHEDULES.build(f"{name}(warmup=0.25)")
    assert [schedule(p) for p in (0, 0.0625, 0.125)] == [0, 0.25, 0.5]


def test_cosine_is_torchs() -> None:
    ours = SCHEDULES.build("cosine(floor=0.1)")
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=50, eta_min=0.1), 51)
    # torch goes from each rate to the next, 50 steps of a few roundings; ours is in closed form.
    assert [ours(t / 50) for t in range(51)] == pytest.approx(theirs, abs=1e-13)


def test_cosine_after_warmup_spans_the_rest() -> None:
    plain, warmed = SCHEDULES.build("cosine"), SCHEDULES.build("cosine(warmup=0.2)")
    for p in GRID:
        assert warmed(0.2 + 0.8 * p) == pytest.approx(plain(p), abs=1e-12)


def test_one_cycle_is_torchs() -> None:
    steps, warmup = 100, 0.3
    make = lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=steps, pct_start=warmup)  # noqa: E731
    theirs = torch_rates(lambda o: make(o), steps)
    ours = SCHEDULES.build("one_cycle")
    # torch counts each of its two phases from its first step to its last; we take parts of the whole run.
    peak = warmup * steps - 1
    places = [
        warmup * t / peak if t < peak else warmup + (1 - warmup) * (t - peak) / (steps - 1 - peak) for t in range(steps)
    ]
    assert [ours(p) for p in places] == pytest.approx(theirs, abs=1e-12)
    assert ours(0) == pytest.approx(1 / 25, rel=1e-12)
    assert ours(1) == pytest.approx(1 / 25e4, rel=1e-9)


def test_one_cycle_options() -> None:
    schedule = SCHEDULES.build("one_cycle(warmup=0.5, start=10, end=100)")
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(0.25) == pytest.approx(0.55)  # half way up
    assert schedule(0.75) == pytest.approx((1 + 1e-3) / 2)
    assert schedule(1) == pytest.approx(1e-3)


def test_step_drops_at_its_times() -> None:
    schedule = SCHEDULES.build("step(at=(0.5, 0.75), factor=0.1)")
    found = [schedule(p) for p in (0, 0.4999, 0.5, 0.7499, 0.75, 1)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 15], gamma=0.1), 20)
    assert [schedule(t / 20) for t in range(20)] == pytest.approx(theirs, rel=1e-12)


def test_constant() -> None:
    assert {SCHEDULES.build("constant")(p) for p in GRID} == {1.0}


def test_schedules_are_values() -> None:
    assert SCHEDULES.build("cosine(floor=0.1)") == SCHEDULES.build("cosine(floor=0.1)")
    assert math.isclose(SCHEDULES.build("cosine(floor=0.1)")(1), 0.1)
    with pytest.raises(NetwrightError, match="warmup cannot be 2"):
        SCHEDULES.build("cosine(warmup=2)")
