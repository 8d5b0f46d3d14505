"""Any classifier's body as an encoder: its maps, what is left out, and that its weights still fit."""

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from netwright.core.errors import NetwrightError
from netwright.models import create_model, summaries
from netwright.models._encoder import Encoder, make_encoder
from tests.support import lighter

CLASSIFIERS = [(name, row) for name, row in summaries().items() if row.task == "classification"]
SMALLEST = {row.family: name for name, row in sorted(CLASSIFIERS, key=lambda item: -item[1].params)}
TIMM = ("timm/resnet10t", "timm/convnext_atto", "timm/mobilenetv3_small_050")
EACH_FAMILY = pytest.mark.parametrize("spec", [*(lighter(name) for name in SMALLEST.values() if name != "mlp"), *TIMM])


@cache
def meta_encoder(spec: str, in_channels: int = 3) -> Encoder:
    with torch.device("meta"):
        return make_encoder(spec, in_channels).eval()


def test_values_come_to_lie_where_they_look() -> None:
    """SqueezeNet 1.0: 7x7 without padding, then three times 3x3 pooling, which begin at the 1, 2, 4 and 8 pixels."""
    encoder = meta_encoder("squeezenet1_0")
    assert encoder.origins == (3, 3 + 2, 3 + 2 + 4, 3 + 2 + 4 + 8)
    assert meta_encoder("resnet18").shifts() == (0,) * 5, "a value stands for its own square"
    assert meta_encoder("vgg16").origins[-1] == 15.5


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("spec", ["alexnet", "inception_v3", "lenet5", "squeezenet1_0", "xception", "zfnet"])
def test_no_value_is_further_off_than_half_a_step_of_the_finer_map(spec: str, first: int) -> None:
    encoder = meta_encoder(spec)
    place, finer = 0.0, 1  # where the first value of the finer map lies in the image
    shifts = encoder.shifts(first)
    for origin, stride, shift in zip(encoder.origins[first:], encoder.strides[first:], shifts, strict=True):
        square = place + finer * (shift + (stride / finer - 1) / 2)
        assert abs(square - origin) <= finer / 2
        place, finer = square, stride


def test_origins_are_where_values_look() -> None:
    """The pixels that one value of the first map depends on: their middle."""
    encoder = make_encoder("squeezenet1_0").eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    seen = encoder(image)[1][0, :, 3, 3].sum()
    (slope,) = torch.autograd.grad(seen, image)
    columns = slope.abs().sum((0, 1, 2)).nonzero()
    middle = (columns.min() + columns.max()).item() / 2
    assert abs(middle - (encoder.origins[1] + 3 * encoder.strides[1])) <= 2, "maxima may lie to one side"


@EACH_FAMILY
def test_its_maps_are_as_it_says_and_its_names_the_classifiers(spec: str) -> None:
    with torch.device("meta"):
        network = create_model(spec, classes=5)
        theirs = {name: value.shape for name, value in network.state_dict().items()}
        encoder = Encoder(network).eval()
    maps = encoder(torch.empty(1, 3, *(2 * (encoder.smallest,)), device="meta"))
    assert tuple(map_.shape[1] for map_ in maps) == encoder.channels
    for map_, stride in zip(maps, encoder.strides, strict=True):
        assert stride & (stride - 1) == 0
        assert 0 < map_.shape[-1] <= -(-encoder.smallest // stride)
    ours = {name: value.shape for name, value in encoder.state_dict().items()}
    assert ours.items() <= theirs.items()
    heads = (network.head_name, *network.auxiliary_names, *encoder.dropped)
    assert all(name.startswith(heads) for name in theirs.keys() - ours.keys())


@pytest.mark.parametrize("spec", ["inception_v3", "timm/mobilenetv3_small_050", "vgg16"])
def test_every_parameter_that_is_left_has_an_effect(spec: str) -> None:
    encoder = meta_encoder(spec)
    torch.autograd.backward([map_.sum() for map_ in encoder(torch.empty(1, 3, 128, 128, device="meta"))])
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("spec", ["alexnet", "inception_v3", "lenet5", "squeezenet1_1", "zfnet"])
def test_borders_take_as_much_of_every_image(spec: str) -> None:
    """Otherwise a decoder would place what it sees in a tile elsewhere than in the whole."""
    encoder = meta_encoder(spec)
    lost: set[tuple[float, ...]] = set()
    for side in range(4 * encoder.strides[-1], 9 * encoder.strides[-1], encoder.strides[-1]):
        with torch.no_grad():
            maps = encoder(torch.empty(1, 3, side, side, device="meta"))
        lost.add(tuple(side / stride - map_.shape[-1] for map_, stride in zip(maps, encoder.strides, strict=True)))
    assert len(lost) == 1


def test_strides_are_exact() -> None:
    assert meta_encoder("resnet18").strides == (2, 4, 8, 16, 32)
    assert meta_encoder("resnet20").strides == (1, 2, 4)
    assert meta_encoder("inception_v3").strides == (2, 4, 8, 16, 32)
    assert meta_encoder("convnext_tiny").strides == (4, 8, 16, 32)
    assert meta_encoder("vgg16").strides == (1, 2, 4, 8, 16, 32)
    assert meta_encoder("resnet18(stem='cifar')").strides == (1, 2, 4, 8)


def test_dense_layers_and_auxiliary_heads_are_left_out() -> None:
    assert meta_encoder("vgg16").dropped == ("classifier",)
    assert meta_encoder("timm/efficientnet_b0").dropped == ("model.conv_head", "model.bn2")
    assert not any(name.startswith("AuxLogits") for name in meta_encoder("inception_v3").state_dict())


def test_dense_layers_are_not_even_drawn() -> None:
    built: list[int] = []
    hook = register_module_parameter_registration_hook(lambda _, __, parameter: built.append(parameter.numel()))
    try:
        encoder = make_encoder("vgg11(width=4)")
    finally:
        hook.remove()
    assert encoder.dropped == ("classifier",)
    assert sum(built) < 2 * sum(parameter.numel() for parameter in encoder.parameters())


def test_its_maps_are_the_classifiers() -> None:
    torch.manual_seed(0)
    network = create_model("resnet20", classes=5).eval()
    x = torch.rand(2, 3, 24, 20)
    wanted = network.stages(x)
    for given, map_ in zip(Encoder(network).eval()(x), wanted, strict=True):
        assert torch.equal(given, map_)


def test_a_layer_exchanged_in_the_encoder_is_the_one_that_computes() -> None:
    encoder = make_encoder("resnet20").eval()
    x = torch.rand(1, 3, 16, 16)
    before = encoder(x)[0]
    first = next(name for name, layer in encoder.named_children() if isinstance(layer, nn.BatchNorm2d))
    setattr(encoder, first, nn.GroupNorm(4, 16))
    assert not torch.equal(encoder(x)[0], before)
    assert "weight" in {name.rpartition(".")[2] for name in encoder.state_dict()}


def test_copies_are_independent_and_training_mode_reaches_the_network() -> None:
    encoder = make_encoder("resnet20").eval()
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        next(other.parameters()).zero_()
    x = torch.rand(1, 3, 16, 16)
    assert not torch.equal(encoder(x)[0], other(x)[0])
    assert not encoder.network.training
    encoder.train()
    assert encoder.network.training and not other.network.training


def test_measuring_leaves_weights_and_statistics_alone() -> None:
    torch.manual_seed(0)
    network = create_model("resnet20", classes=0)
    before = copy.deepcopy(network.state_dict())
    Encoder(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_grey_pictures() -> None:
    encoder = meta_encoder("resnet18", in_channels=1)
    assert encoder(torch.empty(1, 1, 64, 64, device="meta"))[0].shape == (1, 64, 32, 32)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("mlp", "sees images at one size"),
        ("timm/vit_tiny_patch16_224", "does not take images of 1024x1024 pixels"),
        ("unet", "is a network for each pixel itself"),
        ("resnet18(classes=3)", "an encoder has no option classes"),
        ("resnet18(in_channels=1)", "an encoder has no option in_channels"),
        ("resnet81", "unknown model 'resnet81'"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused(spec: str, problem: str) -> None:
    with pytest.raises(NetwrightError, match=problem) as caught:
        make_encoder(spec)
    assert caught.value.fix


def test_a_network_with_one_map_is_refused() -> None:
    with pytest.raises(NetwrightError, match="has maps at 1/16 of the image's sides alone") as caught:
        meta_encoder("timm/vit_tiny_patch16_224(dynamic_img_size=True)")
    assert "resnet18" in caught.value.fix
