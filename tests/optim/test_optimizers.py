"""Our optimisers give torch.optim's weights."""

from typing import Any

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.engine.plans import Group, OptimPlan
from netwright.optim import OPTIMIZERS

STEPS = 20
# Both compute a step with some ten operations a weight; twenty steps in float64 (2.2e-16 each) stay far below this.
CLOSE = {"rtol": 1e-10, "atol": 1e-14}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def batches() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(6, 5, generator=draw, dtype=torch.float64) for _ in range(STEPS)]


def backward(model: nn.Module, batch: torch.Tensor) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    (model(batch) ** 2).mean().mul(3).backward()


def ours(spec: str, groups: Any = None, factors: list[float] | None = None) -> list[torch.Tensor]:
    model = network()
    optimizer = OPTIMIZERS.build(spec)
    optimizer.start(groups(model) if groups else OptimPlan.of(model).groups)
    for i, batch in enumerate(batches()):
        backward(model, batch)
        optimizer.step(factors[i] if factors else 1.0)
    return list(model.parameters())


def theirs(make: Any, groups: Any = None, factors: list[float] | None = None) -> list[torch.Tensor]:
    model = network()
    optimizer = make(groups(model) if groups else model.parameters())
    peaks = [group["lr"] for group in optimizer.param_groups]
    for i, batch in enumerate(batches()):
        backward(model, batch)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (factors[i] if factors else 1.0)
        optimizer.step()
    return list(model.parameters())


def assert_close(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    start = list(network().parameters())
    for one, other, before in zip(first, second, start, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
        assert not torch.allclose(one, before, rtol=1e-3), "nothing was trained"


def torch_sgd(**options: Any) -> Any:
    return lambda parameters: torch.optim.SGD(parameters, foreach=False, **options)


def torch_adam(kind: Any, **options: Any) -> Any:
    return lambda parameters: kind(parameters, foreach=False, fused=False, **options)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd(momentum: float, nesterov: bool, decay: float) -> None:
    spec = f"sgd(lr=0.05, momentum={momentum}, nesterov={nesterov}, weight_decay={decay})"
    # torch refuses Nesterov without momentum, where it would change nothing.
    reference = torch_sgd(lr=0.05, momentum=momentum, nesterov=nesterov and momentum > 0, weight_decay=decay)
    assert_close(ours(spec), theirs(reference))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw(name: str, betas: tuple[float, float], decay: float, epsilon: float) -> None:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    spec = f"{name}(lr=0.01, betas={betas}, epsilon={epsilon}, weight_decay={decay})"
    assert_close(ours(spec), theirs(torch_adam(kind, lr=0.01, betas=betas, eps=epsilon, weight_decay=decay)))


def our_groups(model: nn.Module) -> tuple[Group, ...]:
    plan = OptimPlan.of(model).split(lambda _, p: p.dim() <= 1, decay=0.0)
    return plan.split(lambda name, _: name.startswith("2"), rate=0.3).groups


def torch_groups(lr: float, decay: float) -> Any:
    def groups(model: nn.Module) -> list[dict[str, Any]]:
        return [
            {
                "params": [parameter],
                "lr": lr * (0.3 if name.startswith("2") else 1.0),
                "weight_decay": decay * (parameter.dim() > 1),
            }
            for name, parameter in model.named_parameters()
        ]

    return groups


FACTORS = [(i + 1) / STEPS for i in range(STEPS)]


@pytest.mark.parametrize(
    ("spec", "make", "lr"),
    [
        ("sgd(lr=0.05, weight_decay=0.1)", torch_sgd(momentum=0.9, nesterov=True), 0.05),
        ("adam(lr=0.01, weight_decay=0.1)", torch_adam(torch.optim.Adam), 0.01),
        ("adamw(lr=0.01, weight_decay=0.1)", torch_adam(torch.optim.AdamW), 0.01),
    ],
)
def test_groups_and_schedule(spec: str, make: Any, lr: float) -> None:
    assert_close(ours(spec, our_groups, FACTORS), theirs(make, torch_groups(lr, 0.1), FACTORS))


def test_groups_are_split_once_each() -> None:
    groups = our_groups(network())
    names = sorted(name for group in groups for name, _ in group.parameters)
    assert names == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert sorted((group.rate, group.decay) for group in groups) == [(0.3, 0.0), (0.3, 1.0), (1.0, 0.0), (1.0, 1.0)]


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_memory_is_exact(name: str) -> None:
    whole, model = network(), network()
    first = OPTIMIZERS.build(name)
    first.start(OptimPlan.of(whole).groups)
    second = OPTIMIZERS.build(name)
    second.start(OptimPlan.of(model).groups)
    for i, batch in enumerate(batches()):
        backward(whole, batch)
        first.step(1.0)
        backward(model, batch)
        second.step(1.0)
        if i == 7:  # in another object, from copies, as from a file
            kept = {
                "steps": second.memory()["steps"],
                "state": {slot: [t.clone() for t in tensors] for slot, tensors in second.memory()["state"].items()},
            }
            second = OPTIMIZERS.build(name)
            second.start(OptimPlan.of(model).groups)
            second.recall(kept)
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_parameters_without_gradient_stay(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS.build(name)
    optimizer.start(OptimPlan.of(model).groups)
    backward(model, batches()[0])
    still = model[0].weight
    before, still.grad = still.detach().clone(), None
    optimizer.step(1.0)
    assert torch.equal(still, before)
    assert not torch.equal(model[2].weight, network()[2].weight)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_rate_and_bounds(name: str) -> None:
    optimizer = OPTIMIZERS.build(f"{name}(lr=0.4)")
    optimizer.start((Group(tuple(network().named_parameters()), rate=0.5),))
    assert optimizer.rate(0.25) == pytest.approx(0.05, rel=1e-15)
    with pytest.raises(NetwrightError, match="lr cannot be -1"):
        OPTIMIZERS.build(f"{name}(lr=-1)")
