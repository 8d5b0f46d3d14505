"""The rule on planted cases: what was learnt from is quiet, and what lies elsewhere is found and mended."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.normalise import Normalise
from netwright.lab.domain_shift import AS_WANTED, MORE, OWN_MOMENTS, REFRESHED, domain_shift
from netwright.lab.transfer_words import differences
from netwright.nn.norm import refresh_
from tests.support import hash_of

WANTED = Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def pictures(n: int = 48, mean: float = 0.5, std: float = 0.2) -> list[Tensor]:
    """Smooth pictures in [0, 1], N C H W."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(n, 3, 4, 4, generator=draw)
    smooth = nn.functional.interpolate(coarse, size=16, mode="bilinear")
    smooth = (smooth - smooth.mean()) / smooth.std()
    return list((smooth * std + mean).split(16))


def network(kind: str) -> nn.Module:
    """Three convolutions, their activations, and batch norms that know pictures of mean 0.5 and deviation 0.2."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    activation = nn.Tanh if kind == "tanh" else nn.ReLU
    for before, after in pairwise((3, 16, 16, 16)):
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        layers += [nn.BatchNorm2d(after)] if kind == "batch" else []
        layers.append(activation())
    made = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    refresh_(made, [WANTED(batch) for batch in pictures()])
    return made


class TestRule:
    @pytest.mark.parametrize("kind", ["relu", "tanh", "batch"])
    def test_pictures_like_the_pretraining_s_are_nothing_odd(self, kind: str) -> None:
        found = domain_shift(network(kind), pictures(), WANTED)
        assert not (found.inputs_differ or found.norms_differ or found.saturates)

    @pytest.mark.parametrize("kind", ["relu", "tanh", "batch"])
    def test_a_little_darker_is_nothing_odd(self, kind: str) -> None:
        assert not domain_shift(network(kind), pictures(mean=0.42, std=0.17), WANTED).saturates

    def test_tanh_saturates_on_inputs_ten_times_as_large_and_own_moments_mend_it(self) -> None:
        found = domain_shift(network("tanh"), pictures(std=2.0), WANTED)
        assert found.inputs_differ
        assert found.saturates
        assert found.worst is not None
        assert found.worst.mended == OWN_MOMENTS
        assert found.worst.flat.low > MORE

    def test_bytes_that_nobody_divided_saturate_tanh(self) -> None:
        assert domain_shift(network("tanh"), [batch * 255 for batch in pictures()], WANTED).saturates

    def test_batch_norms_on_faint_pictures_differ_and_refreshing_brings_them_back(self) -> None:
        found = domain_shift(network("batch"), pictures(std=0.02), WANTED)
        assert found.inputs_differ
        assert found.norms_differ
        before, after = found.condition(AS_WANTED).stages, found.condition(REFRESHED).stages
        assert max(stage.log_ratio[0] for stage in before if stage.log_ratio) > np.log(4)
        assert max(stage.log_ratio[0] for stage in after if stage.log_ratio) < 0.05  # the mean of three batches
        assert max(stage.shift[0] for stage in after if stage.shift) < 0.05

    def test_rectifiers_that_are_scaled_alike_do_not_saturate_but_their_scale_is_told(self) -> None:
        plain = network("relu")
        for layer in plain.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        found = domain_shift(plain, pictures(std=2.0), WANTED)
        assert found.inputs_differ
        assert not found.saturates
        assert found.scale == pytest.approx(10, rel=0.01)  # own moments also take away the small mean

    def test_units_that_die_are_counted_against_the_mended_ones(self) -> None:
        plain = network("relu")
        first = plain[0]
        assert isinstance(first, nn.Conv2d)
        with torch.no_grad():
            first.weight[:4] = first.weight[:4].abs()  # inputs that are negative everywhere silence these
            assert first.bias is not None
            first.bias.zero_()
        found = domain_shift(plain, pictures(mean=0.0, std=0.02), WANTED)
        rise = next(rise for rise in found.rises if rise.stage == 0)
        assert rise.dead >= 4
        assert found.saturates


class TestTable:
    def test_own_moments_give_mean_0_and_deviation_1(self) -> None:
        found = domain_shift(network("batch"), pictures(mean=0.2, std=0.05), WANTED)
        own = found.condition(OWN_MOMENTS)
        np.testing.assert_allclose(own.mean, 0, atol=1e-5)
        np.testing.assert_allclose(own.std, 1, atol=1e-5)
        np.testing.assert_allclose(found.conditions[0].mean, [-1.5] * 3, atol=0.05)
        np.testing.assert_allclose(found.conditions[0].std, [0.25] * 3, atol=0.02)

    def test_bytes_and_values_say_the_same(self) -> None:
        bytes_ = [(batch.clamp(0, 1) * 255).round().to(torch.uint8) for batch in pictures()]
        values = [batch.float() / 255 for batch in bytes_]
        first, second = (domain_shift(network("relu"), each, WANTED).to_json() for each in (bytes_, values))
        assert first == second

    def test_the_network_stays_as_it_was(self) -> None:
        made = network("batch")
        before = hash_of(made.state_dict())
        domain_shift(made, pictures(mean=0.1), WANTED)
        assert hash_of(made.state_dict()) == before

    def test_json_holds_every_condition_and_the_fix(self) -> None:
        told = domain_shift(network("tanh"), pictures(std=2.0), WANTED).to_json()
        assert [condition["name"] for condition in told["conditions"]] == [AS_WANTED, OWN_MOMENTS]
        assert told["fix"] == OWN_MOMENTS
        assert told["conditions"][0]["stages"][0]["flat"]["n"] == 48


class TestRefusals:
    def test_no_pictures(self) -> None:
        with pytest.raises(NetwrightError, match="no pictures"):
            domain_shift(network("relu"), [], WANTED)

    def test_a_network_in_which_nothing_can_be_watched(self) -> None:
        plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
        with pytest.raises(NetwrightError, match="watched"):
            domain_shift(plain, pictures(), WANTED)


class TestWords:
    def test_faint_pictures_are_told_with_how_much_narrower_norms_find_them(self) -> None:
        shift = domain_shift(network("batch"), pictures(std=0.02), WANTED)
        told = "\n".join(differences(shift))
        assert "deviation 0.10, 0.10, 0.10, not 0 and 1" in told
        assert "times as wide or narrow" in told

    def test_what_saturates_is_told_with_its_interval_before_and_after(self) -> None:
        told = "\n".join(differences(domain_shift(network("tanh"), pictures(std=2.0), WANTED)))
        assert "of values saturate" in told
        assert f"with {OWN_MOMENTS}" in told
        assert "units there that never answer" in told

    def test_values_out_of_scale_are_told(self) -> None:
        told = "\n".join(differences(domain_shift(network("relu"), [255 * batch for batch in pictures()], WANTED)))
        assert f"times as large as with {OWN_MOMENTS}" in told
