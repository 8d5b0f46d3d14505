"""What every model promises, run over every name: a new family is tested by being listed."""

import subprocess
import sys
from itertools import pairwise
from math import ceil
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import options_of
from netwright.models import create_model, list_models, summaries, variant
from netwright.models._family import Family
from netwright.nn.activation import ActivationKind
from netwright.nn.norm import NormKind, group_count, make_norm

CHOICES: dict[str, tuple[Any, ...]] = {
    "norm": get_args(NormKind),
    "activation": get_args(ActivationKind),
    "skip": (True, False),
}
SMALLEST = {summary.family: name for name, summary in sorted(summaries().items(), key=lambda row: -row[1].params)}


def choices(name: str) -> list[str]:
    known = options_of(type(meta_model(name)))
    return [f"{name}({option}={value!r})" for option in CHOICES if option in known for value in CHOICES[option]]


def meta_model(name: str, **options: Any) -> Family:
    with torch.device("meta"):
        return create_model(name, **options)


def images(name: str, side: int = 64) -> Tensor:
    row = variant(name.split("(")[0])
    return torch.rand(2, row.in_channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list_models())
def test_it_has_the_published_number_of_parameters(name: str) -> None:
    row = variant(name)
    model = meta_model(name, classes=row.classes, in_channels=row.in_channels)
    assert sum(parameter.numel() for parameter in model.parameters()) == row.params == summaries()[name].params


@pytest.mark.parametrize("name", list_models())
def test_it_gives_a_score_a_class_and_its_stages_halve(name: str) -> None:
    model, x = create_model(name, classes=7, in_channels=variant(name).in_channels).eval(), images(name)
    with torch.no_grad():
        scores, maps = model(x), model.stages(x)
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()
    sides = [map_.shape[-1] for map_ in maps]
    assert len(sides) >= 2
    assert sides[0] in (64, 32, 30)  # 30: half of what an unpadded 5x5 leaves
    assert all(after <= ceil(before / 2) for before, after in pairwise(sides))


@pytest.mark.parametrize("name", list_models())
def test_every_structural_choice_fits_together(name: str) -> None:
    for spec in choices(name):
        model = meta_model(spec, classes=7, in_channels=variant(name).in_channels)
        assert model(images(name).to("meta")).shape == (2, 7), spec


@pytest.mark.parametrize("spec", [spec for name in SMALLEST.values() for spec in [name, *choices(name)]])
def test_a_gradient_reaches_every_parameter(spec: str) -> None:
    torch.manual_seed(0)
    x = images(spec)
    model = create_model(spec, classes=7, in_channels=x.shape[1])
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("name", SMALLEST.values())
def test_structural_choices_change_the_function(name: str) -> None:
    outputs: list[Tensor] = []
    for spec in choices(name):
        torch.manual_seed(0)
        outputs.append(create_model(spec, in_channels=variant(name).in_channels)(images(name)))
    different = {tuple(output.flatten().tolist()) for output in outputs}
    defaults = sum(option in options_of(type(meta_model(name))) for option in CHOICES)
    assert len(different) == len(outputs) - max(0, defaults - 1)  # each option's default is the same model


@pytest.mark.parametrize("name", SMALLEST.values())
def test_its_state_survives_a_round_trip(name: str) -> None:
    channels = variant(name).in_channels
    one, other = (create_model(name, in_channels=channels).eval() for _ in range(2))
    assert not torch.equal(one(images(name)), other(images(name)))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(images(name)), other(images(name)))


@pytest.mark.parametrize("name", list_models())
def test_it_refuses_an_unknown_option_and_impossible_values(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"unknown option of {name} 'classez'") as caught:
        create_model(f"{name}(classez=3)")
    assert "did you mean 'classes'?" in caught.value.fix
    with pytest.raises(NetwrightError, match="classes cannot be 0"):
        create_model(name, classes=0)
    with pytest.raises(NetwrightError, match=r"dropout cannot be 1\.5"):
        create_model(f"{name}(dropout=1.5)")


@pytest.mark.parametrize("name", list_models())
def test_its_head_is_where_it_says(name: str) -> None:
    assert meta_model(name, classes=7).get_head().weight.shape[0] == 7


@pytest.mark.parametrize("name", SMALLEST.values())
def test_dropout_acts_in_training_alone(name: str) -> None:
    torch.manual_seed(0)
    x = images(name)
    model = create_model(f"{name}(dropout=0.5)", in_channels=x.shape[1])
    for layer in model.modules():
        layer.train(isinstance(layer, torch.nn.Dropout))
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
