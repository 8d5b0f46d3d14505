"""SqueezeNet: the paper's table 1, its fire modules and bypasses, and published weights on real photos."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._family import Family
from netwright.models.squeezenet import Fire, SqueezeNet, fire_widths

# Table 1: maps of squeeze, expand 1x1 and expand 3x3, and parameters, of fire2 to fire9; then conv1 and conv10.
FIRES = [
    (16, 64, 64, 11_920),
    (16, 64, 64, 12_432),
    (32, 128, 128, 45_344),
    (32, 128, 128, 49_440),
    (48, 192, 192, 104_880),
    (48, 192, 192, 111_024),
    (64, 256, 256, 188_992),
    (64, 256, 256, 197_184),
]
CONV1, CONV10 = 14_208, 513_000


def meta(spec: str, classes: int = 1000) -> Family:
    with torch.device("meta"):
        return create_model(spec, classes=classes)


def fires(model: nn.Module) -> list[Fire]:
    return [layer for layer in model.modules() if isinstance(layer, Fire)]


def size(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def test_it_is_table_1() -> None:
    model = meta("squeezenet1_0")
    found = [
        (f.squeeze.out_channels, f.expand1x1.out_channels, f.expand3x3.out_channels, size(f)) for f in fires(model)
    ]
    assert found == FIRES
    assert (size(model.get_submodule("features.0")), size(model.get_head())) == (CONV1, CONV10)


# The paper's sides are those of an image of 227 pixels: it has no padding.
@pytest.mark.parametrize(("version", "maps"), [("1_0", [96, 256, 512, 512]), ("1_1", [64, 128, 256, 512])])
def test_maps_have_the_papers_sizes(version: str, maps: list[int]) -> None:
    found = meta(f"squeezenet{version}").stages(torch.rand(1, 3, 227, 227, device="meta"))
    sides = [111, 55, 27, 13] if version == "1_0" else [113, 56, 28, 14]
    assert [tuple(map_.shape[1:]) for map_ in found] == [(m, s, s) for m, s in zip(maps, sides, strict=True)]


@pytest.mark.parametrize(("name", "side"), [("squeezenet1_0", 21), ("squeezenet1_1", 17)])
def test_the_smallest_image_keeps_a_pixel_and_a_smaller_one_does_not(name: str, side: int) -> None:
    model = meta(name)
    assert model.smallest == side
    assert model.stages(torch.rand(1, 3, side, side, device="meta"))[-1].shape[2:] == (1, 1)
    with pytest.raises(RuntimeError, match="too small"):
        model.maps(torch.rand(1, 3, side - 1, side - 1, device="meta"))


@pytest.mark.parametrize("skip", [False, True])
def test_a_fire_module_squeezes_expands_and_adds(skip: bool) -> None:
    torch.manual_seed(0)
    fire = Fire(8, 2, 5, 3, norm="none", activation="relu", skip=skip)
    x = torch.randn(2, 8, 6, 6)
    s = F.relu(torch.einsum("sc, nchw -> nshw", fire.squeeze.weight[..., 0, 0], x) + fire.squeeze.bias[:, None, None])
    one = torch.einsum("cs, nshw -> nchw", fire.expand1x1.weight[..., 0, 0], s) + fire.expand1x1.bias[:, None, None]
    three = F.conv2d(F.pad(s, (1, 1, 1, 1)), fire.expand3x3.weight, fire.expand3x3.bias)
    wanted = torch.cat([one, three], 1).relu() + (x if skip else 0)
    assert torch.allclose(fire(x), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_bypasses_go_around_fire_3_5_7_and_9(name: str) -> None:
    skips = [number for number, fire in enumerate(fires(meta(f"{name}(skip=True)")), 2) if fire.skip]
    assert skips == [3, 5, 7, 9]
    assert not any(fire.skip for fire in fires(meta(name)))


@pytest.mark.parametrize(
    ("squeeze_ratio", "share_3x3", "widths"),
    [(0.125, 0.5, (16, 64, 64)), (0.75, 0.5, (96, 64, 64)), (0.5, 0.99, (64, 1, 127)), (0.01, 0.01, (1, 127, 1))],
)
def test_widths_follow_from_two_proportions(
    squeeze_ratio: float, share_3x3: float, widths: tuple[int, int, int]
) -> None:
    assert fire_widths(128, squeeze_ratio, share_3x3) == widths
    fire = fires(meta(f"squeezenet1_0({squeeze_ratio=}, {share_3x3=})"))[0]
    assert (fire.squeeze.out_channels, fire.expand1x1.out_channels, fire.expand3x3.out_channels) == widths


@pytest.mark.parametrize("option", ["squeeze_ratio=0.0", "share_3x3=1.0", "version='1.2'"])
def test_networks_that_do_not_exist_are_refused(option: str) -> None:
    with pytest.raises(NetwrightError, match="cannot be"):
        create_model(f"squeezenet1_0({option})")


@pytest.mark.parametrize("rectify_scores", [True, False])
def test_scores_are_rectified_where_asked(rectify_scores: bool) -> None:
    torch.manual_seed(0)
    model = SqueezeNet(classes=50, rectify_scores=rectify_scores).eval()
    scores = model(torch.rand(2, 3, 64, 64))
    assert bool((scores < 0).any()) is not rectify_scores


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_embedding_is_the_mean_of_the_last_map(activation: str) -> None:
    torch.manual_seed(0)
    model = create_model(f"squeezenet1_1({activation=})", classes=0).eval()
    x = torch.rand(2, 3, 64, 48)
    assert torch.allclose(model(x), model.stages(x)[-1].mean((2, 3)), atol=1e-6)


def test_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    reference, model = torchvision.models.squeezenet1_0(), SqueezeNet()
    for (name, wanted), given in zip(reference.named_parameters(), model.parameters(), strict=True):
        assert given.std().item() == pytest.approx(wanted.std().item(), rel=0.1), name
        bound = wanted.abs().max().item()  # where it is drawn uniformly, and not normally as the head
        assert name.startswith("classifier") or given.abs().max().item() == pytest.approx(bound, rel=0.02), name


@pytest.mark.data
def test_published_weights_recognise_real_photos(real_data: Path) -> None:
    weights = real_data / "weights" / "squeezenet1_0-imagenet-dc.pth"
    model = create_model("squeezenet1_0", classes=1000, weights=weights).eval()
    prepare = torchvision.models.SqueezeNet1_0_Weights.IMAGENET1K_V1.transforms()
    photos = sorted((real_data / "imagenet40").glob("*.JPEG"))
    labels = torch.tensor([int(photo.name.split("_")[0]) for photo in photos])
    x = torch.stack([prepare(Image.open(photo).convert("RGB")) for photo in photos])
    with torch.no_grad():
        ranked = torch.cat([model(part).argsort(1, descending=True) for part in x.split(8)])
    hits = ranked == labels[:, None]
    assert len(photos) == 40
    assert (int(hits[:, :1].sum()), int(hits[:, :5].sum())) == (23, 31)
