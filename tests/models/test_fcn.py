"""FCN on any encoder: its skips, its kernels, its number of parameters."""

import pytest
import torch
import torch.nn.functional as F

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models.fcn import LearnedUpsample

ENCODER = "squeezenet1_1"  # maps at 1/2, 1/4, 1/8 and 1/16 of unpadded convolutions, somewhat smaller than that
EXACT = "vgg11(layers=(1, 1, 1, 1, 1), width=8)"  # maps at 1/1 to 1/32


def counted(name: str, classes: int = 21) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in create_model(name, classes=classes).parameters())


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_an_upsampling_starts_as_interpolation_up_to_the_border(factor: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 4)
    wanted = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(LearnedUpsample(3, factor)(x), wanted)


def test_an_upsampling_by_hand() -> None:
    """Along one axis: 0, 1 ↦ 0, ¼, ¾, 1."""
    x = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    wanted = torch.tensor([[0.0, 0.25, 0.75, 1.0]]).expand(4, 4)
    torch.testing.assert_close(LearnedUpsample(1, 2)(x)[0, 0], wanted)


def test_the_number_of_its_parameters() -> None:
    """VGG16's convolutions, one layer of scores a map at 1/32, 1/16 and 1/8 of 512 channels, two kernels a class."""
    columns = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]
    convolutions = sum(9 * before * after + after for before, after in columns)
    assert len(columns) == 13
    scores, kernels = 21 * (512 + 1), 21 * 4 * 4
    assert variant("fcn").params == counted("fcn") == convolutions + 3 * scores + 2 * kernels
    assert counted("fcn(stride=16)") == convolutions + 2 * scores + kernels
    assert counted("fcn(stride=32)") == convolutions + scores


def test_it_starts_as_the_coarser_network() -> None:
    torch.manual_seed(0)
    fine, coarse = (create_model(f"fcn(encoder='{EXACT}', stride={s})", classes=3).eval() for s in (4, 32))
    fine.load_state_dict({**fine.state_dict(), **coarse.state_dict()})
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        scores = coarse.get_submodule("head")(coarse.maps(x)[-1])
        assert torch.equal(coarse(x), F.interpolate(scores, scale_factor=32, mode="bilinear"))
        for factor in (2, 2, 2, 4):
            scores = F.interpolate(scores, scale_factor=factor, mode="bilinear")
        torch.testing.assert_close(fine(x), scores)


def test_each_skip_adds_the_scores_of_its_map() -> None:
    torch.manual_seed(0)
    model = create_model(f"fcn(encoder='{EXACT}', stride=4)", classes=3).eval()
    x = torch.rand(1, 3, 64, 64)
    for place, (index, factors) in {0: (4, (2, 2, 4)), 1: (3, (2, 4)), 2: (2, (4,))}.items():
        skip = model.get_parameter(f"skips.{place}.weight")
        with torch.no_grad():
            before = model(x)
            skip.normal_()
            added = F.conv2d(model.maps(x)[index], skip)
            for factor in factors:
                added = F.interpolate(added, scale_factor=factor, mode="bilinear")
            torch.testing.assert_close(model(x) - before, added, atol=1e-4, rtol=1e-4)


def test_maps_of_unpadded_convolutions_stay_where_they_look() -> None:
    """SqueezeNet's values at 1/16 look at the pixels around 16j + 15, and their scores are placed there."""
    torch.manual_seed(0)
    model = create_model(f"fcn(encoder='{ENCODER}', stride=16)", classes=1).eval()
    x = torch.zeros(1, 3, 128, 128)
    with torch.no_grad():
        model.get_submodule("encoder").forward = lambda x: [spike]
        spike = torch.zeros(1, 512, 7, 7)
        spike[0, :, 2, 4] = 1
        model.get_parameter("head.weight").fill_(1)
        model.get_parameter("head.bias").zero_()
        scores = model(x)[0, 0]
    rows, columns = (scores == scores.max()).nonzero().float().mean(0).tolist()
    assert (abs(rows - (16 * 2 + 15)), abs(columns - (16 * 4 + 15))) == (0.5, 0.5), "16 pixels have no middle one"


@pytest.mark.parametrize("size", [(1, 1), (16, 31), (70, 33)])
@pytest.mark.parametrize("encoder", [ENCODER, "inception_v3", "resnet18"])
def test_any_size_and_encoder(encoder: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = create_model(f"fcn(encoder='{encoder}')", classes=4).eval()
        assert model(torch.rand(2, 3, *size)).shape == (2, 4, *size)


def test_every_parameter_learns_from_the_first_step() -> None:
    model = create_model(f"fcn(encoder='{ENCODER}')", classes=4).train()
    model(torch.rand(2, 3, 40, 40)).square().sum().backward()
    for name, parameter in model.named_parameters():
        if "ups" not in name:
            assert parameter.grad is not None and parameter.grad.any(), name
    assert all(model.get_parameter(name).grad is not None for name in ("ups.0.weight",))


def test_without_classes_it_gives_its_last_map_enlarged() -> None:
    model = create_model(f"fcn(encoder='{ENCODER}')", classes=0).eval()
    assert model(torch.rand(1, 3, 20, 33)).shape == (1, 512, 20, 33)
    assert not list(model.get_head().parameters())


@pytest.mark.parametrize(("encoder", "stride", "fix"), [(ENCODER, 32, "4|8|16"), ("resnet20", 8, "stride=4,")])
def test_a_stride_without_a_map_is_refused(encoder: str, stride: int, fix: str) -> None:
    with pytest.raises(NetwrightError, match=f"needs a map at 1/{stride} .* those of {encoder} are at") as caught:
        create_model(f"fcn(encoder='{encoder}', stride={stride})")
    assert fix in caught.value.fix


@pytest.mark.parametrize("encoder", ["resnet19", "mlp", "fcn", "resnet18(depth=3)"])
def test_what_is_no_encoder_is_refused(encoder: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"fcn(encoder='{encoder}')")
