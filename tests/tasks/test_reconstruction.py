"""The loss in nats and the metrics of pictures: closed forms, scikit-image, and what no picture's size may change."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from netwright.core.errors import NetwrightError
from netwright.nn.observation import make_observation
from netwright.nn.output import Decoded
from netwright.tasks.reconstruction import Reconstruction, psnr, squared_error

Enlarged = Callable[[Tensor, int], Tensor]
TASK = Reconstruction()
SPECS = ("gaussian(sigma=0.2)", "gaussian(sigma=1.0)", "bernoulli")


def made(spec: str, *, n: int = 6, side: int = 4, beta: float = 1.0, floor: float = 0.0) -> tuple[Decoded, Tensor]:
    draw = torch.Generator().manual_seed(0)
    natural = torch.randn(n, 2, side, side, generator=draw)
    mean, log_variance = torch.randn(n, 3, generator=draw), torch.randn(n, 3, generator=draw)
    output = Decoded(natural, mean, mean, log_variance, make_observation(spec), beta, floor)
    return output, torch.rand(n, 2, side, side, generator=draw)


def tiled(picture: Tensor, times: int) -> Tensor:
    return picture.repeat(1, 1, times, times)


def zoomed(picture: Tensor, times: int) -> Tensor:
    return picture.repeat_interleave(times, 2).repeat_interleave(times, 3)


def test_targets_are_the_pictures_before_they_were_normalised() -> None:
    picture = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.4, 0.5]).view(1, 2, 1, 1), torch.tensor([0.2, 0.3]).view(1, 2, 1, 1)
    task = Reconstruction((0.4, 0.5), (0.2, 0.3))
    label = torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(task.batch((picture - mean) / std, label), picture, rtol=0, atol=1e-6)
    assert torch.equal(TASK.batch(picture, label), picture)
    with pytest.raises(NetwrightError, match="pictures, N C H W"):
        task.batch(torch.rand(3, 8), label)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_loss_is_nats_summed_over_values_and_meant_over_pictures(beta: float) -> None:
    output, picture = made("gaussian(sigma=0.2)", beta=beta)
    assert output.log_variance is not None
    off = (picture - output.natural).double().square().flatten(1).sum(1) / (2 * 0.2**2)
    said = Normal(output.mean.double(), (0.5 * output.log_variance.double()).exp())
    rate = kl_divergence(said, Normal(torch.zeros_like(said.loc), torch.ones_like(said.scale))).sum(1)
    expected = (off + beta * rate).mean()
    torch.testing.assert_close(TASK.loss(output, picture).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("enlarged", [tiled, zoomed])
def test_beta_means_the_same_at_every_size(spec: str, enlarged: Enlarged) -> None:
    """Four times the values are four times the distortion, and the rate beside it stays; a mean would not do that."""
    output, picture = made(spec, beta=3.0)
    free, _ = made(spec, beta=0.0)
    rate = (TASK.loss(output, picture) - TASK.loss(free, picture)).item()
    for times in (2, 3):
        large = Decoded(enlarged(output.natural, times), *_codes(output), output.observation, 3.0)
        target = enlarged(picture, times)
        off = times**2 * TASK.loss(free, picture).item()
        assert TASK.loss(large, target).item() == pytest.approx(off + rate, rel=1e-5)
        found = TASK.metrics(large, target)
        small = TASK.metrics(output, picture)
        torch.testing.assert_close(found["rate"], small["rate"])
        torch.testing.assert_close(found["distortion"], times**2 * small["distortion"], rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(found["psnr"], small["psnr"])


def test_the_gradient_of_the_rate_is_no_smaller_in_larger_pictures() -> None:
    slopes: list[Tensor] = []
    for side in (2, 8):
        output, picture = made("gaussian(sigma=1.0)", side=side, beta=2.0)
        mean = torch.full((6, 3), 0.7, requires_grad=True)
        perfect = Decoded(picture, mean, mean, torch.zeros(6, 3), output.observation, 2.0)
        (slope,) = torch.autograd.grad(TASK.loss(perfect, picture), mean)
        slopes.append(slope)
    torch.testing.assert_close(slopes[0], slopes[1])
    torch.testing.assert_close(slopes[0], torch.full((6, 3), 2.0 * 0.7 / 6))  # β m / N


def test_nats_below_the_floor_are_not_charged() -> None:
    output, picture = made("bernoulli", floor=0.5)
    assert output.divergence is not None
    plain, _ = made("bernoulli", beta=0.0)
    each = output.divergence.mean(0)
    assert (each < 0.5).any() and (each > 0.5).any()
    expected = TASK.loss(plain, picture) + torch.maximum(each, torch.tensor(0.5)).sum()
    torch.testing.assert_close(TASK.loss(output, picture), expected)


@pytest.mark.parametrize("spec", SPECS)
def test_metrics_add_up(spec: str) -> None:
    output, picture = made(spec, beta=2.0)
    found = TASK.metrics(output, picture)
    assert next(iter(found)) == "psnr"
    assert all(value.shape == (6,) for value in found.values())
    torch.testing.assert_close(found["elbo"], -found["distortion"] - found["rate"])
    torch.testing.assert_close(found["loss"].mean(), TASK.loss(output, picture))


def test_the_elbo_keeps_the_constants_that_the_loss_leaves_out() -> None:
    output, picture = made("gaussian(sigma=0.2)")
    found = TASK.metrics(output, picture)
    constant = picture[0].numel() * (math.log(0.2) + 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(-found["elbo"] - found["loss"], torch.full((6,), constant), rtol=1e-4, atol=1e-3)


def test_codes_without_draws_have_no_rate() -> None:
    output, picture = made("gaussian(sigma=1.0)")
    found = TASK.metrics(Decoded(output.natural, output.mean, output.mean, None, output.observation), picture)
    assert set(found) == {"psnr", "mse", "loss"}


def test_psnr_is_minus_ten_decades_of_the_squared_error() -> None:
    mse = torch.tensor([1.0, 0.1, 0.01, 2.5e-5])
    torch.testing.assert_close(psnr(mse), torch.tensor([0.0, 10.0, 20.0, 46.0206]), rtol=1e-5, atol=1e-5)
    assert psnr(torch.zeros(1)).item() == pytest.approx(100)


def test_psnr_and_squared_error_are_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    draw = torch.Generator().manual_seed(4)
    picture, other = torch.rand(4, 3, 9, 7, generator=draw), torch.rand(4, 3, 9, 7, generator=draw)
    mse = squared_error(other, picture)
    for one, two, error, ratio in zip(picture.numpy(), other.numpy(), mse, psnr(mse), strict=True):
        one, two = one.astype(np.float64), two.astype(np.float64)
        assert error.item() == pytest.approx(metrics.mean_squared_error(one, two), rel=1e-5)
        expected = metrics.peak_signal_noise_ratio(one, two, data_range=1.0)
        assert ratio.item() == pytest.approx(expected, rel=1e-5)


def test_pictures_are_measured_as_they_are_shown() -> None:
    """A Gaussian's mean outside [0, 1] is clipped when it is shown, so it is no error there."""
    white = torch.ones(1, 1, 2, 2)
    assert squared_error(white + 3, white).item() == 0


def test_other_networks_are_refused() -> None:
    picture = torch.rand(2, 1, 4, 4)
    scores: Any = torch.zeros(2, 10)
    with pytest.raises(NetwrightError, match="gives pictures as it was given"):
        TASK.loss(scores, picture)
    small, _ = made("bernoulli", n=2)
    with pytest.raises(NetwrightError, match="--model autoencoder"):
        TASK.loss(small, picture)


def _codes(output: Decoded) -> tuple[Tensor, Tensor, Tensor | None]:
    return output.code, output.mean, output.log_variance
