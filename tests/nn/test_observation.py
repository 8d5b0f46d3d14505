"""What decoders say of pictures, and what codes cost: against torch's distributions, integrals and draws."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from netwright.core.errors import NetwrightError
from netwright.nn.observation import make_observation
from netwright.nn.output import Decoded, normal_divergence

SHAPE = (5, 2, 4, 3)  # N C H W
F32 = torch.finfo(torch.float32).eps


def drawn(*, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def pictures(*, seed: int = 9) -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


def summed(each: Tensor) -> Tensor:
    return each.flatten(1).sum(1)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_a_gaussians_distortion_is_torchs_log_likelihood(sigma: float) -> None:
    observation = make_observation(f"gaussian(sigma={sigma})")
    natural, picture = drawn(), pictures()
    expected = -summed(Normal(natural.double(), sigma).log_prob(picture.double()))
    found = observation.distortion(natural, picture)
    assert found.shape == (5,)
    torch.testing.assert_close(found.double(), expected, rtol=64 * F32, atol=64 * F32)
    torch.testing.assert_close(observation.pixels(natural), natural)


@pytest.mark.parametrize("spec", ["gaussian(sigma=0.3)", "bernoulli"])
def test_what_a_decoder_has_to_say_is_known(spec: str) -> None:
    observation, picture = make_observation(spec), torch.tensor([0.01, 0.2, 0.5, 0.99])
    torch.testing.assert_close(observation.pixels(observation.natural(picture)), picture, rtol=8 * F32, atol=0)
    assert torch.isfinite(observation.natural(torch.tensor([0.0, 1.0]))).all()


def test_a_gaussians_likelihood_is_a_density() -> None:
    values = torch.linspace(-3, 4, 7001)
    for sigma in (0.1, 0.35):
        observation = make_observation(f"gaussian(sigma={sigma})")
        natural = torch.full((7001, 1, 1, 1), 0.4)
        density = (-observation.distortion(natural, values.view(-1, 1, 1, 1)).double()).exp()
        assert torch.trapezoid(density, values.double()).item() == pytest.approx(1, abs=1e-5)


def test_bernoullis_distortion_is_torchs_log_likelihood_also_of_grey() -> None:
    observation = make_observation("bernoulli")
    natural = drawn(scale=4)
    for picture in (pictures(), pictures().round()):
        said = Bernoulli(logits=natural.double(), validate_args=False)
        expected = -summed(said.log_prob(picture.double()))
        torch.testing.assert_close(observation.distortion(natural, picture).double(), expected, rtol=64 * F32, atol=0)
    torch.testing.assert_close(observation.pixels(natural), Bernoulli(logits=natural).probs)


def test_bernoulli_of_sure_logits_stays_finite() -> None:
    observation = make_observation("bernoulli")
    sure, wrong = torch.full((1, 1, 1, 2), 200.0), torch.zeros(1, 1, 1, 2)
    torch.testing.assert_close(observation.distortion(sure, wrong), torch.tensor([400.0]))
    torch.testing.assert_close(observation.distortion(sure, wrong + 1), torch.tensor([0.0]))


@pytest.mark.parametrize("spec", ["gaussian(sigma=0.1)", "gaussian(sigma=1.0)", "gaussian(sigma=2.5)"])
def test_the_offset_is_what_a_perfect_decoder_pays(spec: str) -> None:
    observation, picture = make_observation(spec), pictures()
    left = observation.distortion(picture, picture) - observation.offset * picture[0].numel()
    torch.testing.assert_close(left, torch.zeros(5), rtol=0, atol=picture[0].numel() * 4 * F32)


def test_a_picture_counts_by_all_its_values_and_alone() -> None:
    natural, picture = drawn(), pictures()
    for spec in ("gaussian(sigma=0.3)", "bernoulli"):
        observation = make_observation(spec)
        whole = observation.distortion(natural, picture)
        rows = sum(observation.distortion(natural[:, :, i : i + 1], picture[:, :, i : i + 1]) for i in range(4))
        torch.testing.assert_close(whole, rows)
        torch.testing.assert_close(whole[2:3], observation.distortion(natural[2:3], picture[2:3]))


@pytest.mark.parametrize(
    ("spec", "words"),
    [("gausian", "gaussian"), ("gaussian(sigma=0)", "sigma"), ("gaussian(variance=2)", "sigma"), ("laplace", "gaus")],
)
def test_mistakes_are_told(spec: str, words: str) -> None:
    with pytest.raises(NetwrightError, match=words):
        make_observation(spec)


def test_the_divergence_is_torchs_closed_form() -> None:
    mean, log_variance = drawn(seed=1, scale=2).flatten(1), drawn(seed=2, scale=3).flatten(1)
    said = Normal(mean.double(), (0.5 * log_variance.double()).exp())
    expected = kl_divergence(said, Normal(torch.zeros_like(said.loc), torch.ones_like(said.scale)))
    found = normal_divergence(mean, log_variance)
    # Terms of this size cancel, so what rounds is measured by the largest of them.
    largest = (mean.square() + log_variance.exp() + log_variance.abs()).max().item()
    torch.testing.assert_close(found.double(), expected, rtol=8 * F32, atol=8 * F32 * largest)


def test_the_divergence_is_the_mean_of_draws() -> None:
    draws = torch.randn(200_000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    prior = Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    for mean, log_variance in ((0.0, 0.0), (1.5, -2.0), (-0.3, 1.0), (0.0, -4.0)):
        said = Normal(torch.tensor(mean, dtype=torch.float64), math.exp(0.5 * log_variance))
        codes = said.loc + said.scale * draws
        each = said.log_prob(codes) - prior.log_prob(codes)
        error = each.std().item() / len(each) ** 0.5
        found = normal_divergence(torch.tensor([mean]), torch.tensor([log_variance])).item()
        assert abs(each.mean().item() - found) <= 5 * error + 1e-6


def test_the_prior_itself_costs_nothing_and_all_else_something() -> None:
    assert normal_divergence(torch.zeros(3), torch.zeros(3)).tolist() == [0, 0, 0]
    assert (normal_divergence(torch.tensor([1e-2, 0, 0]), torch.tensor([0, 0.1, -0.1])) > 0).all()


def test_what_a_network_gives_without_its_graph_and_in_half_precision() -> None:
    parts = [torch.randn(2, 3, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    natural = torch.randn(2, 1, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    given = Decoded(natural, *parts, make_observation("bernoulli"), beta=3.0, floor=0.5)
    wide = given.detach().float()
    assert (wide.beta, wide.floor) == (3.0, 0.5)
    assert wide.divergence is not None and wide.divergence.dtype == torch.float32
    assert not wide.natural.requires_grad and not wide.divergence.requires_grad
    plain = Decoded(natural, parts[0], parts[0], None, make_observation("bernoulli")).detach().float()
    assert plain.divergence is None and plain.log_variance is None
