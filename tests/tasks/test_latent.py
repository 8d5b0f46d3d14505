"""Statistics of codes against numpy, however they are divided into batches; and the alarm of collapse."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.nn.observation import make_observation
from netwright.nn.output import Decoded
from netwright.tasks._latent import ACTIVE, DEAD, Latent

BERNOULLI = make_observation("bernoulli")


def decoded(mean: Tensor, log_variance: Tensor | None = None, code: Tensor | None = None) -> Decoded:
    natural = torch.zeros(len(mean), 1, 2, 2)
    return Decoded(natural, mean if code is None else code, mean, log_variance, BERNOULLI)


def gathered(output: Decoded, *sizes: int) -> Latent:
    found, first = Latent(), 0
    for size in sizes or (len(output.mean),):
        part = slice(first, first + size)
        variance = None if output.log_variance is None else output.log_variance[part]
        found.add(decoded(output.mean[part], variance, output.code[part]))
        first += size
    return found


def random(n: int = 50, d: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    scale = torch.tensor([2.0, 1.0, 1e-3, 0.5])
    return torch.randn(n, d, generator=draw) * scale + 0.3, torch.randn(n, d, generator=draw) - 1


def numpys(mean: Tensor, log_variance: Tensor) -> dict[str, NDArray[np.float64]]:
    m, v = mean.double().numpy(), log_variance.double().exp().numpy()
    return {
        "mean": m.mean(0),
        "deviation": m.std(0),
        "spread": np.sqrt(m.var(0) + v.mean(0)),
        "divergence": (0.5 * (m**2 + v - 1 - np.log(v))).mean(0),
    }


@pytest.mark.parametrize("sizes", [(50,), (1, 49), (20, 20, 10)])
def test_statistics_are_numpys(sizes: tuple[int, ...]) -> None:
    mean, log_variance = random()
    found = gathered(decoded(mean, log_variance), *sizes)
    for name, expected in numpys(mean, log_variance).items():
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert found.n == 50
    assert found.random


def test_the_spread_is_that_of_draws() -> None:
    mean, log_variance = random()
    noise = torch.randn(4000, *mean.shape, generator=torch.Generator().manual_seed(1))
    draws = mean + (0.5 * log_variance).exp() * noise
    # A variance from 200,000 draws is within a hundredth: √(2 / n) of it, five times over.
    np.testing.assert_allclose(gathered(decoded(mean, log_variance)).spread, draws.flatten(0, 1).std(0), rtol=1e-2)


def test_active_dimensions_are_those_above_a_hundredth_of_a_nat() -> None:
    mean = torch.tensor([[0.5, 0.0, 0.15, 0.13], [-0.5, 0.0, -0.15, -0.13]])  # ½ m² = 0.125, 0, 0.01125, 0.00845
    found = gathered(decoded(mean, torch.zeros(2, 4)))
    assert ACTIVE == 0.01
    assert found.active == 2
    assert found.numbers() == {"active_units": 2, "dead_units": 1}


def test_a_code_of_less_than_one_bit_has_collapsed_though_dimensions_are_in_use() -> None:
    """½ m² nats: of ± 1.17 there are 0.684, of ± 1.19 0.708, and a bit is 0.693."""
    below, above = (gathered(decoded(torch.tensor([[m], [-m]]), torch.zeros(2, 1))) for m in (1.17, 1.19))
    assert below.active == above.active == 1
    assert below.collapsed
    assert not above.collapsed


def test_a_posterior_that_is_the_prior_has_collapsed() -> None:
    flat = gathered(decoded(1e-3 * torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(9, 3)))
    assert flat.collapsed
    assert flat.to_json()["collapsed"] is True
    # One that says the same of all pictures, though not what the prior says, is paid for and says nothing of them.
    assert gathered(decoded(torch.zeros(9, 3), torch.full((9, 3), -1.0))).collapsed


def test_codes_without_draws_never_collapse_but_may_be_dead() -> None:
    mean = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, DEAD / 2, 0.01])
    found = gathered(decoded(mean))
    assert not found.collapsed
    assert (found.dead, found.active) == (1, 2)
    assert found.divergence.tolist() == [0, 0, 0]
    assert found.numbers() == {"dead_units": 1}
    assert "collapsed" not in found.to_json()
    np.testing.assert_allclose(found.spread, mean.double().numpy().std(0), rtol=1e-5)


def test_dimensions_that_are_all_the_same_are_all_dead() -> None:
    found = gathered(decoded(torch.ones(5, 3)))
    assert (found.dead, found.active) == (3, 0)
    assert not found.collapsed  # of codes that are not drawn that is another illness


def test_the_share_of_pictures_that_use_a_dimension() -> None:
    code = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [-1.0, 3.0]])
    assert gathered(decoded(code, code=code)).used.tolist() == [0.75, 0.25]
