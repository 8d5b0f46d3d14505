"""Bounds of log p(x): against a network whose log p(x) is known in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.observation import Gaussian, Observation
from netwright.tasks import _elbo
from netwright.tasks._elbo import bounds, effective, log_weights, weighted

N, D, SIDE, SIGMA = 40, 2, 3, 0.5


class Linear(nn.Module):
    """x = W z + b + sigma noise; its q is the posterior, but `wide` times as wide and shifted by `shift`."""

    random = True

    def __init__(self, wide: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.weight = torch.randn(SIDE * SIDE, D, generator=draw)
        self.offset = torch.rand(SIDE * SIDE, generator=draw)
        self.observation: Observation = Gaussian(sigma=SIGMA)
        self.wide, self.shift = wide, shift

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Covariance and precision of codes; diagonal where W's columns are orthogonal."""
        precision = self.weight.T @ self.weight / SIGMA**2 + torch.eye(D)
        return precision.inverse(), precision

    def encode(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        covariance, _ = self.posterior()
        mean = (x.flatten(1) - self.offset) @ self.weight / SIGMA**2 @ covariance + self.shift
        return mean, (self.wide * covariance.diagonal()).log().expand(len(x), D)

    def decode(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        return (code @ self.weight.T + self.offset).view(-1, 1, SIDE, SIDE)


def orthogonal(**options: float) -> Linear:
    """One whose posterior's covariance is diagonal, so that q can be exact."""
    model = Linear(**options)
    model.weight = torch.linalg.qr(model.weight)[0] * torch.tensor([1.5, 0.7])
    return model


def pictures() -> Tensor:
    return torch.rand(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def truth(model: Linear, picture: Tensor) -> np.ndarray:
    """log N(x; b, W W' + sigma² I)."""
    covariance = (model.weight @ model.weight.T).double() + SIGMA**2 * torch.eye(SIDE * SIDE)
    law = multivariate_normal(model.offset.numpy(), covariance.numpy())
    return np.asarray(law.logpdf(picture.flatten(1).numpy()))


def test_with_the_exact_posterior_each_weight_is_the_likelihood() -> None:
    model, picture = orthogonal(), pictures()
    weights, _, _ = log_weights(model, picture, picture, draws=5)
    # float32 sums of nine squares and products, of numbers of a few units
    np.testing.assert_allclose(weights.numpy(), np.broadcast_to(truth(model, picture), (5, N)), atol=2e-5)
    found = bounds(model, picture, picture, draws=5)
    np.testing.assert_allclose(found.weighted, truth(model, picture), atol=2e-5)
    np.testing.assert_allclose(found.effective, 5, rtol=1e-4)


def test_the_gap_of_the_elbo_is_the_divergence_from_the_posterior() -> None:
    """log p(x) − ELBO = KL(q ‖ p(z | x)), which is known for two normal distributions."""
    wide, shift, draws = 1.6, 0.3, 20_000
    model, picture = orthogonal(wide=wide, shift=shift), pictures()[:6]
    precision = model.posterior()[1]
    expected = 0.5 * (D * (wide - 1 - math.log(wide)) + shift**2 * float(precision.sum()))
    distortion = log_weights(model, picture, picture, draws=draws)[1]
    spread = float(distortion.std(0).max()) / math.sqrt(draws)
    gap = truth(model, picture) - bounds(model, picture, picture, draws=draws).elbo
    np.testing.assert_allclose(gap, expected, atol=5 * spread)


def test_more_draws_are_nearer_to_the_likelihood_and_never_above_it_in_the_mean() -> None:
    model, picture = orthogonal(wide=2.5, shift=0.4), pictures()
    exact, repeats = truth(model, picture), 64
    drawn, distortion, _ = log_weights(model, picture, picture, draws=64 * repeats)
    weights = drawn.view(repeats, 64, N)
    means = [float(torch.stack([weighted(each[:k]) for each in weights]).mean()) for k in (1, 4, 16, 64)]
    found = bounds(model, picture, picture, draws=64 * repeats)
    # L_1 is the ELBO, by another estimate: of one weight in 64, and of all distortions with the exact rate.
    once, all_of_them = repeats * N, 64 * repeats * N
    errors = math.sqrt(drawn.var(0).mean() / once) + math.sqrt(distortion.var(0).mean() / all_of_them)
    assert float(found.elbo.mean()) == pytest.approx(means[0], abs=5 * errors)
    assert means == sorted(means)
    assert means[-1] < float(exact.mean())
    assert float(exact.mean()) - means[-1] < 0.1 * (float(exact.mean()) - means[0])
    # The logarithm of a mean of K weights has the standard error √(variance / mean² / K), and ESS = K / (1 + that · K).
    errors = np.sqrt(1 / found.effective - 1 / len(drawn))
    assert (np.abs(found.weighted - exact) < 5 * errors).all()
    assert (found.elbo < found.weighted).all()


def test_a_mean_of_weights_is_at_least_the_mean_of_their_logarithms() -> None:
    """Jensen, draw by draw."""
    weights = 300 * torch.randn(7, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 5000
    assert (weighted(weights) >= weights.mean(0)).all()
    assert torch.isfinite(weighted(weights)).all()
    assert (effective(weights) >= 1 - 1e-9).all() and (effective(weights) <= 7 + 1e-9).all()


def test_constants_are_counted() -> None:
    """A decoder that knows the picture, and codes that say nothing: log p(x) = −n (log sigma + ½ log 2π)."""
    model, picture = orthogonal(), torch.zeros(3, 1, SIDE, SIDE)
    model.weight, model.offset = torch.zeros(SIDE * SIDE, D), torch.zeros(SIDE * SIDE)
    known = -SIDE * SIDE * (math.log(SIGMA) + 0.5 * math.log(2 * math.pi))
    found = bounds(model, picture, picture, draws=4)
    np.testing.assert_allclose(found.elbo, known, rtol=1e-6)
    np.testing.assert_allclose(found.weighted, known, rtol=1e-6)
    np.testing.assert_allclose(found.rate, 0, atol=1e-6)


def test_parts_give_every_draw_of_every_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for draws, n, most in ((3, 10, 4), (64, 7, 100), (5, 5, 1), (1, 1, 9)):
        seen = np.zeros((draws, n), int)
        for rows, columns in _elbo._parts(draws, n, most):
            seen[rows, columns] += 1
            assert (rows.stop - rows.start) * (columns.stop - columns.start) <= most
        assert (seen == 1).all()
    model, picture = orthogonal(), pictures()
    monkeypatch.setattr(_elbo, "VALUES", 50 * SIDE * SIDE)
    np.testing.assert_allclose(bounds(model, picture, picture, draws=9).weighted, truth(model, picture), atol=2e-5)


def test_labels_go_to_the_network_with_each_draw() -> None:
    class Conditional(Linear):
        def decode(self, code: Tensor, label: Tensor | None = None) -> Tensor:
            assert label is not None
            return super().decode(code) + 0 * label.view(-1, 1, 1, 1)

    picture = pictures()
    found = bounds(Conditional(), picture, picture, draws=2, label=torch.arange(N))
    assert found.elbo.shape == found.weighted.shape == (N,)


def test_the_same_seed_draws_the_same() -> None:
    model, picture = orthogonal(wide=2.0), pictures()
    one, same, other = (bounds(model, picture, picture, draws=3, seed=seed).weighted for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize(("change", "says"), [({"random": False}, "no likelihood"), ({}, "0 draws")])
def test_what_has_no_bound_is_refused(change: dict[str, bool], says: str) -> None:
    model, picture = orthogonal(), pictures()
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(NetwrightError, match=says):
        bounds(model, picture, picture, draws=0)
