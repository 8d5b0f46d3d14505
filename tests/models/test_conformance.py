"""What every model promises, run over every name: a new family is tested by being listed."""

import subprocess
import sys
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import netwright.models
from netwright.core.errors import NetwrightError
from netwright.core.options import options_of
from netwright.core.spec import Spec
from netwright.models import check_model, create_model, list_models, model_options, summaries, variant
from netwright.models._family import Family
from netwright.models._parity import heads, relative_error, spread
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.norm import NormKind, group_count, make_norm
from tests.support import LIGHTER, lighter

STEPS = 12
SINGLE_MAP = {"mlp": 1}  # no maps in space: what the last hidden layer says of the whole image
CHOICES: dict[str, tuple[Any, ...]] = {
    "norm": get_args(NormKind),
    "activation": ("leaky_relu", "silu", "tanh"),  # families pass the name on; every kind is built once below
    "skip": (True, False),
}
SMALLEST = {summaries()[name].family: name for name in sorted(list_models(), key=lambda name: -variant(name).params)}
EACH_FAMILY = pytest.mark.parametrize("name", [*map(lighter, SMALLEST.values())])
EVERY_VARIANT = pytest.mark.parametrize("name", list_models())


def choices(name: str) -> list[str]:
    known = options_of(type(meta_model(name)))
    return [with_option(name, option, value) for option in CHOICES if option in known for value in CHOICES[option]]


def with_option(name: str, option: str, value: Any) -> str:
    return str(Spec.parse(name).with_options(**{option: value}))


def meta_model(name: str, **options: Any) -> Family:
    with torch.device("meta"):
        return create_model(name, **options)


def model_and_images(name: str, *, classes: int = 7, side: int | None = None) -> tuple[Family, Tensor]:
    """A model, and two images with room for maps of some pixels: neither statistics nor gradients of one are any."""
    torch.manual_seed(0)
    channels = variant(Spec.parse(name).name).in_channels
    model = create_model(name, classes=classes, in_channels=channels)
    return model, torch.rand(2, channels, *(2 * (side or max(32, min(2 * model.smallest, model.smallest + 32)),)))


def in_use(model: Family, x: Tensor) -> Family:
    """The model in evaluation mode, its running statistics those of these images: fresh ones may silence it."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model.eval()


def outputs_of(model: Family, x: Tensor) -> Tensor:
    """Every head's scores in one row: N K·heads."""
    return torch.cat(heads(model(x)), 1)


def keep_running_statistics(model: nn.Module) -> None:
    """Layers that look at the whole batch use what they have seen before."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


@EVERY_VARIANT
def test_it_has_the_published_number_of_parameters(name: str) -> None:
    row = variant(name)
    model = meta_model(name, classes=row.classes, in_channels=row.in_channels)
    assert sum(parameter.numel() for parameter in model.parameters()) == row.params == summaries()[name].params


@EVERY_VARIANT
def test_it_gives_a_score_a_class_and_its_stages_halve(name: str) -> None:
    row = variant(name)
    model = meta_model(name, classes=7, in_channels=row.in_channels).eval()
    assert model.get_head().weight.shape[0] == 7
    x = torch.rand(2, row.in_channels, row.image_size, row.image_size, device="meta")
    assert model(x).shape == (2, 7)
    sides = [row.image_size, *(map_.shape[-1] for map_ in model.stages(x))]
    assert len(sides) > 2 or SINGLE_MAP.get(name) == sides[1]
    assert (sides[1] + 1) * 4 >= row.image_size or name in SINGLE_MAP
    assert all(after <= ceil(before / 2) for before, after in pairwise(sides[1:]))


@EACH_FAMILY
def test_without_classes_it_gives_what_its_head_would_have_seen(name: str) -> None:
    model, x = model_and_images(name)
    seen: list[Tensor] = []
    model.eval().get_head().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(x)
    headless = create_model(name, classes=0, in_channels=x.shape[1]).eval()
    assert not list(headless.get_head().parameters())
    headless.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(headless(x), seen[0] if seen[0].dim() == 2 else seen[0].mean((2, 3)))


@EACH_FAMILY
def test_real_scores_are_finite(name: str) -> None:
    model, x = model_and_images(name)
    scores = in_use(model, x)(x)
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()


@EACH_FAMILY
def test_the_smallest_image_trains_and_a_smaller_one_is_refused(name: str) -> None:
    model, _ = model_and_images(name)
    side = model.smallest
    _, x = model_and_images(name, side=side)
    model.train()
    keep_running_statistics(model)  # over two images of one pixel, a batch's own are no statistics
    outputs_of(model, x).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    if side > 1:
        for small in (x[..., 1:], x[..., 1:, :]):
            with pytest.raises(NetwrightError, match=f"at least {side}x{side} pixels") as caught:
                model(small)
            assert f"--image-size {side}" in caught.value.fix


@EACH_FAMILY
def test_other_sizes_and_oblong_images_pass(name: str) -> None:
    model, _ = model_and_images(name)
    side = model.smallest
    channels = variant(Spec.parse(name).name).in_channels
    assert model.eval()(torch.rand(1, channels, side + 3, 2 * side + 1)).shape == (1, 7)


@EACH_FAMILY
def test_structural_choices_change_the_function_and_a_gradient_reaches_every_parameter(name: str) -> None:
    outputs: dict[str, Tensor] = {}
    for spec in [name, *choices(name)]:
        model, x = model_and_images(spec)
        outputs[spec] = outputs_of(model, x)
        outputs[spec].square().sum().backward()
        for part, parameter in model.named_parameters():
            assert parameter.grad is not None, (spec, part)
            assert parameter.grad.isfinite().all(), (spec, part)
    defaults = model_options(Spec.parse(name).name)
    as_it_comes = {name, *(with_option(name, option.name, option.default) for option in defaults)} & set(outputs)
    for spec, output in outputs.items():
        assert torch.equal(output, outputs[name]) == (spec in as_it_comes), spec
    assert len({tuple(output.flatten().tolist()) for output in outputs.values()}) == len(set(outputs) - as_it_comes) + 1


@pytest.mark.parametrize("name", SMALLEST.values())
def test_without_a_norm_neither_signal_nor_gradient_dies(name: str) -> None:
    """At published depths: a factor that each layer loses or gains is not seen in few of them."""
    if "norm" not in options_of(type(meta_model(name))):
        assert name in ("lenet5", "mlp"), f"{name} has no norm to leave out"
        return
    model, x = model_and_images(with_option(name, "norm", "none"), classes=0)
    size = model.eval()(x).abs().max()
    assert size.isfinite()  # it may grow with depth, as sums of residual branches do: that is what norms are for
    assert size > 1e-6
    size.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", LIGHTER)
def test_what_is_lighter_has_the_same_kinds_of_layers(name: str) -> None:
    assert name in SMALLEST.values() or name in list_models(task="segmentation")
    light, whole = ({type(layer) for layer in meta_model(each).modules()} for each in (lighter(name), name))
    assert light == whole


@pytest.mark.parametrize("kind", get_args(ActivationKind))
def test_every_activation_is_torchs(kind: ActivationKind) -> None:
    x = torch.linspace(-8, 8, 65)
    function = getattr(torch, kind, None) or getattr(F, kind)
    given = x.clone()
    assert torch.equal(make_activation(kind)(given), function(x))
    assert torch.equal(given, x), "in place"


@EACH_FAMILY
def test_its_state_survives_a_round_trip(name: str) -> None:
    one, x = model_and_images(name)
    other = create_model(name, classes=7, in_channels=x.shape[1]).eval()
    in_use(one, x)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


@EACH_FAMILY
def test_bf16_and_channels_last_give_nearly_the_same(name: str) -> None:
    model, x = model_and_images(name)
    spread(model.eval())
    with torch.no_grad():
        wanted = model(x)
        model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
        assert relative_error(model(x), wanted) <= 1e-4
        with torch.autocast("cpu", torch.bfloat16):
            given = model(x)
    assert given.isfinite().all()
    assert relative_error(given.float(), wanted) <= 0.1  # 2^-8 a rounding, over tens of layers that add up


@EACH_FAMILY
def test_it_can_be_exported(name: str) -> None:
    model, x = model_and_images(name)
    in_use(model, x)
    with torch.no_grad():
        exported = torch.export.export(model, (x,)).module()
        assert relative_error(exported(x), model(x)) <= 1e-5


@EACH_FAMILY
def test_it_learns(name: str) -> None:
    model, x = model_and_images(name, classes=2)
    x[1] = -x[1]  # what pooling leaves of two noises is too alike
    labels = torch.tensor([0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.0)

    def loss() -> Tensor:
        return sum((F.cross_entropy(scores, labels) for scores in heads(model(x))), start=torch.zeros(()))

    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses.append(loss())
        losses[-1].backward()
        optimizer.step()
    assert all(value.isfinite() for value in losses)
    assert min(losses[-3:]) < 0.9 * losses[0]


@EVERY_VARIANT
def test_it_refuses_an_unknown_option_and_impossible_values(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"unknown option of {name} 'classez'") as caught:
        check_model(f"{name}(classez=3)")
    assert "did you mean 'classes'?" in caught.value.fix
    with pytest.raises(NetwrightError, match="classes cannot be -1"):
        create_model(name, classes=-1)
    with pytest.raises(NetwrightError, match=r"dropout cannot be 1\.5"):
        create_model(f"{name}(dropout=1.5)")


@EACH_FAMILY
def test_dropout_acts_in_training_alone(name: str) -> None:
    model, x = model_and_images(with_option(name, "dropout", 0.5))
    in_use(model, x)
    for layer in model.modules():
        layer.train(isinstance(layer, nn.Dropout))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(NetwrightError, match="unknown model 'resnet19'") as caught:
        create_model("resnet19")
    assert "did you mean 'resnet18'?" in caught.value.fix
    assert "netwright list models" in caught.value.fix


def test_patterns_choose_names() -> None:
    assert list_models("resnet1?") == ["resnet18"]
    assert list_models("nothing*") == []
    assert list_models() == sorted(list_models())


def test_every_file_offers_a_variant() -> None:
    files = {path.stem for path in Path(netwright.models.__file__).parent.glob("[a-z]*.py")}
    assert files == {summary.family for summary in summaries().values()}


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys, netwright.models as m; assert m.list_models() and m.summaries(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_residual_blocks_can_start_as_their_shortcut(stem: str) -> None:
    for norm in ("batch", "none"):
        model = create_model(f"resnet18(stem={stem!r}, norm={norm!r}, zero_init_residual=True)").eval()
        x = torch.rand(2, 64, 8, 8)
        assert torch.equal(model.get_submodule("layer1")(x), x)


def test_the_small_stem_keeps_the_resolution() -> None:
    maps = meta_model("resnet18(stem='cifar')").stages(torch.rand(1, 3, 32, 32, device="meta"))
    assert [map_.shape[-1] for map_ in maps] == [32, 16, 8, 4]


@pytest.mark.parametrize("options", ["layers=()", "layers=(2, 0)", "skip=False, zero_init_residual=True"])
def test_resnets_that_cannot_work_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"resnet18({options})")


def test_groups_divide_the_channels_and_are_not_single() -> None:
    assert [group_count(channels) for channels in (512, 64, 48, 16, 7, 1)] == [32, 32, 24, 8, 1, 1]


@pytest.mark.parametrize(("kind", "over"), [("layer", (1, 2, 3)), ("instance", (2, 3)), ("batch", (0, 2, 3))])
def test_a_norm_takes_its_statistics_where_it_says(kind: NormKind, over: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 5, 5) * torch.rand(4, 6, 1, 1) + torch.randn(4, 6, 1, 1)
    wanted = (x - x.mean(over, keepdim=True)) / (x.var(over, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(make_norm(kind, 6)(x), wanted, atol=1e-4)
