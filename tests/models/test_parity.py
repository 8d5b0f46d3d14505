"""The maths of each family against its reference: torchvision's networks, the paper's table."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from netwright.models import create_model, list_models, summaries, variant
from netwright.models._parity import parity, reference_network, relative_error, tensors_of
from netwright.models.lenet import C3_SEES, LeNet, PartialConv2d, Squash, Subsample
from netwright.models.resnet import BasicBlock
from netwright.models.resnet_cifar import PaddedShortcut

NAMES = [name for name in list_models() if variant(name).reference]
SMALLEST = {summaries()[name].family: name for name in sorted(NAMES, key=lambda name: -variant(name).params)}


@pytest.mark.parametrize("name", SMALLEST.values())
def test_the_smallest_of_each_family_answers_as_its_reference(name: str) -> None:
    found = parity(name)
    assert found.output <= 1e-5
    assert found.gradient <= 1e-4  # sums over whole maps, in another order


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_has_the_tensors_of_its_reference(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = create_model(name, classes=variant(name).classes), reference_network(variant(name).reference)
    assert tensors_of(ours) == tensors_of(theirs)


def test_what_is_not_a_number_is_no_parity() -> None:
    right, wrong = torch.ones(3), torch.tensor([1.0, float("nan"), 1.0])
    assert relative_error(wrong, right) == relative_error(right, wrong) == float("inf")


def test_a_wrong_network_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = BasicBlock.forward
    monkeypatch.setattr(BasicBlock, "forward", lambda self, x: right(self, x) * (1 + 1e-4))
    assert parity("resnet18").output > 1e-5


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_is_torchvisions_on_batch_statistics_too(name: str) -> None:
    torch.manual_seed(0)
    reference, model = reference_network(f"torchvision/{name}"), create_model(name, classes=1000)
    model.load_state_dict(reference.state_dict())
    x = torch.randn(4, 3, 96, 96)
    with torch.no_grad():
        assert relative_error(model(x), reference(x)) <= 1e-5
    for given, wanted in zip(model.buffers(), reference.buffers(), strict=True):
        assert relative_error(given.float(), wanted.float()) <= 1e-5


def test_resnet_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    reference, model = torchvision.models.resnet18(), create_model("resnet18", classes=1000)
    for (name, wanted), given in zip(reference.named_parameters(), model.parameters(), strict=True):
        spread = wanted.std().item()
        assert given.std().item() == pytest.approx(spread, rel=0.1), name
        assert given.mean().item() == pytest.approx(wanted.mean().item(), abs=0.1 * spread + 1e-9), name


def test_resnet18_halves_at_every_stage() -> None:
    with torch.device("meta"):
        maps = create_model("resnet18").stages(torch.rand(1, 3, 224, 224))
    assert [tuple(map_.shape[1:]) for map_ in maps] == [
        (64, 112, 112),
        (64, 56, 56),
        (128, 28, 28),
        (256, 14, 14),
        (512, 7, 7),
    ]


def test_the_padded_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    x = torch.randn(2, 16, 8, 8)
    y = PaddedShortcut(16, 32, 2)(x)
    assert y.shape == (2, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any() and not y[:, 24:].any()


LENET_TABLE = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 850}
LENET_SHAPES = {
    "c1": (6, 28, 28),
    "s2": (6, 14, 14),
    "c3": (16, 10, 10),
    "s4": (16, 5, 5),
    "c5": (120, 1, 1),
    "f6": (84,),
}


def test_lenet_has_the_papers_parameters_layer_by_layer() -> None:
    model = create_model("lenet5", in_channels=1)
    counts = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in LENET_TABLE}
    assert counts == LENET_TABLE
    assert sum(counts.values()) == variant("lenet5").params


def test_lenet_has_the_papers_shapes() -> None:
    model, shapes = create_model("lenet5", in_channels=1), {}
    for name in LENET_SHAPES:
        layer = model.get_submodule(name)
        layer.register_forward_hook(lambda _, __, y, name=name: shapes.__setitem__(name, tuple(y.shape[1:])))
    model(torch.rand(2, 1, 32, 32))
    assert shapes == LENET_SHAPES


def test_lenet_table_one_connects_as_the_paper_says() -> None:
    assert sorted(map(len, C3_SEES)) == [3] * 6 + [4] * 9 + [6]
    assert [sum(source in maps for maps in C3_SEES) for source in range(6)] == [10] * 6
    rows = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    assert rows == ["".join("X" if source in maps else "." for maps in C3_SEES) for source in range(6)]


def test_a_partial_convolution_sees_only_its_maps() -> None:
    torch.manual_seed(0)
    layer = PartialConv2d(6, C3_SEES, 5)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 14, 14)
    first = 0
    for target, maps in enumerate(C3_SEES):
        kernel = layer.weight[first : first + len(maps)][None]
        wanted = F.conv2d(x[:, list(maps)], kernel, layer.bias[target : target + 1])
        assert torch.allclose(layer(x)[:, target], wanted[:, 0], atol=1e-4)
        first += len(maps)


def test_subsampling_sums_scales_shifts_and_squashes() -> None:
    layer = Subsample(1)
    nn.init.constant_(layer.coefficient, 0.5)
    nn.init.constant_(layer.bias, -4.0)
    wanted = Squash()(torch.tensor([[[[0.5 * (1 + 2 + 3 + 4) - 4.0]]]]))
    assert torch.allclose(layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])), wanted)
    assert wanted.item() == pytest.approx(1.0, abs=1e-4)  # the paper chose its constants so that f(1) = 1


def test_lenet_starts_uniform_in_the_papers_bounds() -> None:
    torch.manual_seed(0)
    model = LeNet()
    bounds = {"c1": 2.4 / 25, "c5": 2.4 / 400, "f6": 2.4 / 120, "output": 2.4 / 84}
    for name, bound in bounds.items():
        weight = model.get_submodule(name).weight
        assert 0.95 * bound < weight.abs().max().item() <= bound, name
    c3 = model.get_submodule("c3")
    assert isinstance(c3, PartialConv2d)
    for count, rows in {3: slice(0, 18), 4: slice(18, 54), 6: slice(54, 60)}.items():
        bound = 2.4 / (25 * count)
        assert 0.95 * bound < c3.weight[rows].abs().max().item() <= bound * (1 + 1e-6), count


@pytest.mark.parametrize("side", [28, 32, 40, 96])
@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_lenet_takes_other_images(side: int, modern: bool, channels: int) -> None:
    model = create_model(f"lenet5(modern={modern})", in_channels=channels)
    assert model(torch.rand(1, channels, side, side)).shape == (1, 10)
