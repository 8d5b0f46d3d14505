"""Schedules against torch's, timm's and their formulas."""

import math
import random

import pytest
import timm.scheduler
import torch

from netwright.core.errors import NetwrightError
from netwright.optim import SCHEDULES
from tests.support import digest, tiny_run, train_tiny

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
    peak = schedule.floor if (name, warmup) == ("triangular", 1) else 1  # all warm-up: it never leaves its floor
    assert max(factors) == pytest.approx(peak, abs=0.01)  # the grid may miss the peak by half a thousandth of the run


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_warmup_climbs_and_joins_without_a_jump(name: str) -> None:
    schedule = SCHEDULES.build(f"{name}(warmup=0.2)")
    climb = [schedule(p) for p in GRID if p <= 0.2]
    assert climb == sorted(climb)
    # No shape is steeper than 8 a run here (a half cosine over a fifth of the run: π/2 · 5 = 7.9).
    assert schedule(0.2 - 1e-9) == pytest.approx(schedule(0.2), abs=8e-9)
    begins = schedule.floor if name == "triangular" else 1
    assert schedule(0.2) == pytest.approx(begins, rel=1e-12)


@pytest.mark.parametrize("name", sorted({*SCHEDULES.names()} - {"one_cycle", "triangular"}))
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


def test_step_is_torchs() -> None:
    schedule = SCHEDULES.build("step(every=0.3, factor=0.2)")
    assert [schedule(p) for p in (0, 0.2999, 0.3, 0.6, 0.9, 1)] == pytest.approx([1, 1, 0.2, 0.04, 0.008, 0.008])
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.StepLR(o, 30, gamma=0.2), 100)
    assert [schedule(t / 100) for t in range(100)] == pytest.approx(theirs, rel=1e-12)
    tenths = SCHEDULES.build("step(every=0.1, factor=0.5)")  # 0.3 / 0.1 is 2.9999999999999996 in binary
    assert [tenths(t / 10) for t in range(10)] == [0.5**t for t in range(10)]


def test_multi_step_is_torchs() -> None:
    schedule = SCHEDULES.build("multi_step(at=(0.5, 0.75), factor=0.1)")
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


def test_exponential_is_torchs() -> None:
    ours = SCHEDULES.build("exponential(end=0.001)")
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.001 ** (1 / 40)), 41)
    assert [ours(t / 40) for t in range(41)] == pytest.approx(theirs, rel=1e-13)


@pytest.mark.parametrize("power", [0.5, 0.9, 1, 2, 3.5])
def test_polynomial_is_torchs(power: float) -> None:
    ours = SCHEDULES.build(f"polynomial(power={power})")
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 40, power=power), 41)
    # torch multiplies ratios of what is left: where little is left their rounding counts most.
    assert [ours(t / 40) for t in range(41)] == pytest.approx(theirs, rel=1e-12, abs=1e-14)


def test_polynomials_floor() -> None:
    ours = SCHEDULES.build("polynomial(power=2, floor=0.2)")
    assert [ours(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.2 + 0.8 * 0.25, 0.2])


def test_linear_is_torchs() -> None:
    ours = SCHEDULES.build("linear(floor=0.1)")
    theirs = torch_rates(
        lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1, end_factor=0.1, total_iters=40), 41
    )
    assert [ours(t / 40) for t in range(41)] == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(("cycles", "multiplier"), [(1, 2), (3, 2), (4, 1), (3, 3)])
def test_cosine_restarts_are_torchs(cycles: int, multiplier: int) -> None:
    ours = SCHEDULES.build(f"cosine_restarts(cycles={cycles}, multiplier={multiplier}, floor=0.05)")
    first = 10
    steps = first * sum(multiplier**i for i in range(cycles))
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    theirs = torch_rates(lambda o: restarts(o, T_0=first, T_mult=multiplier, eta_min=0.05), steps)
    assert [ours(t / steps) for t in range(steps)] == pytest.approx(theirs, abs=1e-12)
    assert ours(1) == pytest.approx(0.05)


def test_cosine_restarts_are_timms() -> None:
    ours = SCHEDULES.build("cosine_restarts(cycles=3, multiplier=2, floor=0.1)")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = timm.scheduler.CosineLRScheduler(optimizer, t_initial=10, lr_min=0.1, cycle_mul=2, cycle_limit=3)
    for t in range(70):
        theirs.step(t)
        assert ours(t / 70) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_cosine_restarts_with_a_fraction() -> None:
    ours = SCHEDULES.build("cosine_restarts(cycles=2, multiplier=0.5)")
    assert [ours(p) for p in (0, 1 / 3, 2 / 3 - 1e-12, 2 / 3, 5 / 6)] == pytest.approx([1, 0.5, 0, 1, 0.5], abs=1e-9)


@pytest.mark.parametrize("shrink", [1, 0.5])
def test_triangular_is_torchs_with_its_momentum(shrink: float) -> None:
    ours = SCHEDULES.build(f"triangular(cycles=3, floor=0.2, shrink={shrink}, momentum=(0.8, 0.95))")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.2, 1.0, step_size_up=10, mode="triangular" if shrink == 1 else "triangular2",
        base_momentum=0.8, max_momentum=0.95,
    )  # fmt: skip
    for t in range(60):
        assert ours(t / 60) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        assert ours.momentum_at(t / 60) == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-12)
        optimizer.step()
        theirs.step()
    assert ours(1) == pytest.approx(0.2)


def test_one_cycles_momentum_is_torchs() -> None:
    steps, warmup = 100, 0.3
    ours = SCHEDULES.build(f"one_cycle(warmup={warmup}, momentum=(0.8, 0.93))")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, steps, pct_start=warmup, base_momentum=0.8, max_momentum=0.93
    )
    peak = warmup * steps - 1
    for t in range(steps):
        place = warmup * t / peak if t < peak else warmup + (1 - warmup) * (t - peak) / (steps - 1 - peak)
        assert ours.momentum_at(place) == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-12)
        optimizer.step()
        if t < steps - 1:
            theirs.step()


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_momentum_is_the_optimizers_unless_asked_for(name: str) -> None:
    assert {SCHEDULES.build(name).momentum_at(p) for p in GRID} == {None}


@pytest.mark.parametrize("name", ["one_cycle", "triangular"])
@pytest.mark.parametrize("warmup", [0, 0.2, 1])
def test_momentum_stays_between_its_bounds(name: str, warmup: float) -> None:
    schedule = SCHEDULES.build(f"{name}(warmup={warmup}, momentum=(0.8, 0.9))")
    momenta = [schedule.momentum_at(p) for p in GRID]
    assert all(0.8 - 1e-12 <= momentum <= 0.9 + 1e-12 for momentum in momenta)


def test_inverse_sqrt_is_the_papers() -> None:
    steps, warm = 1000, 100
    ours = SCHEDULES.build("inverse_sqrt(warmup=0.1, timescale=0.1)")
    peak = warm**-0.5
    for t in range(1, steps + 1):  # Vaswani et al., equation 3, without the width
        assert ours(t / steps) * peak == pytest.approx(min(t**-0.5, t * warm**-1.5), rel=1e-12)
    assert SCHEDULES.build("inverse_sqrt(timescale=0.5)")(0.5) == pytest.approx(0.5**0.5)


def rows(losses: list[float], name: str = "val_loss") -> list[dict[str, float]]:
    return [{"train_loss": 0.0, name: loss} for loss in losses]


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.05])
def test_plateau_is_torchs(patience: int, min_delta: float) -> None:
    ours = SCHEDULES.build(f"plateau(factor=0.5, patience={patience}, min_delta={min_delta}, floor=0.02)")
    draw = random.Random(0)
    losses = [1 / (1 + 0.1 * t) + 0.1 * draw.random() for t in range(60)] + [math.nan, 0.0, 0.0, 0.0, 0.0]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=min_delta, threshold_mode="abs", min_lr=0.02
    )
    for t, loss in enumerate(losses):
        assert ours(t / len(losses), rows(losses[:t])) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        theirs.step(loss)
    assert ours(1, rows(losses)) < 0.6


def test_plateau_reads_training_where_nothing_is_validated_and_warms_up() -> None:
    ours = SCHEDULES.build("plateau(factor=0.5, patience=1, warmup=0.5)")
    history = rows([1, 2, 2, 2, 2], "train_loss")
    assert [ours(p, history) for p in (0.25, 0.5, 1)] == [0.5 * 0.25, 0.25, 0.25]
    assert ours(1) == 1


def test_plateau_in_a_run() -> None:
    run = train_tiny(tiny_run(schedule="plateau(factor=0.5, patience=0, min_delta=99)", epochs=4))
    # The first epoch is lower than infinity, the others never by 99; what is written down is the rate of that epoch.
    assert [row["lr"] for row in run.history] == pytest.approx([0.1, 0.1, 0.05, 0.025])


def test_momentum_in_a_run() -> None:
    run, seen = tiny_run(schedule="one_cycle(momentum=(0.8, 0.9))"), []
    step = run.optimizer.step
    run.optimizer.step = lambda *factors, momentum: (seen.append(momentum), step(*factors, momentum=momentum))
    train_tiny(run)
    assert seen == [run.schedule.momentum_at((i + 0.5) / 8) for i in range(8)]
    assert digest(run) != digest(train_tiny(tiny_run(schedule="one_cycle")))
