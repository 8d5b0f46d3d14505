"""`netwright show --signal`: scales against closed forms for plain stacks, and what is printed."""

import json
import math
from typing import Any

import pytest
import torch
from torch import nn

from netwright.cli.main import code_of
from netwright.engine.signal_scale import SCHEMES, Factors, Signal, measure, signals, theory

WIDTH, DEPTH = 256, 12
# A layer's second moment varies by about √(5/width) of itself (Hanin & Rolnick 2018), and layers multiply.
NEAR = 4.5 * math.sqrt(5 / WIDTH / (DEPTH - 1))


def stack(activation: Any = nn.ReLU, *, inplace: bool = False, width: int = WIDTH) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(192, width)]
    for _ in range(DEPTH - 1):
        layers += [activation(inplace=True) if inplace else activation(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


def found(model: nn.Module, n: int = 32) -> dict[str, Signal]:
    x = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return {signal.scheme: signal for signal in signals(model, x)}


@pytest.mark.parametrize("inplace", [False, True])
def test_deep_rectifiers(inplace: bool) -> None:
    """he keeps the second moment of values and, widths being equal, of gradients; without its gain layers halve."""
    by_scheme = found(stack(inplace=inplace))
    for scheme, factor in (("he", 1.0), ("xavier", 0.5), ("lecun", 0.5), ("orthogonal", 0.5)):
        for part in (by_scheme[scheme].forward, by_scheme[scheme].backward):
            assert part.measured == pytest.approx(factor, rel=NEAR)
            assert part.theory == pytest.approx(factor, rel=0.02)  # of weights as drawn, 65 000 a layer
            assert part.verdict == ("kept" if factor == 1 else "vanishes")
    # Its variances are 1; the mean of 8192 correlated values adds its square.
    assert [layer.forward for layer in by_scheme["lsuv"].layers] == pytest.approx([1] * DEPTH, rel=0.02)


def test_linear_layers_keep_orthogonally() -> None:
    by_scheme = found(stack(nn.Identity))
    assert by_scheme["orthogonal"].forward.measured == pytest.approx(1, rel=1e-5)
    assert by_scheme["he"].forward.measured == pytest.approx(2, rel=NEAR)
    assert by_scheme["he"].forward.verdict == "explodes"


@pytest.mark.parametrize("activation", [nn.Tanh, nn.SiLU, nn.GELU, nn.ELU])
def test_theory_holds_for_other_activations(activation: Any) -> None:
    by_scheme = found(stack(activation))
    # lsuv holds q at 1, from which SiLU's own recursion runs away: E f(z)² grows faster than q.
    for scheme, signal in ((scheme, by_scheme[scheme]) for scheme in SCHEMES if scheme != "lsuv"):
        assert signal.forward.theory == pytest.approx(signal.forward.measured, rel=NEAR), scheme
        assert signal.backward.theory == pytest.approx(signal.backward.measured, rel=NEAR), scheme


def test_convolutions_on_a_torus_follow_theory() -> None:
    """Around the edges zeros make fans smaller, so here maps go round; a stride of 2 leaves out 3 in 4 ways."""
    layers = [nn.Conv2d(3, 64, 3, padding=1, padding_mode="circular")]
    for stride in (1, 2, 1, 1):
        layers += [nn.ReLU(), nn.Conv2d(64, 64, 3, stride, padding=1, padding_mode="circular")]
    he = found(nn.Sequential(*layers))["he"]
    assert he.forward.theory is None  # going round is a concatenation, which no plain stack has
    assert he.forward.measured == pytest.approx(1, rel=0.15)
    plain = nn.Sequential(*layers)
    for layer in plain:
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "zeros"
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    known = theory(plain, x, 1.0)
    assert known is not None
    assert known.moments == pytest.approx([1.0] * 5, rel=0.05)  # of 37 000 weights
    assert known.slopes == pytest.approx([1, 1 / 4, 1, 1], rel=0.05)


def test_gradients_are_autograds() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(4, 3, 2, 2)
    layers = measure(model, x)
    hidden = model[1](x.flatten(1)).detach().requires_grad_()
    out = model[3](hidden.tanh())
    draw = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((out * draw).sum(), hidden)
    assert layers[0].backward == pytest.approx(float(gradient.square().mean().sqrt()), rel=1e-5)
    assert layers[1].backward == pytest.approx(float(draw.square().mean().sqrt()), rel=1e-5)
    assert layers[0].forward == pytest.approx(float(hidden.detach().square().mean().sqrt()), rel=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_theory_where_sums_norms_or_pools_are() -> None:
    for layer in (nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Softmax2d()):
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), layer, nn.Conv2d(4, 4, 3, padding=1))
        assert theory(model, torch.randn(2, 3, 8, 8), 1.0) is None


def test_verdicts() -> None:
    for ratio, verdict in ((1.0, "kept"), (0.2, "kept"), (0.05, "vanishes"), (20, "explodes"), (math.nan, "explodes")):
        assert Factors(ratio, 1.0, None).verdict == verdict


def test_the_run_of_random_numbers_goes_on_as_if_nothing_were() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    signals(stack(width=8), torch.randn(2, 3, 8, 8, generator=torch.Generator()))
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert code_of(["show", *arguments, "--signal"]) == 0
    return capsys.readouterr().out


def test_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "mlp(widths=(64, 64, 64))").splitlines()
    assert lines[0] == "signal of mlp(widths=(64, 64, 64)) before training"
    rows = {scheme: next(line for line in lines if line.startswith(scheme)) for scheme in SCHEMES}
    assert all(row.count("kept") + row.count("vanishes") + row.count("explodes") == 2 for row in rows.values())
    assert sum(line.startswith("hidden.3 ") for line in lines) == 2  # values, gradients


def test_json_has_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(shown(capsys, "resnet20(width=4)", "--json", "--data", "digits"))
    assert [scheme["scheme"] for scheme in told["schemes"]] == list(SCHEMES)
    assert len(told["schemes"][0]["layers"]) == 20
    assert told["schemes"][0]["layers"][0]["shape"] == [4, 32, 32]
    assert told["schemes"][1]["forward"]["verdict"] == "kept"


def test_only_models_have_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["show", "ema", "--signal"]) == 2
    assert "unknown model 'ema'" in capsys.readouterr().err


def test_pictures_that_are_too_small_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["show", "alexnet", "--signal", "--image-size", "16"]) == 2
    assert "--image-size 63" in capsys.readouterr().err
