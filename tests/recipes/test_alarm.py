"""The alarm of collapsed codes: when it sounds, and whether the reason it gives is the right one."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from netwright import recipe
from netwright.core.symptoms import Symptom
from netwright.nn.observation import Bernoulli, Gaussian
from netwright.nn.output import Decoded
from netwright.recipes import _alarm
from netwright.recipes._alarm import Price, alarm, cause, suggestion, variances
from netwright.tasks._latent import Latent

PLAN = recipe("autoencode", model="vae(latent=4)")
REMEDIES = ("--with kl_warmup", "--with free_bits", "--with beta_schedule")


def latent(mean: Tensor, log_variance: Tensor | None) -> Latent:
    found = Latent()
    found.add(Decoded(torch.zeros(len(mean), 1, 2, 2), mean, mean, log_variance, Gaussian()))
    return found


def collapsed(n: int = 4) -> Latent:
    return latent(torch.full((50, n), 1e-3), torch.zeros(50, n))


def pictures(scales: list[float], n: int = 4000) -> Tensor:
    """Pictures whose variances along the axes are known."""
    draw = torch.randn(n, len(scales), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draw = torch.linalg.qr(draw - draw.mean(0))[0] * (n - 1) ** 0.5
    return (0.5 + draw * torch.tensor(scales)).view(n, 1, 1, len(scales))


def test_healthy_codes_say_nothing() -> None:
    draw = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert alarm(latent(draw, torch.full((50, 4), -2.0)), PLAN, 1.0) == ""
    assert alarm(latent(draw, None), PLAN, 1.0) == ""
    one = torch.cat([draw[:, :1], torch.zeros(50, 3)], 1)  # one dimension is enough
    assert alarm(latent(one, torch.cat([torch.full((50, 1), -2.0), torch.zeros(50, 3)], 1)), PLAN, 1.0) == ""


def test_a_collapse_names_the_rate_and_the_remedies() -> None:
    said = alarm(collapsed(), PLAN, 1.0)
    assert said.startswith("posterior collapse: none of the code's 4 dimensions carries more than 0.01 nats")
    assert "all together 1.9e-06" in said
    assert all(each in said for each in REMEDIES)
    assert ", 40 % into the run" in alarm(collapsed(), PLAN, 0.4)
    assert "the code's one dimension carries" in alarm(collapsed(1), PLAN, 1.0)


def test_tricks_that_are_there_are_not_advised_again() -> None:
    said = alarm(collapsed(), PLAN.with_("free_bits(nats=0.05)"), 1.0)
    assert "--with free_bits" not in said and "(free_bits did not do)" in said and "--with kl_warmup" in said


def test_the_reason_is_the_price_exactly_if_it_is_above_the_largest_variance() -> None:
    """phenomena.md A2: a linear network uses as many dimensions as there are variances above beta · sigma²."""
    found = variances(pictures([2.0, 1.0, 0.5]), Gaussian())
    np.testing.assert_allclose(found[:3], [4, 1, 0.25], rtol=1e-6)
    above, below = Price(1.0, Gaussian(sigma=2.01), 3), Price(1.0, Gaussian(sigma=1.99), 3)
    assert "Why: beta · sigma² = 1 · 2.01² = 4.04 is above the largest variance" in cause(above, found)
    said = cause(below, found)
    assert "The price is not the reason" in said and "would use 1 of 3 dimensions" in said
    assert "would use 2 of 3" in cause(Price(4.0, Gaussian(sigma=0.4), 3), found)


@pytest.mark.parametrize("beta", [0.5, 1.0, 7.0])
def test_what_is_suggested_would_do(beta: float) -> None:
    found = variances(pictures([2.0, 1.0, 0.5]), Gaussian())
    said = suggestion(Price(beta, Gaussian(sigma=9.0), 3), found)
    assert "a linear network would use 3 of 3 dimensions" in said
    sigma = float(said.split("gaussian(sigma=")[1].split(")")[0])
    weight = float(said.split("or beta=")[1].split(":")[0])
    assert 0 < beta * sigma**2 < 0.25 and 0 < weight * 81 < 0.25


def test_more_dimensions_than_the_pictures_have_are_not_promised() -> None:
    found = variances(pictures([2.0, 0.0, 0.0]), Gaussian())
    assert "would use 1 of 3 dimensions" in suggestion(Price(1.0, Gaussian(sigma=9.0), 3), found)


def test_variances_are_the_same_from_few_and_many_pictures() -> None:
    few = torch.rand(6, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.linalg.eigvalsh(np.cov(few.flatten(1).numpy().T))[::-1][:5]
    np.testing.assert_allclose(variances(few, Gaussian()), expected, rtol=1e-9)
    assert not len(variances(few[:1], Gaussian()))
    assert "all the same" in cause(Price(1.0, Gaussian(), 2), variances(few[:1].repeat(4, 1, 1, 1), Gaussian()))


def test_bernoulli_pixels_are_measured_by_their_own_spread() -> None:
    """Black and white pixels that agree: standardised, one direction has all the variance."""
    white = (torch.rand(2000, 1, 1, 1, generator=torch.Generator().manual_seed(0)) < 0.2).double().repeat(1, 1, 1, 5)
    found = variances(torch.cat([white, torch.zeros(2000, 1, 1, 1)], 3), Bernoulli())
    np.testing.assert_allclose(found[:2], [5, 0], atol=5e-3)
    assert "Why: beta = 6 is above" in cause(Price(6.0, Bernoulli(), 2), found)
    assert "Take beta=0.002: there a linear network would use 1 of 2" in cause(Price(6.0, Bernoulli(), 2), found)


def test_units_that_never_change_are_told() -> None:
    moving = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    moving[:, :3] = 0
    said = alarm(latent(moving, None), PLAN, 1.0)
    assert said.startswith("dead units: 3 of the code's 8 numbers are the same for every picture")
    assert "smaller latent" in said
    assert "all 8 numbers" in alarm(latent(torch.zeros(50, 8), None), PLAN, 1.0)


def test_every_trick_against_it_is_for_autoencoders() -> None:
    for symptom in (Symptom.POSTERIOR_COLLAPSE, Symptom.DEAD_UNITS):
        named = _alarm.remedies(symptom, [])
        assert "--with " in named
        cards: list[Any] = [
            cast(Any, _alarm.TRICKS.load(each.split()[1].rstrip(".,")))
            for each in named.split("--with")[1:]
            for each in [f"x {each}"]
        ]
        assert all("reconstruction" in card.card.tasks for card in cards)
