"""The alarm of collapsed codes: when it sounds, and whether the reason it gives is the right one."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from netwright import recipe
from netwright.core.symptoms import Symptom
from netwright.nn.observation import Bernoulli, Gaussian
from netwright.nn.output import Decoded
from netwright.recipes import _alarm
from netwright.recipes._alarm import Price, alarm, cause, remedies, suggestion, variances
from netwright.tasks._latent import Latent
from netwright.tricks import TRICKS
from tests.tricks.autoencoders import tiny_picture_run, tiny_variational

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


def test_every_trick_against_it_is_for_autoencoders_and_can_be_given() -> None:
    for symptom in (Symptom.POSTERIOR_COLLAPSE, Symptom.DEAD_UNITS):
        named = remedies(symptom, [])
        specs = re.findall(r'--with (?:"([^"]+)"|(\w+))', named)
        assert specs
        assert all("reconstruction" in TRICKS.build(one or other).card.tasks for one, other in specs)
    assert "--with \"sparse(kind='kl')\"" in remedies(Symptom.DEAD_UNITS, [])
    assert "--with \"sparse(kind='kl')\"" in remedies(Symptom.DEAD_UNITS, ["sparse"])  # it is l1 that is there
    assert "(sparse(kind='kl') did not do)" in remedies(Symptom.DEAD_UNITS, ["sparse(kind='kl', rho=0.1)"])


def test_what_excludes_another_is_not_advised_beside_it() -> None:
    assert "--with beta_schedule" not in remedies(Symptom.POSTERIOR_COLLAPSE, ["kl_warmup"])  # it excludes that
    assert "--with kl_warmup" not in remedies(Symptom.POSTERIOR_COLLAPSE, ["beta_schedule"])
    assert "--with free_bits" in remedies(Symptom.POSTERIOR_COLLAPSE, ["beta_schedule"])


def test_of_few_that_are_kept_some_are_never_chosen() -> None:
    plan = PLAN.with_("sparse(kind='topk', k=2, anneal=0.5)")
    moving = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    moving[:, :4] = 0
    assert alarm(latent(moving, None), plan, 1.0) == ""  # half
    moving[:, :5] = 0
    said = alarm(latent(moving, None), plan, 1.0)
    assert "5 of the code's 8 numbers" in said and "never among the 2 largest" in said and "--with" not in said
    assert alarm(latent(moving, None), plan, 0.49) == ""  # training keeps more than evaluation
    assert "50 % into the run" in alarm(latent(moving, None), plan, 0.5)
    assert alarm(latent(moving, None), PLAN.with_("sparse"), 0.1).startswith("dead units, 10 %")
    fixed = torch.randn(50, 8) * torch.tensor([1.0] * 5 + [0.0] * 3)
    assert "here 5 have to do" in alarm(latent(fixed, None), PLAN.with_("sparse(kind='topk', k=5)"), 1.0)


def test_a_posterior_that_is_the_same_for_all_has_collapsed_whatever_it_costs() -> None:
    said = alarm(latent(torch.full((50, 2), 3.0), torch.zeros(50, 2)), PLAN, 1.0)
    assert "all of the code's 2 dimensions are the same for every picture, at 9 nats" in said
    assert alarm(latent(torch.full((1, 2), 3.0), torch.zeros(1, 2)), PLAN, 1.0) == ""  # of one picture nobody knows
    assert alarm(latent(torch.full((1, 2), 3.0), None), PLAN, 1.0) == ""


def test_what_a_schedule_multiplies_is_in_the_price_and_not_in_the_suggestion() -> None:
    found = variances(pictures([2.0, 1.0, 0.5]), Gaussian())
    price = Price(1.0, Gaussian(sigma=2.0), 3, factor=3.0, last=4.0)
    assert "Why: beta · sigma² = 3 · 1 · 2² = 12 is above" in cause(price, found)
    weight = float(suggestion(price, found).split("or beta=")[1].split(":")[0])
    assert weight == pytest.approx(0.03 / 4, rel=0.1) and 4 * weight * 4 < 0.25
    said = cause(replace(price, factor=0.5), found)
    assert "The price is not the reason: beta · sigma² = 0.5 · 1 · 2² = 2" in said
    assert "But it ends at beta · sigma² = 4 · 1 · 2² = 16" in said
    assert "It is the training" in cause(replace(price, factor=0.5, last=0.5), found)


def test_the_price_of_now_is_read_from_the_tricks() -> None:
    run = tiny_picture_run("beta_schedule(kind='linear', first=2, last=6)", network=tiny_variational)
    assert [_alarm._factor(run, progress) for progress in (0, 0.5, 1)] == [2, 4, 6]
    run = tiny_picture_run("kl_warmup(until=0.5)", network=tiny_variational)
    assert [_alarm._factor(run, progress) for progress in (0, 0.25, 1)] == [0, 0.5, 1]


def test_the_pictures_of_a_run_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_picture_run(network=tiny_variational, n=12)
    assert _alarm._pictures(run).shape == (12, 3, 8, 8)
    monkeypatch.setattr(_alarm, "PICTURES", 6)
    assert len(_alarm._pictures(run)) == 6
    monkeypatch.setattr(_alarm, "PICTURES", 1024)
    monkeypatch.setattr(_alarm, "VALUES", 192 * 5)
    monkeypatch.setattr(_alarm, "FEWEST", 2)
    assert len(_alarm._pictures(run)) == 5
    said = alarm(collapsed(), PLAN, 0.5, run)
    monkeypatch.setattr(_alarm, "_pictures", None)
    assert alarm(collapsed(), PLAN, 0.5, run) == said


def test_variances_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    for observation in (Gaussian(), Bernoulli()):
        whole = variances(picture, observation)
        monkeypatch.setattr(_alarm, "AT_ONCE", 6 * 7)
        np.testing.assert_allclose(variances(picture, observation), whole, rtol=1e-9, atol=1e-12)
        monkeypatch.undo()
