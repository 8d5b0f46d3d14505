"""Laws that linear autoencoders obey exactly: principal components, and which dimensions a variational one uses.

Baldi & Hornik, Neural Networks 2, 1989; Lucas et al., Don't blame the ELBO!, NeurIPS 2019 (arXiv:1911.02469).
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from torch import Tensor

from netwright.models import create_model
from netwright.models._autoencoder import Autoencoding
from netwright.nn.output import Decoded
from netwright.tasks._latent import Latent
from netwright.tasks.reconstruction import Reconstruction

TASK = Reconstruction()
N, SIDE, LATENT = 64, 4, 7
VARIANCES = 2.0 ** -np.arange(6)  # of the data along six directions; the other ten have a thousandth
REST = 1e-3
SHORT = 1e-3  # of a loss, how far from its least L-BFGS in float32 may stop
NATS = 0.02  # the same of a divergence; the loss is flat there, so that this costs its square


@cache
def pictures(times: int = 1) -> tuple[Tensor, np.ndarray]:
    """Pictures whose covariance (over N, about the mean) has exactly these eigenvalues, and its eigenvectors.

    Tiled, they have `times`² as many values, and the eigenvalues are as many times as large.
    """
    draw = np.random.default_rng(0)
    scores = draw.standard_normal((N, SIDE**2))
    scores, _ = np.linalg.qr(scores - scores.mean(0))
    directions, _ = np.linalg.qr(draw.standard_normal((SIDE**2, SIDE**2)))
    variances = np.full(SIDE**2, REST)
    variances[: len(VARIANCES)] = VARIANCES
    flat = (scores * np.sqrt(N * variances)) @ directions.T + 0.5
    x = torch.from_numpy(flat).float().view(N, 1, SIDE, SIDE).repeat(1, 1, times, times)
    return x, directions


def minimised(model: Autoencoding, loss: Callable[[], Tensor], rounds: int = 12) -> float:
    """Full-batch L-BFGS until nothing changes, each round from a fresh curvature."""
    found = math.inf
    for _ in range(rounds):
        solver = torch.optim.LBFGS(model.parameters(), max_iter=100, history_size=50, line_search_fn="strong_wolfe")

        def closure(solver: torch.optim.LBFGS = solver) -> Tensor:
            solver.zero_grad()
            value = loss()
            value.backward()
            return value

        solver.step(closure)
        now = loss().item()
        if now >= found - 1e-6 * abs(found):
            return now
        found = now
    return found


def expected(model: Autoencoding, x: Tensor) -> Tensor:
    """The task's loss as the exact mean over draws of the code, for a linear decoder.

    Squares are meant over N(m, s²) exactly by the 2 D codes m ± √D s_j e_j (a cubature rule of third degree).
    """
    mean, log_variance = model.encode(x)
    assert log_variance is not None
    steps = torch.cat([torch.eye(model.latent), -torch.eye(model.latent)]) * model.latent**0.5
    code = (mean + (0.5 * log_variance).exp() * steps[:, None]).flatten(0, 1)
    mean, log_variance, x = (each.repeat(len(steps), *[1] * (each.dim() - 1)) for each in (mean, log_variance, x))
    return TASK.loss(Decoded(model.decode(code), code, mean, log_variance, model.observation, model.beta), x)


def linear_vae(sigma: float, beta: float = 1.0, times: int = 1) -> Autoencoding:
    torch.manual_seed(0)
    spec = f"vae(encoder='mlp(widths=())', latent={LATENT}, beta={beta}, observation='gaussian(sigma={sigma!r})')"
    model = create_model(spec, classes=2, in_channels=1, image_size=SIDE * times)
    assert isinstance(model, Autoencoding)
    return model


@cache
def trained(variance: float, beta: float = 1.0, times: int = 1) -> tuple[Autoencoding, float]:
    """A linear VAE at its least loss, and that; several tests ask for the same."""
    model, (x, _) = linear_vae(math.sqrt(variance), beta, times), pictures(times)
    return model, minimised(model, lambda: expected(model, x))


def statistics(model: Autoencoding, x: Tensor) -> Latent:
    found = Latent()
    found.add(model.eval()(x).detach())
    return found


def predicted(variances: np.ndarray, threshold: float) -> np.ndarray:
    """Nats of each dimension, the largest first: ½ log(λ / βσ²) where λ is larger, else none."""
    divergence = np.zeros(LATENT)
    used = variances[variances > threshold][:LATENT]
    divergence[: len(used)] = 0.5 * np.log(used / threshold)
    return divergence


@pytest.mark.parametrize(("latent", "tied"), [(1, True), (5, False)])
def test_a_linear_autoencoder_spans_the_principal_components(latent: int, tied: bool) -> None:
    x, directions = pictures()
    torch.manual_seed(0)
    spec = f"mlp_autoencoder(hidden=(), latent={latent}, tied={tied})"
    model = create_model(spec, classes=2, in_channels=1, image_size=SIDE)
    assert isinstance(model, Autoencoding)
    loss = minimised(model, lambda: TASK.loss(model(x), x))
    # What is lost is half of the variance outside of the components: loss is Σ (x − m)² / 2 at sigma 1.
    left = 0.5 * (VARIANCES[latent:].sum() + REST * (SIDE**2 - len(VARIANCES)))
    assert loss == pytest.approx(left, rel=SHORT)
    with torch.no_grad():
        drawn = model.decode(torch.eye(latent)) - model.decode(torch.zeros(1, latent))
    angles = subspace_angles(drawn.flatten(1).double().numpy().T, directions[:, :latent])
    # To turn out of the components by an angle a costs at least ½ sin² a times the gap between eigenvalues.
    gap = VARIANCES[latent - 1] - VARIANCES[latent]
    assert 0.5 * gap * math.sin(angles.max()) ** 2 < SHORT * left


@pytest.mark.parametrize("threshold", [2.0 ** (0.5 - k) for k in (0, 1, 3, 6)])
def test_a_linear_vae_uses_the_dimensions_whose_variance_exceeds_sigmas(threshold: float) -> None:
    """σ² halfway (in octaves) between eigenvalues: the number is exact, and so are the nats of each dimension."""
    x, _ = pictures()
    found = statistics(trained(threshold)[0], x)
    assert found.active == np.count_nonzero(threshold < VARIANCES)
    assert found.collapsed == (predicted(VARIANCES, threshold).sum() < math.log(2)), "less than a bit"
    np.testing.assert_allclose(np.sort(found.divergence)[::-1], predicted(VARIANCES, threshold), atol=NATS)


def test_on_the_boundary_it_is_off_by_one_at_most() -> None:
    (x, _), place = pictures(), 2
    model = linear_vae(math.sqrt(VARIANCES[place]))
    minimised(model, lambda: expected(model, x), rounds=3)
    assert abs(statistics(model, x).active - place) <= 1


@pytest.mark.parametrize(("sigma2", "beta"), [(0.1, 3.5), (1.4, 0.25)])
def test_beta_counts_as_so_much_more_variance_of_the_noise(sigma2: float, beta: float) -> None:
    """Only the product βσ² decides what is used (phenomenon A3)."""
    x, _ = pictures()
    found = statistics(trained(sigma2, beta)[0], x)
    assert found.active == np.count_nonzero(beta * sigma2 < VARIANCES)
    np.testing.assert_allclose(np.sort(found.divergence)[::-1], predicted(VARIANCES, beta * sigma2), atol=NATS)


def test_in_larger_pictures_the_same_beta_weighs_the_same() -> None:
    """Tiled 2x2, pictures have four times the variance in each direction, and use what that says; a loss that is
    meant over values would use the same dimensions at both sizes, or fewer."""
    threshold = 2.0**-1.5
    for times, active in ((1, 2), (2, 4)):
        x, _ = pictures(times)
        found = statistics(trained(threshold, times=times)[0], x)
        assert found.active == active
        nats = predicted(times**2 * VARIANCES, threshold)
        np.testing.assert_allclose(np.sort(found.divergence)[::-1], nats, atol=NATS)


def test_the_networks_own_draws_have_that_mean_loss() -> None:
    x, _ = pictures()
    model = linear_vae(0.5)
    with torch.no_grad():
        for parameter in model.parameters():  # variances start near 1, where a variance and its root look alike
            parameter += 0.3 * torch.randn(parameter.shape)
        exact = expected(model, x).item()
        model.train()
        losses = torch.stack([TASK.loss(model(x), x) for _ in range(600)])
        codes = torch.stack([model(x).code for _ in range(600)])
        mean, log_variance = model.encode(x)
    assert log_variance is not None
    assert abs(losses.mean().item() - exact) < 5 * losses.std().item() / len(losses) ** 0.5
    off = (codes - mean) / (0.5 * log_variance).exp()  # standard normal, 600 · 64 · 7 of them
    assert abs(off.mean().item()) < 5 / off.numel() ** 0.5
    assert abs(off.var().item() - 1) < 5 * (2 / off.numel()) ** 0.5
    assert torch.equal(model.eval()(x).code, mean)


def test_the_bound_is_tight_for_a_linear_vae() -> None:
    """With β = 1 and all that exceeds σ² used, −(loss + constant) is the likelihood of probabilistic PCA."""
    x, _ = pictures()
    sigma2 = 2.0**-3.5
    model, loss = trained(sigma2)
    found = -loss - model.observation.offset * SIDE**2
    used = VARIANCES[sigma2 < VARIANCES]
    rest = VARIANCES[sigma2 >= VARIANCES].sum() + REST * (SIDE**2 - len(VARIANCES))
    log_det = np.log(used).sum() + (SIDE**2 - len(used)) * math.log(sigma2)
    likelihood = -0.5 * (SIDE**2 * math.log(2 * math.pi) + log_det + len(used) + rest / sigma2)
    assert found == pytest.approx(likelihood, abs=LATENT * NATS**2)
    of_means = TASK.metrics(model.eval()(x).detach(), x)["elbo"].mean().item()
    spread = 0.5 * float((1 - sigma2 / used).sum())  # nats that draws cost: that of mean codes alone is no bound
    assert of_means == pytest.approx(likelihood + spread, abs=LATENT * NATS)
