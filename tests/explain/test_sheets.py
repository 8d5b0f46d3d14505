"""Filters, activation maps and dreams."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.engine.normalise import Normalise
from netwright.explain import METHODS
from netwright.explain._method import Subject, What, Where
from netwright.explain.activations import Activations, strongest
from netwright.explain.dream import Dream, _Adam, course_of, developed, total_variation
from netwright.explain.filters import Filters, alikeness, first_kernels, judged
from netwright.models import create_model
from tests.explain.networks import Cam, plain

NORMALISE = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def subject(**changes: Any) -> Subject:
    torch.manual_seed(0)
    return Subject(Cam(), NORMALISE, (3, 24, 24), **changes)


class TestFilters:
    def test_the_strongest_come_first_and_grey_is_zero(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 2, 2), nn.Flatten(), nn.LazyLinear(2))
        with torch.no_grad():
            network[0].weight.zero_()
            network[0].weight[0, 0, 0, 0] = 0.1
            network[0].weight[1, 2, 1, 1] = -3.0
        (sheet,) = Filters().sheets(Subject(network))
        assert sheet.tiles[0][1, 1].tolist() == [128, 128, 0]  # the strong one, blue and negative
        assert sheet.tiles[1][0, 0].tolist() == [255, 128, 128]
        assert sheet.tiles[0][0, 0].tolist() == [128, 128, 128]

    def test_neighbours_are_alike_or_not(self) -> None:
        """Known correlations: 1 for a constant kernel, -1 for a chessboard, near 0 for noise."""
        chess = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(3, 3)
        assert alikeness(torch.ones(1, 1, 6, 6))[0] == pytest.approx(1)
        assert alikeness(chess[None, None])[0] == pytest.approx(-1)
        noise = alikeness(torch.randn(200, 3, 7, 7, generator=torch.Generator().manual_seed(0)))
        assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(200)

    def test_the_note_tells_trained_from_drawn(self) -> None:
        torch.manual_seed(0)
        network = create_model("resnet20(width=16)", classes=3)
        (drawn,) = Filters().sheets(Subject(network))
        assert "untrained" in drawn.note
        with torch.no_grad():
            across = torch.linspace(-1, 1, 3).expand(3, 3)
            network.conv1.weight.copy_(network.conv1.weight * 0.1 + across)
        (trained,) = Filters().sheets(Subject(network))
        assert "are alike" in trained.note
        assert trained.facts["neighbour_correlation"]["low"] > 0

    def test_kernels_that_alternate_are_trained_as_well(self) -> None:
        """Discrete Laplacians: neighbours oppose each other, which chance does not do."""
        laplace = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
        noise = 0.05 * torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        note, facts = judged(laplace + noise)
        assert facts["neighbour_correlation"]["high"] < 0
        assert "untrained" not in note
        assert "oppose each other" in note

    def test_a_dense_layer_is_shown_as_large_as_its_picture(self) -> None:
        network = create_model("mlp", classes=3, in_channels=1)
        side = int(next(network.parameters()).shape[1] ** 0.5)
        _, weight = first_kernels(Subject(network, shape=(1, side, side)))
        assert weight.shape[1:] == (1, side, side)
        with pytest.raises(NetwrightError, match="no kernels to draw"):
            first_kernels(Subject(nn.Sequential(nn.Flatten(), nn.Linear(5, 2))))

    def test_a_spectrum_peaks_where_the_kernel_swings(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 1, 8))
        with torch.no_grad():
            network[0].weight.copy_(torch.cos(2 * torch.pi * torch.arange(8) / 4).expand(1, 1, 8, 8))
        (sheet,) = METHODS.build("filters(shown='spectrum')").sheets(Subject(network))
        light = sheet.tiles[0].astype(int).sum(2)
        row, column = divmod(int(light.argmax()), 16)
        assert row == 8  # no change downwards
        assert column in (4, 12)  # a quarter of a turn each pixel: 4 of 16 to either side


class TestActivations:
    def test_a_sheet_for_each_stage_with_the_strongest_channels(self) -> None:
        image = torch.randn(1, 3, 24, 24)
        asked = subject()
        sheets = Activations(channels=2).sheets(asked, image)
        last = asked.network.maps(image)[-1][0].detach()
        order = last.mean((1, 2)).argsort(descending=True)[:2].tolist()
        assert [sheet.facts["stage"] for sheet in sheets] == [0, 1]
        assert sheets[1].captions == ["mean", *(f"channel {k}" for k in order)]
        assert sheets[1].tiles[0].shape == (12, 12, 3)

    def test_silent_channels_are_counted(self) -> None:
        asked = subject()
        with torch.no_grad():
            asked.network.conv.bias[:2] = -1e6
        sheet = Activations().sheets(asked, torch.randn(1, 3, 24, 24))[-1]
        assert sheet.facts["silent"] == 2
        assert "2 of 5 channels are 0 everywhere" in sheet.note

    def test_strength_is_the_mean_of_what_is_positive(self) -> None:
        assert strongest(torch.tensor([[[-9.0, 1.0]], [[2.0, 0.0]], [[0.5, 0.4]]])) == [1, 0, 2]


class TestDream:
    quick = "steps=24, size=24"

    def test_the_answer_rises_and_the_seed_decides(self) -> None:
        method = METHODS.build(f"dream({self.quick})")
        first, course = method.painted(subject(), 1)
        again, _ = method.painted(subject(), 1)
        other, _ = METHODS.build(f"dream({self.quick}, seed=1)").painted(subject(), 1)
        assert course[-1] > course[0]
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.min() >= 0
        assert first.max() <= 1

    def test_without_regularisers_neighbours_differ_more(self) -> None:
        rough, _ = Dream(steps=24, size=24, smooth=0, l2=0).painted(subject(), 1)
        calm, _ = Dream(steps=24, size=24, smooth=50).painted(subject(), 1)
        assert total_variation(rough) > 1.2 * total_variation(calm)

    def test_a_channel_can_be_asked_for(self) -> None:
        asked = subject()
        with torch.no_grad():
            asked.network.conv.bias[3] = 1.0  # so that it answers noise, too
        _, course = Dream(steps=16, size=24, channel=3, stage=-1).painted(asked, None)
        assert course[-1] > course[0]

    def test_a_network_of_ones_own_and_grey_pictures(self) -> None:
        torch.manual_seed(0)
        assert Dream(steps=2, size=16).painted(Subject(plain(), NORMALISE, (3, 16, 16)), 0)[0].shape == (1, 3, 16, 16)
        grey = Subject(create_model("lenet5", classes=3, in_channels=1), Normalise((0.5,), (0.5,)), (1, 28, 28))
        assert Dream(steps=2).painted(grey, 2)[0].shape == (1, 1, 28, 28)

    def test_a_rectified_score_is_climbed_before_the_rectifier(self) -> None:
        """SqueezeNet's scores are 0 wherever they are negative, and so is their slope."""
        torch.manual_seed(0)
        network = create_model("squeezenet1_1", classes=3)
        with torch.no_grad():
            network.classifier[1].bias.fill_(-0.5)
        asked = Subject(network, NORMALISE, (3, 32, 32))
        assert float(asked.probabilities(torch.randn(1, 3, 32, 32)).amax()) == pytest.approx(1 / 3)
        _, course = Dream(steps=16, size=32).painted(asked, 0)
        assert course[-1] > course[0]

    def test_its_steps_are_adams(self) -> None:
        random = torch.Generator().manual_seed(0)
        mine = torch.randn(9, dtype=torch.double, generator=random)
        theirs = mine.clone().requires_grad_()
        ours, torchs = _Adam(mine, 0.05), torch.optim.Adam([theirs], lr=0.05)
        for _ in range(5):
            theirs.grad = torch.randn(9, dtype=torch.double, generator=random)
            ours.step(theirs.grad)
            torchs.step()
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)

    def test_a_step_is_told_in_as_many_digits_as_it_has(self) -> None:
        assert "rose from 0.0321 to 0.0389" in course_of(0.0321, 0.0389, 8)
        assert "rose from 0.032101 to 0.032104" in course_of(0.0321010, 0.0321042, 8)
        assert "fell from 0.0389 to 0.0321" in course_of(0.0389, 0.0321, 8)
        assert "stayed at 0" in course_of(0.0, 0.0, 8)

    def test_a_class_and_a_channel_are_not_both_painted(self) -> None:
        assert Dream().wants_class
        assert not Dream(channel=1).wants_class
        with pytest.raises(NetwrightError, match="paints one of them"):
            Dream(channel=1, size=16).sheets(subject(), target=0)
        with pytest.raises(NetwrightError, match="stage 0 is that of a channel"):
            Dream(stage=0, size=16).sheets(subject(), target=0)

    def test_total_variation_in_closed_form(self) -> None:
        ramp = torch.arange(4.0).expand(1, 1, 4, 4)
        assert float(total_variation(ramp)) == pytest.approx(0.5)  # 1 across, 0 down

    def test_noise_has_the_spectrum_of_photos(self) -> None:
        """Power falls as 1/f², amplitude as 1/f: ten times as far out, a tenth as strong."""
        random = torch.Generator().manual_seed(0)
        spectrum = 1e-3 * torch.randn(1, 1, 64, 33, 2, generator=random)
        value = torch.logit(developed(spectrum, 64).double())
        amplitude = torch.fft.rfft2(value)[0, 0].abs() / (spectrum[0, 0].pow(2).sum(-1).sqrt() + 1e-12)
        assert float(amplitude[0, 3] / amplitude[0, 30]) == pytest.approx(10, rel=1e-2)

    def test_what_is_missing_is_said(self) -> None:
        with pytest.raises(NetwrightError, match="something to look for"):
            Dream().sheets(subject())
        with pytest.raises(NetwrightError, match="no channel 99"):
            Dream(channel=99, size=16).sheets(subject())
        with pytest.raises(NetwrightError, match="no stage 7"):
            Dream(channel=0, stage=7, size=16).sheets(subject())


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_says_what_it_is(name: str) -> None:
    made = METHODS.build(name)
    assert isinstance(made, Where | What)
    assert METHODS.summary(name)
    assert "doi" in METHODS.summary(name) or "20" in METHODS.summary(name), "its paper"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gradcan", "did you mean 'gradcam'"),
        ("gradcam(stages=1)", "unknown option of gradcam 'stages'"),
        ("gradcam(stage='last')", "stage cannot be 'last'"),
        ("occlusion(size=0)", "size cannot be 0"),
        ("dream(steps=0)", "steps cannot be 0"),
        ("filters(most=1000)", "most cannot be 1000"),
    ],
)
def test_mistakes_are_told(spec: str, words: str) -> None:
    with pytest.raises(NetwrightError) as told:
        METHODS.build(spec)
    assert words in str(told.value)
