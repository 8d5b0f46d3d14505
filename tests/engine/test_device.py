"""The profile: explicit values win, choices have reasons, and the fast path computes what the slow one does."""

import pytest
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.engine import device
from netwright.engine.device import SMALL_MODEL, Profile, available_threads, profile
from netwright.models import create_model

CPU = torch.device("cpu")
SLOW = Profile(CPU, "test", "fp32", channels_last=False, threads=1)
LAST = Profile(CPU, "test", "fp32", channels_last=True, threads=1)
FAST = Profile(CPU, "test", "bf16", channels_last=True, threads=1)


def pictures() -> Tensor:
    return torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def outputs_and_gradients(how: Profile, image: Tensor) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    model = how.place(create_model("resnet20")).train().to(image.dtype)
    with how.autocast():
        output = model(how.layout(image))
    output.to(image.dtype).square().mean().backward()
    return output.detach().to(image.dtype), torch.cat(
        [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    )


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_channels_last_computes_the_same() -> None:
    image = pictures().double()
    (output, gradient), (expected, slope) = outputs_and_gradients(LAST, image), outputs_and_gradients(SLOW, image)
    # Sums in another order: 2^-53 a rounding, some 10^3 terms a sum, forty layers deep and back: below 10^-10.
    assert relative(output, expected) < 1e-10
    assert relative(gradient, slope) < 1e-10


def test_bf16_computes_the_same_within_its_precision() -> None:
    image = pictures()
    (output, gradient), (expected, slope) = outputs_and_gradients(FAST, image), outputs_and_gradients(SLOW, image)
    # Each rounding to bf16 is off by 2^-9 at most. Forward has two a layer, forty in all, independent: √40 · 2^-9 =
    # 0.012; normalising and ReLU may double it. The gradient's error must stay small beside a minibatch's own noise,
    # which is of the gradient's size: a fifth of it adds 2 % to that noise (√(1 + 0.2²)).
    assert 0 < relative(output, expected) < 0.03
    assert 0 < relative(gradient, slope) < 0.2


def test_explicit_values_win() -> None:
    chosen = profile("cpu", "bf16", macs=10, threads=3)
    assert (chosen.precision, chosen.threads) == ("bf16", 3)
    assert any("asked for" in why for why in chosen.why)
    assert profile("cpu", "fp32", macs=10**9).precision == "fp32"


def test_bf16_is_chosen_where_the_hardware_has_it_and_the_network_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_flags", lambda: {"amx_bf16"})
    large, small = profile("cpu", macs=10 * SMALL_MODEL), profile("cpu", macs=SMALL_MODEL // 10)
    assert (large.precision, large.channels_last, large.threads) == ("bf16", True, available_threads())
    assert (small.precision, small.channels_last, small.threads) == ("fp32", False, 1)
    monkeypatch.setattr(device, "_cpu_flags", lambda: {"avx2"})
    assert profile("cpu", macs=10 * SMALL_MODEL).precision == "fp32"


def test_every_choice_is_explained() -> None:
    assert len(profile("cpu", macs=1).why) >= 2
    assert set(profile("cpu").to_json()) == {"device", "name", "precision", "memory_format", "threads", "why"}


def test_unknown_devices_are_refused_with_a_fix() -> None:
    for name in ("warp", "cuda:99", "meta:x"):
        with pytest.raises(NetwrightError, match="cannot be used") as caught:
            profile(name)
        assert "--device auto" in caught.value.fix
