"""Our optimisers give torch.optim's weights; those of torch and timm get our groups, schedules and checkpoints."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm.optim
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.plans import Group, OptimPlan
from netwright.models import create_model
from netwright.optim import OPTIMIZERS
from tests.support import TinyNetwork, digest, hash_of, tiny_run, train_tiny, train_until, untimed

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
            kept = copy.deepcopy(second.memory())
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
    ((_, rate, _), *_) = optimizer.paced((0.25,))
    assert rate == pytest.approx(0.05, rel=1e-15)
    with pytest.raises(NetwrightError, match="lr cannot be -1"):
        OPTIMIZERS.build(f"{name}(lr=-1)")


class TwoKernels(nn.Module):
    """First layer, hidden kernel and matrix, head; and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.hidden = nn.Conv2d(6, 8, 3, padding=1)
        self.flat = nn.Linear(8, 5)
        self.head = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(
            torch.tanh(self.flat(torch.tanh(self.hidden(torch.tanh(self.norm(self.first(x))))).mean((2, 3))))
        )


def images() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    return [torch.randn(4, 3, 5, 5, generator=draw, dtype=torch.float64) for _ in range(6)]


HIDDEN = ("hidden.weight", "flat.weight")


MOMENTA = [0.95 - 0.005 * i for i in range(STEPS)]

LIBRARY = {
    "rmsprop(lr=0.01, alpha=0.9, momentum=0.5, epsilon=1e-3, weight_decay=0.1)": lambda p: torch.optim.RMSprop(
        p, lr=0.01, alpha=0.9, momentum=0.5, eps=1e-3, weight_decay=0.1
    ),
    "adagrad(lr=0.05, epsilon=1e-4, weight_decay=0.1)": lambda p: torch.optim.Adagrad(
        p, lr=0.05, eps=1e-4, weight_decay=0.1
    ),
    "nadam(lr=0.01, betas=(0.8, 0.99), epsilon=1e-4, weight_decay=0.1)": lambda p: torch.optim.NAdam(
        p, lr=0.01, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "radam(lr=0.01, betas=(0.8, 0.99), epsilon=1e-4, weight_decay=0.1)": lambda p: torch.optim.RAdam(
        p, lr=0.01, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "lamb(lr=0.01, betas=(0.8, 0.99), epsilon=1e-4, weight_decay=0.1)": lambda p: timm.optim.Lamb(
        p, lr=0.01, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1, max_grad_norm=None
    ),
    "lion(lr=0.01, betas=(0.8, 0.99), weight_decay=0.1)": lambda p: timm.optim.Lion(
        p, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1
    ),
}


@pytest.mark.parametrize("spec", LIBRARY)
def test_wrapped_ones_are_the_librarys(spec: str) -> None:
    assert_close(ours(spec), theirs(LIBRARY[spec]))


@pytest.mark.parametrize("spec", LIBRARY)
def test_groups_and_schedule_reach_the_library(spec: str) -> None:
    lr = LIBRARY[spec]([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"]
    assert_close(ours(spec, our_groups, FACTORS), theirs(LIBRARY[spec], torch_groups(lr, 0.1), FACTORS))


def test_nesterov_is_sgd_as_it_is_by_default() -> None:
    for options in ("", "(lr=0.02, momentum=0.8, weight_decay=0.1)"):
        for one, other in zip(ours(f"nesterov{options}"), ours(f"sgd{options}"), strict=True):
            assert torch.equal(one, other)
    with pytest.raises(NetwrightError, match="option of nesterov 'nesterov'"):
        OPTIMIZERS.build("nesterov(nesterov=False)")


def test_one_factor_a_group() -> None:
    model, optimizer = network(), OPTIMIZERS.build("sgd")
    optimizer.start(our_groups(model))
    before = [p.detach().clone() for p in optimizer.parameters]
    backward(model, batches()[0])
    optimizer.step(1.0, 0.0, 1.0, 0.0)
    moved = [not torch.equal(p, b) for p, b in zip(optimizer.parameters, before, strict=True)]
    assert moved == [True, False, True, False]
    with pytest.raises(ValueError):  # neither one for all nor one for each
        optimizer.step(1.0, 1.0)


SCHEDULED = {
    "sgd(lr=0.05)": torch_sgd(lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "sgd(lr=0.05, momentum=0, nesterov=False)": torch_sgd(lr=0.05, momentum=0, weight_decay=5e-4),
    "adam": torch_adam(torch.optim.Adam, lr=1e-3),
    "adamw": torch_adam(torch.optim.AdamW, lr=1e-3, weight_decay=0.01),
    **LIBRARY,
}


@pytest.mark.parametrize("spec", SCHEDULED)
def test_a_schedules_momentum_reaches_the_update(spec: str) -> None:
    model, optimizer = network(), OPTIMIZERS.build(spec)
    optimizer.start(OptimPlan.of(model).groups)
    other = network()
    reference = SCHEDULED[spec](other.parameters())
    for batch, momentum in zip(batches(), MOMENTA, strict=True):
        backward(model, batch)
        optimizer.step(1.0, momentum=momentum)
        backward(other, batch)
        for group in reference.param_groups:  # as torch's OneCycleLR sets it
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif "momentum" in group:
                group["momentum"] = momentum
        reference.step()
    assert_close(list(model.parameters()), list(other.parameters()))
    constant = ours(spec)
    same = all(torch.equal(one, two) for one, two in zip(model.parameters(), constant, strict=True))
    assert same == spec.startswith("adagrad")  # which has no momentum


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Five of Newton and Schulz's steps with Jordan's coefficients, in float64."""
    x = matrix / matrix.norm()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def test_muon_orthogonalises_hidden_kernels_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    model = TwoKernels().double()
    lr, decay, momentum = 0.02, 0.1, 0.9
    optimizer = OPTIMIZERS.build(f"muon(lr={lr}, weight_decay={decay}, momentum={momentum}, betas=(0.8, 0.99))")
    optimizer.start(OptimPlan.of(model).groups)
    other = copy.deepcopy(model)
    rest = [p for name, p in other.named_parameters() if name not in HIDDEN]
    reference = torch.optim.AdamW(rest, lr=lr, betas=(0.8, 0.99), eps=1e-7, weight_decay=decay)
    average = {name: torch.zeros_like(other.get_parameter(name)) for name in HIDDEN}
    draw = torch.Generator().manual_seed(3)
    for _ in range(6):
        other.load_state_dict(model.state_dict())  # each step from the same point: what differs does not add up
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=draw, dtype=p.dtype)  # no direction much smaller than another
            q.grad = p.grad.clone()
        before = copy.deepcopy(model.state_dict())
        optimizer.step(1.0)
        reference.step()
        for name, p in model.named_parameters():
            if name not in HIDDEN:
                torch.testing.assert_close(p, other.get_parameter(name), **CLOSE)
                continue
            gradient = other.get_parameter(name).grad
            average[name] = momentum * average[name] + (1 - momentum) * gradient
            ahead = (momentum * average[name] + (1 - momentum) * gradient).flatten(1)
            wanted = 0.2 * max(ahead.shape) ** 0.5 * orthogonal(ahead).view_as(p)
            found = (before[name] * (1 - lr * decay) - p.detach()) / lr
            # timm iterates in bfloat16: fifteen products, each rounded to 2^-9.
            assert (found - wanted).norm() < 15 * 2**-9 * wanted.norm(), name


def test_muon_trains_the_ends_by_adamw_exactly() -> None:
    """One step, so that both see the same gradients."""
    torch.manual_seed(0)
    model = TwoKernels().double()
    other = copy.deepcopy(model)
    optimizer = OPTIMIZERS.build("muon(lr=0.02, weight_decay=0.1)")
    optimizer.start(OptimPlan.of(model).split(lambda _, p: p.dim() <= 1, decay=0.0).groups)
    for each in (model, other):
        backward(each, images()[0])
    optimizer.step(0.5)
    for name, p in other.named_parameters():
        decay = 0.1 if p.dim() > 1 else 0.0
        torch.optim.AdamW([p], lr=0.01, eps=1e-7, weight_decay=decay).step()
        same = torch.allclose(p, model.get_parameter(name), rtol=1e-12, atol=1e-15)
        assert same == (name not in HIDDEN), name


def test_the_ends_of_a_network() -> None:
    (group,) = OptimPlan.of(TinyNetwork()).groups
    assert group.ends == {"body.0.weight", "head.1.weight", "head.1.bias", "side.weight", "side.bias"}
    (group,) = OptimPlan.of(create_model("resnet20(width=4)", classes=3)).groups
    assert {name for name in group.ends if "fc" not in name and "head" not in name and "linear" not in name} == {
        next(name for name, p in create_model("resnet20(width=4)", classes=3).named_parameters() if p.dim() > 1)
    }
    assert len(group.ends) == 3
    assert OptimPlan.of(nn.Sequential(nn.BatchNorm2d(3))).groups[0].ends == {""}


@pytest.mark.parametrize("schedule", ["one_cycle(momentum=(0.8, 0.95))", "plateau(patience=0, min_delta=9)"])
@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_resuming_is_exact(name: str, schedule: str, tmp_path: Path) -> None:
    options = {"optimizer": name, "schedule": schedule, "epochs": 3}
    whole = train_tiny(tiny_run("no_decay", **options))
    train_until(tiny_run("no_decay", **options), 6, tmp_path)
    second = tiny_run("no_decay", **options)
    second.recall(read_checkpoint(tmp_path)[0])
    train_tiny(second)
    assert digest(second) == digest(whole)
    assert hash_of(second.optimizer.memory()) == hash_of(whole.optimizer.memory())
    assert untimed(second.history) == untimed(whole.history)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_state_can_be_put_back_to_the_beginning(name: str) -> None:
    """As a search for a learning rate does."""
    model, optimizer = network(), OPTIMIZERS.build(name)
    optimizer.start(OptimPlan.of(model).groups)
    memory, weights = copy.deepcopy(optimizer.memory()), copy.deepcopy(model.state_dict())
    seen = []
    for _ in range(2):
        for batch in batches()[:3]:
            backward(model, batch)
            optimizer.step(1.0)
        seen.append([p.detach().clone() for p in model.parameters()])
        optimizer.recall(memory)
        model.load_state_dict(weights)
    assert all(torch.equal(one, two) for one, two in zip(*seen, strict=True))


def test_only_who_names_a_librarys_optimizer_imports_it() -> None:
    code = (
        "import sys; from netwright.optim import OPTIMIZERS\n"
        "for name in OPTIMIZERS.names(): OPTIMIZERS.build(name)\n"
        "assert not {'timm', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
