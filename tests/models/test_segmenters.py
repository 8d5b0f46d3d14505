"""What every network for each pixel promises, run over every name: a new one is tested by being listed."""

import copy
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import options_of
from netwright.models import check_model, create_model, list_models, summaries, variant
from netwright.models._family import Family
from netwright.models._parity import heads, relative_error, spread
from netwright.models._segmenter import Segmenter
from netwright.nn.norm import NormKind

NAMES = list_models(task="segmentation")
EVERY_VARIANT = pytest.mark.parametrize("name", NAMES)
# Families as narrow as their options allow; one variant of each is computed.
SMALL = {
    "fcn": "fcn(encoder='resnet20', stride=4)",
    "fcn_resnet50": "fcn_resnet50(encoder='resnet18')",
    "segnet": "segnet(layers=(1, 1, 2), width=8)",
    "unet": "unet(encoder='resnet20', width=4)",
    "unet_2015": "unet_2015(width=4)",
}
COMPUTED = pytest.mark.parametrize("name", [name for name in NAMES if name not in ("encoder_decoder", "fcn_resnet101")])
STEPS = 8
SIZES = ((1, 1), (1, 40), (37, 23), (1023, 517))


def meta_model(name: str, **options: Any) -> Family:
    with torch.device("meta"):
        return create_model(name, **options)


def model_and_images(name: str, *, classes: int = 3, more: str = "") -> tuple[Family, Tensor]:
    """A small model of the kind, and two oblong images."""
    torch.manual_seed(0)
    spec = SMALL.get(name, name)
    if more:
        spec = spec.removesuffix(")") + (f", {more})" if "(" in spec else f"({more})")
    channels = variant(name).in_channels
    return create_model(spec, classes=classes, in_channels=channels), torch.rand(2, channels, 34, 41)


def outputs_of(model: Family, x: Tensor) -> Tensor:
    """Every head's scores beside one another: N K·heads H W."""
    return torch.cat(heads(model(x)), 1)


@EVERY_VARIANT
def test_it_has_the_number_of_parameters_that_its_row_says(name: str) -> None:
    row = variant(name)
    model = meta_model(name, classes=row.classes, in_channels=row.in_channels)
    assert isinstance(model, Segmenter)
    assert sum(parameter.numel() for parameter in model.parameters()) == row.params == summaries()[name].params
    assert row.task == "segmentation"


@EVERY_VARIANT
def test_every_size_gets_a_score_a_class_and_pixel(name: str) -> None:
    row = variant(name)
    model = meta_model(name, classes=7, in_channels=row.in_channels).eval()
    for size in ((row.image_size, row.image_size), *SIZES):
        assert model(torch.empty(1, row.in_channels, *size, device="meta")).shape == (1, 7, *size)
    assert model.get_head().weight.shape[0] == 7


@EVERY_VARIANT
def test_its_maps_are_shown_from_large_to_small(name: str) -> None:
    channels = variant(name).in_channels
    model = meta_model(name, classes=7, in_channels=channels).eval()
    sides = [map_.shape[-1] for map_ in model.stages(torch.empty(1, channels, 128, 128, device="meta"))]
    assert len(sides) > 1 and sides == sorted(sides, reverse=True)


@COMPUTED
def test_real_scores_are_finite_at_every_size_and_do_not_depend_on_the_batch(name: str) -> None:
    model, x = model_and_images(name)
    model.eval()
    together = model(x)
    assert together.isfinite().all()
    torch.testing.assert_close(model(x[1:]), together[1:], rtol=1e-4, atol=1e-5)
    for size in SIZES[:3]:
        scores = model(torch.rand(1, x.shape[1], *size))
        assert scores.shape == (1, 3, *size) and scores.isfinite().all()


@COMPUTED
def test_it_trains_at_small_sizes_in_training_mode(name: str) -> None:
    model, x = model_and_images(name)
    model.train()
    outputs_of(model, x[..., :9, :5]).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@COMPUTED
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    model, x = model_and_images(name)
    outputs_of(model, x).square().sum().backward()
    for part, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), part
        reached = parameter.grad.count_nonzero() > 0
        bias_before_norm = part.endswith("bias") and parameter.ndim == 1
        assert reached or bias_before_norm, part


@COMPUTED
def test_every_norm_computes(name: str) -> None:
    outputs: list[Tensor] = []
    for norm in get_args(NormKind) if "norm" in options_of(type(model_and_images(name)[0])) else ():
        model, x = model_and_images(name, more=f"norm={norm!r}")
        outputs.append(model.eval()(x[..., :24, :24]))
        assert outputs[-1].isfinite().all()
    assert len({tuple(output.flatten().tolist()) for output in outputs}) == len(outputs)


@COMPUTED
def test_without_classes_it_gives_what_its_head_would_have_seen(name: str) -> None:
    with_head, x = model_and_images(name)
    without, _ = model_and_images(name, classes=0)
    seen: list[Tensor] = []
    with_head.get_head().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with_head.eval()(x)
    features = without.eval()(x)
    assert features.shape[1] == seen[0].shape[1]
    assert not list(without.get_head().parameters())


@COMPUTED
def test_a_seed_decides_its_weights_and_scores(name: str) -> None:
    (one, x), (other, _) = model_and_images(name), model_and_images(name)
    assert torch.equal(one.eval()(x), other.eval()(x))


@COMPUTED
def test_its_state_survives_a_round_trip_and_a_copy(name: str) -> None:
    one, x = model_and_images(name)
    other = copy.deepcopy(one)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.01)
    assert not torch.equal(one.eval()(x), other.eval()(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


@COMPUTED
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
    # 2^-8 a rounding, over tens of layers that add up; where two maxima are as good, rounding moves them.
    assert relative_error(given.float(), wanted) <= (0.4 if name == "segnet" else 0.1)


@COMPUTED
def test_it_can_be_exported(name: str) -> None:
    model, x = model_and_images(name)
    with torch.no_grad():
        exported = torch.export.export(model.eval(), (x,)).module()
        assert relative_error(exported(x), model(x)) <= 1e-5


@COMPUTED
def test_it_learns_where_a_square_is(name: str) -> None:
    model, x = model_and_images(name, classes=2)
    mask = torch.zeros(2, 34, 41, dtype=torch.long)
    mask[0, 5:20, 5:20] = mask[1, 15:30, 20:35] = 1
    x = 0.3 * x + mask[:, None]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    losses: list[float] = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = sum((F.cross_entropy(scores, mask) for scores in heads(model(x))), start=torch.zeros(()))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.9 * losses[0]


@COMPUTED
def test_dropout_acts_in_training_alone(name: str) -> None:
    model, x = model_and_images(name, more="dropout=0.5")
    model.eval()
    for layer in model.modules():
        layer.train(isinstance(layer, nn.Dropout))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@EVERY_VARIANT
def test_it_refuses_an_unknown_option_and_impossible_values(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"unknown option of {name} 'classez'") as caught:
        check_model(f"{name}(classez=3)")
    assert "did you mean 'classes'?" in caught.value.fix
    with pytest.raises(NetwrightError, match="classes cannot be -1"):
        create_model(name, classes=-1)
    with pytest.raises(NetwrightError, match=r"dropout cannot be 1\.5"):
        create_model(f"{name}(dropout=1.5)")


def test_segmenters_are_listed_for_their_task_alone() -> None:
    assert {"encoder_decoder", "unet", "unet_2015"} <= set(NAMES)
    assert not set(NAMES) & set(list_models())


class TestPadding:
    """What `Segmenter` adds to the sides."""

    class Echo(Segmenter):
        stride, smallest = 8, 16

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Identity()

        def scores(self, x: Tensor) -> Tensor:
            assert x.shape[-1] % 8 == x.shape[-2] % 8 == 0 and min(x.shape[-2:]) >= 16
            return x

    @pytest.mark.parametrize("size", [(1, 1), (8, 17), (16, 24), (33, 5)])
    def test_scores_are_cropped_back(self, size: tuple[int, int]) -> None:
        x = torch.rand(2, 3, *size)
        assert torch.equal(self.Echo()(x), x)

    def test_the_last_column_and_row_are_repeated(self) -> None:
        x = torch.arange(4.0).reshape(1, 1, 2, 2)
        padded = self.Echo().padded(x)[0, 0]
        assert padded.shape == (16, 16)
        assert padded[:2, 1:].unique(dim=1).flatten().tolist() == [1, 3]
        assert padded[1:, :2].unique(dim=0).flatten().tolist() == [2, 3]

    def test_what_fits_is_not_copied(self) -> None:
        x = torch.rand(1, 1, 16, 24)
        assert self.Echo().padded(x) is x
