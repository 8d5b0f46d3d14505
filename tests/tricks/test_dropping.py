"""Tricks that drop parts of the network in training, against closed forms, torch's functions and torchvision's."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import drop_block2d

from netwright.core.errors import NetwrightError
from netwright.engine.trick import Trick, Tricks
from netwright.models import create_model, summaries, variant
from netwright.nn.drop_path import DropPath
from netwright.nn.places import heads, stage_ends
from netwright.nn.weight_standard import StandardConv2d
from netwright.tricks.drop_block import DropBlock, corner_rate, drop_blocks
from netwright.tricks.drop_connect import DropConnect
from netwright.tricks.dropout import Dropout
from netwright.tricks.ema import Ema
from netwright.tricks.spatial_dropout import SpatialDropout
from netwright.tricks.stochastic_depth import StochasticDepth, linear_decay
from netwright.tricks.weight_standardisation import WeightStandardisation
from tests.support import TinyNetwork, digest, lighter, outputs, tiny_run, train_tiny

WIDE = 4.5  # a mean of independent draws leaves ± 4.5 of its standard deviations once in 150 000 times
SCORING = [(name, row) for name, row in summaries().items() if row.task != "reconstruction"]
SMALLEST = {row.family: name for name, row in sorted(SCORING, key=lambda each: -each[1].params)}
RESIDUAL = {
    "convnext", "efficientnet", "inception_resnet_v2", "mobilenet_v2", "mobilenet_v3", "nasnet", "preact_resnet",
    "pyramidnet", "residual_attention", "resnet", "resnet_cifar", "wide_resnet", "xception",
}  # fmt: skip
STRONG: list[Trick] = [
    Dropout(rate=0.5, where="linear"),
    SpatialDropout(rate=0.5, stages=2),
    DropBlock(rate=0.5, size=2),
    DropConnect(rate=0.2, layers="all", masks=2),
    StochasticDepth(rate=0.9),
]
EACH = pytest.mark.parametrize("trick", STRONG, ids=[each.name for each in STRONG])


def model_and_images(name: str) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    channels = variant(name.split("(")[0]).in_channels
    model = create_model(name, classes=5, in_channels=channels)
    return model, torch.rand(2, channels, *(max(32, model.smallest),) * 2)


def seeded(act: Callable[..., Tensor], *given: Any) -> Tensor:
    torch.manual_seed(1)
    return act(*given)


def assert_mean(values: Tensor, wanted: float, deviation: float) -> None:
    assert abs(values.double().mean().item() - wanted) < WIDE * deviation / math.sqrt(values.numel())


def scores(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.scores


def at_once(trick: Trick, network: nn.Module) -> nn.Module:
    """A network with a trick, at the rate that it has at the end of a run."""
    network = trick.model(network)
    if isinstance(trick, DropBlock):
        trick.blocks.rate = trick.rate
    return network


def usable(trick: Trick, network: nn.Module) -> bool:
    wanted = {SpatialDropout: nn.Conv2d, DropBlock: nn.Conv2d, StochasticDepth: DropPath}.get(type(trick), nn.Module)
    return any(isinstance(layer, wanted) for layer in network.modules())


@pytest.mark.parametrize("family", SMALLEST)
def test_every_family_trains_with_each_and_all_and_is_itself_in_evaluation(family: str) -> None:
    model, x = model_and_images(lighter(SMALLEST[family]))
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.0  # that training leaves evaluation as it was
    with torch.no_grad():
        wanted, before = model.eval()(x), scores(seeded(model.train(), x))
        names = list(model.state_dict())
        for trick in STRONG:
            if not usable(trick, model):
                with pytest.raises(NetwrightError, match="has no"):
                    trick.model(model)
                continue
            model = at_once(trick, model)
            assert list(model.state_dict()) == names
            assert torch.equal(model.eval()(x), wanted)
            after = scores(seeded(model.train(), x))
            assert not torch.equal(after, before), trick
            before = after
    scores(model(x)).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@EACH
def test_a_copy_acts_on_its_own_weights(trick: Trick) -> None:
    model = at_once(trick, TinyNetwork())
    copied, x = copy.deepcopy(model), torch.rand(8, 3, 8, 8)
    for parameter in copied.parameters():
        nn.init.zeros_(parameter)
    assert not scores(copied(x)).any()
    assert scores(model(x)).any()
    scores(copied(x)).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


@EACH
def test_its_weights_load_into_the_plain_network(trick: Trick) -> None:
    run = train_tiny(tiny_run(trick, Ema()))
    plain = TinyNetwork()
    plain.load_state_dict(run.predictor().state_dict())
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(plain.eval()(x), run.predictor()(x))


@EACH
def test_at_rate_nothing_it_registers_nothing(trick: Trick) -> None:
    off = type(trick)(rate=0.0)
    given = create_model("resnet20")
    model = off.model(given)
    assert model is given and off.predictor(model) is model
    for layer in model.modules():
        assert not layer._forward_hooks and not layer._forward_pre_hooks and "forward" not in vars(layer)
        assert not isinstance(layer, DropPath) or layer.probability == 0
    off.model(nn.Identity())  # nor does it look for a place


def test_it_acts_on_layers_that_another_trick_has_exchanged() -> None:
    tricks = Tricks([DropConnect(layers="all"), SpatialDropout(), DropBlock(), WeightStandardisation()])
    last = tricks.through("model", TinyNetwork()).body[3]
    assert isinstance(last, StandardConv2d)
    assert len(last._forward_hooks) == 2 and "forward" in vars(last)


class Views(nn.Module):
    """A network whose last map goes nowhere but into a function."""

    head_name = "head"
    smallest = 8

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.activation = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def maps(self, x: Tensor) -> list[Tensor]:
        return [self.activation(self.activation(self.body(x)))]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.maps(x)[-1].mean((2, 3)))


class TestPlaces:
    @pytest.mark.parametrize("name", ["resnet18", "xception", "densenetbc100_k12", "googlenet", "mobilenet_v2"])
    def test_maps_are_those_of_the_family(self, name: str) -> None:
        model, x = model_and_images(name)
        passed: list[Tensor] = []
        for place in stage_ends(model.eval(), 3):
            place.attach(lambda _, given, output=None: passed.append(given[0] if output is None else output))
        model(x)
        given = list(passed)
        wanted = model.stages(x)[-3:]
        assert len(given) == 3
        assert all(torch.equal(map_, other) for map_, other in zip(given, wanted, strict=True))

    def test_looking_leaves_the_network_as_it_was(self) -> None:
        model, _ = model_and_images("resnet20")
        before = copy.deepcopy(model.state_dict())
        torch.manual_seed(3)
        stage_ends(model.train(), 2)
        assert torch.equal(torch.rand(1), seeded_rand(3))
        assert model.training
        assert "maps" not in vars(model)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())

    def test_a_map_that_no_layer_owns_is_an_error(self) -> None:
        with pytest.raises(NetwrightError, match="no feature maps") as caught:
            stage_ends(Views(), 1)
        assert "dropout" in caught.value.fix

    def test_timm_models_have_places(self) -> None:
        model = create_model("timm/resnet10t", classes=3)
        assert [place.layer for place in stage_ends(model, 2)] == [
            model.get_submodule("model.layer3"),
            model.get_submodule("model.layer4"),
        ]
        assert heads(model) == [model.get_submodule("model.fc")]

    def test_of_a_plain_network_they_are_the_last_convolutions_and_all_heads(self) -> None:
        network = TinyNetwork()
        assert [place.layer for place in stage_ends(network, 1)] == [network.body[3]]
        assert len(stage_ends(network, 7)) == 2
        assert heads(network) == [network.head[1], network.side]
        for find in (heads, lambda module: stage_ends(module, 1)):
            with pytest.raises(NetwrightError):
                find(nn.ReLU())


def seeded_rand(seed: int) -> Tensor:
    return torch.rand(1, generator=torch.Generator().manual_seed(seed))


class TestDropout:
    @pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
    @pytest.mark.parametrize("form", ["inverted", "original"])
    def test_units_are_dropped_each_by_itself_and_the_mean_is_kept(self, rate: float, form: Any) -> None:
        head = nn.Linear(50, 50, bias=False)
        nn.init.eye_(head.weight)
        trick = Dropout(rate=rate, form=form)
        network = trick.model(nn.Sequential(head)).train()
        seen = network(torch.ones(2000, 50)).detach()
        size = 1 / (1 - rate) if form == "inverted" else 1.0
        assert torch.equal(seen.unique(), torch.tensor([0.0, size]))
        assert_mean((seen > 0).float(), 1 - rate, math.sqrt(rate * (1 - rate)))
        assert_mean((seen > 0).float().mean(0), 1 - rate, math.sqrt(rate * (1 - rate) / 2000))  # no unit is spared
        expected = trick.predictor(network).eval()(torch.ones(1, 50)).mean().item()
        assert_mean(seen, expected, size * math.sqrt(rate * (1 - rate)))

    def test_the_original_form_multiplies_weights_of_a_copy_at_test(self) -> None:
        trick, network, x = Dropout(rate=0.3, form="original"), TinyNetwork().eval(), torch.rand(4, 3, 8, 8)
        before = copy.deepcopy(network.state_dict())
        given = trick.predictor(trick.model(network)).eval()
        features = network.body(x)
        wanted = features @ (0.7 * network.head[1].weight.T) + network.head[1].bias
        torch.testing.assert_close(given(x), wanted)
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
        changed = [name for name, value in given.state_dict().items() if not torch.equal(before[name], value)]
        assert changed == ["head.1.weight", "side.weight"]

    def test_the_original_form_multiplies_what_was_averaged(self) -> None:
        both, alone = Dropout(rate=0.5, form="original"), Ema(decay=0.9)
        assert [each.name for each in Tricks([both, alone])] == ["ema", "dropout"]
        run = train_tiny(tiny_run(both, alone))
        averaged = next(iter(run.tricks)).predictor(run.model)
        given = run.predictor()
        assert torch.equal(given.head[1].weight, averaged.head[1].weight / 2)
        assert torch.equal(given.head[1].bias, averaged.head[1].bias)
        assert torch.equal(given.body[0].weight, averaged.body[0].weight)

    def test_heads_of_every_family_are_multiplied(self) -> None:
        for name in ("resnet20", "preact_resnet18", "squeezenet1_1", "mobilenet_v2"):
            model, _ = model_and_images(name)
            given = Dropout(rate=0.25, form="original").predictor(model)
            assert torch.equal(given.get_head().weight, model.get_head().weight * 0.75)

    def test_it_can_act_before_every_linear_layer(self) -> None:
        model = create_model("mlp", classes=3, in_channels=1)
        trick = Dropout(rate=0.5, where="linear")
        assert len(trick.layers(model)) == 3
        assert len(Dropout().layers(model)) == 1


class TestSpatialDropout:
    @pytest.mark.parametrize("rate", [0.1, 0.5])
    def test_channels_are_whole_or_not_there(self, rate: float) -> None:
        last = nn.Conv2d(40, 40, 1, bias=False)
        nn.init.dirac_(last.weight)
        network = SpatialDropout(rate=rate).model(nn.Sequential(last)).train()
        seen = network(torch.ones(500, 40, 3, 2)).detach()
        assert torch.equal(seen, seen[:, :, :1, :1].expand_as(seen))
        assert torch.equal(seen.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
        channels = seen[:, :, 0, 0]
        assert_mean(channels, 1.0, math.sqrt(rate / (1 - rate)))
        alike = (channels[:-1] > 0) == (channels[1:] > 0)  # pictures have draws of their own
        share = rate**2 + (1 - rate) ** 2
        assert_mean(alike[::2].float(), share, math.sqrt(share * (1 - share)))

    def test_it_acts_where_asked(self) -> None:
        for stages in (1, 3):
            model = SpatialDropout(rate=0.5, stages=stages).model(create_model("resnet20")).train()
            x = torch.rand(2, 3, 32, 32)
            dropped = [bool((map_ == 0).all((2, 3)).any()) for map_ in model.stages(x)]
            assert dropped[-stages:] == [True] * stages
            assert len(model.get_submodule("layer1")._forward_hooks) == (stages == 3)


def covering(side: int, size: int) -> Tensor:
    """How many squares inside a line of `side` pixels cover each of them."""
    return torch.tensor(
        [sum(start <= place < start + size for start in range(side - size + 1)) for place in range(side)]
    )


class TestDropBlock:
    @pytest.mark.parametrize(("shape", "size"), [((14, 14), 7), ((8, 8), 3), ((5, 9), 3), ((4, 6), 1), ((5, 5), 7)])
    def test_it_is_torchvisions(self, shape: tuple[int, int], size: int) -> None:
        x = torch.randn(64, 16, *shape)
        torch.testing.assert_close(seeded(drop_blocks, x, 0.2, size), seeded(drop_block2d, x, 0.2, size))

    @pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 3), (7, 10, 4), (6, 6, 2)])
    def test_each_pixel_goes_as_often_as_squares_cover_it(self, height: int, width: int, size: int) -> None:
        rate, pictures, channels = 0.15, 200, 50
        seen = drop_blocks(torch.ones(pictures, channels, height, width), rate, size)
        dropped = (seen == 0).double().mean((0, 1))
        corner = corner_rate(rate, size, height, width)
        squares = covering(height, size)[:, None] * covering(width, size)
        wanted = 1 - (1 - corner) ** squares.double()
        deviation = (wanted * (1 - wanted) / (pictures * channels)).sqrt()
        assert ((dropped - wanted).abs() < WIDE * deviation).all()
        # Each square counted by itself, they take exactly `rate` of the pixels: the paper's equation 1.
        assert corner * squares.sum().item() / (height * width) == pytest.approx(rate)
        assert rate * (1 - 0.5 * size**2 * corner) <= wanted.mean().item() <= rate
        torch.testing.assert_close(seen.mean(), torch.tensor(1.0))  # exactly, not on average

    def test_blocks_are_square_and_whole(self) -> None:
        size = 3
        dropped = seeded(drop_blocks, torch.ones(50, 20, 10, 10), 0.05, size) == 0
        whole = F.unfold(dropped.double().reshape(-1, 1, 10, 10), size).sum(1) == size**2  # squares dropped in full
        corners = whole.double().reshape(-1, 1, 8, 8)
        rebuilt = F.conv_transpose2d(corners, torch.ones(1, 1, size, size, dtype=torch.double)) > 0
        assert dropped.any()
        assert torch.equal(rebuilt.reshape(dropped.shape), dropped)  # nothing is dropped but squares inside the map
        channels = dropped.flatten(2).any(2)
        assert channels.any(1).sum() > channels.all(1).sum()  # each channel has its own

    def test_a_map_without_a_pixel_left_is_zero(self) -> None:
        x = torch.rand(2, 3, 4, 4)
        assert torch.equal(drop_blocks(x, 1.0, 4), torch.zeros_like(x))
        assert drop_blocks(torch.ones(4, 64, 1, 1), 0.5, 7).unique().numel() == 2

    def test_half_precision_counts_exactly(self) -> None:
        x = torch.ones(64, 64, 16, 16)
        full, half = seeded(drop_blocks, x, 0.1, 3), seeded(drop_blocks, x.bfloat16(), 0.1, 3)
        assert half.dtype == torch.bfloat16
        assert abs(half.float().max().item() / full.max().item() - 1) < 2**-6

    def test_the_rate_rises_with_the_run(self) -> None:
        rates: list[float] = []

        class Noted(DropBlock):
            name = "drop_block"

            def before_step(self, run: Any) -> None:
                rates.append(self.blocks.rate)

        train_tiny(tiny_run(Noted(rate=0.4, size=2), epochs=2))
        assert rates == pytest.approx([0.4 * step / 8 for step in range(8)])


class TestDropConnect:
    @pytest.mark.parametrize("rate", [0.2, 0.5])
    def test_each_weight_is_dropped_by_itself_and_the_mean_is_kept(self, rate: float) -> None:
        layer = nn.Linear(60, 40, bias=False)
        nn.init.ones_(layer.weight)
        network = DropConnect(rate=rate, masks=1).model(nn.Sequential(layer)).train()
        seen = torch.stack([network(torch.eye(60)) for _ in range(20)]).detach()  # the weights themselves: 20 60 40
        assert torch.equal(seen.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
        assert_mean(seen, 1.0, math.sqrt(rate / (1 - rate)))
        for dim in (0, 1, 2):  # nothing is spared
            others = seen.numel() // seen.shape[dim]
            means = seen.mean([each for each in range(3) if each != dim])
            assert ((means - 1).abs() < WIDE * math.sqrt(rate / (1 - rate) / others)).all()

    def test_it_is_torchs_function_of_a_masked_weight(self) -> None:
        x, mask = torch.randn(8, 5), torch.zeros(0)
        layer = nn.Linear(5, 3)
        weight = layer.weight
        network = DropConnect(rate=0.5, masks=1).model(nn.Sequential(layer)).train()
        with torch.no_grad():
            mask = (seeded(network, torch.eye(5)) - layer.bias).T / layer.weight  # 0 or 2, but for rounding
        assert set(mask.round().flatten().tolist()) == {0.0, 2.0}
        wanted = F.linear(x, layer.weight * mask.round(), layer.bias)
        given = seeded(network, x)
        torch.testing.assert_close(given, wanted)
        assert layer.weight is weight
        (gradient,) = torch.autograd.grad(given.sum(), weight)
        torch.testing.assert_close(gradient, mask.round() * x.sum(0))

    def test_convolutions_lose_weights_by_option(self) -> None:
        x, layer = torch.randn(1, 4, 6, 6), nn.Conv2d(4, 3, 3, stride=2, padding=1)
        DropConnect(rate=0.5, layers="all").model(layer)
        given = seeded(layer, x)
        masked = seeded(lambda: layer.weight * torch.empty_like(layer.weight).bernoulli_(0.5) * 2)
        torch.testing.assert_close(given, F.conv2d(x, masked, layer.bias, 2, 1))
        network = DropConnect(rate=0.5).model(TinyNetwork())
        assert [name for name, part in network.named_modules() if "forward" in vars(part)] == ["head.1", "side"]

    @pytest.mark.parametrize("masks", [1, 3, 8, 100])
    def test_a_batch_has_as_many_masks_as_asked(self, masks: int) -> None:
        network = DropConnect(rate=0.5, masks=masks).model(nn.Sequential(nn.Linear(64, 64))).train()
        seen = network(torch.ones(8, 64)).detach()
        assert len(seen.unique(dim=0)) == min(masks, 8)

    def test_an_error_gives_the_weight_back(self) -> None:
        layer = nn.Linear(4, 2)
        weight = layer.weight
        network = DropConnect(rate=0.5).model(nn.Sequential(layer)).train()
        with pytest.raises(RuntimeError):
            network(torch.ones(2, 3))
        assert layer.weight is weight
        assert list(layer.state_dict()) == ["weight", "bias"]


def probabilities(model: nn.Module) -> list[float]:
    return [layer.probability for layer in model.modules() if isinstance(layer, DropPath)]


class TestStochasticDepth:
    def test_the_papers_network_of_110_layers(self) -> None:
        model = StochasticDepth(rate=0.5).model(create_model("resnet110"))
        kept = [1 - probability for probability in probabilities(model)]
        assert kept == pytest.approx([1 - number / 54 * (1 - 0.5) for number in range(1, 55)])
        assert 39.75 < sum(kept) < 40.5  # "approximately 40" of 54 blocks at a time, (3L - 1) / 4

    def test_it_is_linear(self) -> None:
        assert linear_decay(4, 0.2) == pytest.approx([0.05, 0.1, 0.15, 0.2])

    @pytest.mark.parametrize("family", sorted(RESIDUAL - {"nasnet"}))
    def test_a_branch_that_is_always_left_out_leaves_the_shortcut(self, family: str) -> None:
        model, x = model_and_images(lighter(SMALLEST[family]))
        paths = [layer for layer in model.modules() if isinstance(layer, DropPath)]
        model.eval()
        plain = model(x)
        branches: list[Tensor] = []
        for path in paths:
            path.probability = 1.0
            path.register_forward_pre_hook(lambda _, given: branches.append(given[0]))
        assert torch.equal(model(x), plain)
        for path in paths:
            path.train()
        assert not torch.equal(model(x), plain)
        for path in paths:
            path.probability = 0.0
        assert torch.equal(model(x), plain)
        assert branches and all(branch.shape[0] == 2 for branch in branches)

    def test_blocks_keep_their_mean(self) -> None:
        torch.manual_seed(0)
        block = create_model("resnet20").get_submodule("layer1").get_submodule("0")
        block.activation, block.drop_path.probability = nn.Identity(), 0.3
        block.eval().drop_path.train()
        x = torch.randn(1, 16, 4, 4)
        wanted = block.eval()(x)
        block.drop_path.train()
        seen = block(x.expand(20_000, -1, -1, -1)).detach()
        left_out = (seen == x).flatten(1).all(1)
        assert_mean(left_out.float(), 0.3, math.sqrt(0.3 * 0.7))
        deviation = (wanted - x).abs() * math.sqrt(0.3 / 0.7 / 20_000)
        assert ((seen.double().mean(0) - wanted).abs() <= WIDE * deviation + 1e-5).all()

    def test_no_branch_no_trick(self) -> None:
        for name in ("vgg11", "resnet20(skip=False)", "mobilenet_v2(skip=False)", "convnext_tiny(skip=False)"):
            with pytest.raises(NetwrightError, match="no residual branches") as caught:
                StochasticDepth(rate=0.1).model(create_model(name))
            assert "timm/NAME(drop_path_rate=0.1)" in caught.value.fix

    def test_at_its_own_rates_the_tiny_network_is_as_without(self) -> None:
        class Without(TinyNetwork):
            def __init__(self) -> None:
                super().__init__()
                self.drop_path = nn.Identity()

        one, other = train_tiny(tiny_run()), train_tiny(tiny_run(network=Without))
        assert digest(one) == digest(other)
        assert outputs(one).tobytes() == outputs(other).tobytes()
