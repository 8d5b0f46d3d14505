"""Residual attention beyond what every family promises: depths and sizes of its paper, masks, gates, the hourglass."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import relative_error
from netwright.models.residual_attention import (
    AttentionModule,
    Hourglass,
    MaskBranch,
    MaskKind,
    ResidualAttention,
    ResidualUnit,
    Style,
    open_gate,
)

STYLE = Style("batch", "relu", skip=True, mask="residual", gate="mixed")


def on_meta(spec: str) -> ResidualAttention:
    with torch.device("meta"):
        model = create_model(spec, classes=1000)
    assert isinstance(model, ResidualAttention)
    return model.eval()


def attention(kind: MaskKind) -> AttentionModule:
    torch.manual_seed(0)
    return AttentionModule(16, 2, Style("batch", "relu", skip=True, mask=kind, gate="mixed")).eval()


@pytest.mark.parametrize("name", ["attention56", "attention92"])
def test_names_count_the_layers_of_the_trunk(name: str) -> None:
    layers = [n for n, layer in on_meta(name).named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    trunk = [layer for layer in layers if ".mask." not in layer and not layer.endswith("projection")]
    assert len(trunk) == int(name.removeprefix("attention"))


def test_attention56_has_the_papers_millions_of_parameters_with_the_norms_statistics() -> None:
    model = on_meta("attention56")
    running = sum(b.numel() for b in model.buffers() if b.ndim)
    assert round((sum(p.numel() for p in model.parameters()) + running) / 1e6, 1) == 31.9


@pytest.mark.parametrize(("name", "billions"), [("attention56", 6.2), ("attention92", 10.4)])
def test_it_costs_what_the_paper_says_to_two_in_a_hundred(name: str, billions: float) -> None:
    with FlopCounterMode(display=False) as counter:
        on_meta(name)(torch.rand(1, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize(("name", "modules"), [("attention56", (1, 1, 1)), ("attention92", (1, 2, 3))])
def test_resolutions_have_the_papers_widths_and_modules(name: str, modules: tuple[int, ...]) -> None:
    model = on_meta(name)
    assert [sum(isinstance(m, AttentionModule) for m in layer.modules()) for layer in model.layers] == [*modules, 0]
    shapes = [tuple(map_.shape[1:]) for map_ in model.stages(torch.rand(1, 3, 224, 224, device="meta"))]
    assert shapes == [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_every_mask_branch_goes_down_to_seven_pixels_and_up_again() -> None:
    model, lowest = on_meta("attention92"), []
    for layer in model.modules():
        if isinstance(layer, Hourglass) and layer.below is None:
            layer.up.register_forward_hook(lambda _, __, y: lowest.append(y.shape[-1]))
        if isinstance(layer, MaskBranch):
            layer.register_forward_hook(lambda _, given, y: lowest.append(y.shape == given[0].shape))
    model(torch.rand(1, 3, 224, 224, device="meta"))
    assert lowest == [7, True] * 6


def test_a_module_has_the_convolutions_that_the_authors_files_have() -> None:
    def weights(layer: nn.Module) -> int:
        return sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Conv2d))

    with torch.device("meta"):
        found = [weights(AttentionModule(256 * 2**i, 3 - i, STYLE)) for i in range(3)]
    unit = 17 * 64**2  # 1x1, 3x3 and 1x1 of a bottleneck of 64 channels within 256
    linear = 2 * 256**2
    assert found == [12 * unit + linear, 4 * (9 * unit + linear), 16 * (6 * unit + linear)]


@torch.no_grad()
def test_a_mask_multiplies_the_trunk_by_one_plus_itself_by_itself_or_not_at_all() -> None:
    residual, naive, none = attention("residual"), attention("naive"), attention("none")
    naive.load_state_dict(residual.state_dict())
    none.load_state_dict(residual.state_dict(), strict=False)
    x = torch.randn(2, 16, 8, 8)
    assert residual.mask is not None and none.mask is None
    before = residual.before(x)
    trunk, mask = residual.trunk(before), residual.mask(before)
    assert 0 < mask.min() < mask.max() < 1
    assert relative_error(residual(x), residual.after((1 + mask) * trunk)) <= 1e-6
    assert relative_error(naive(x), residual.after(mask * trunk)) <= 1e-6
    assert relative_error(none(x), residual.after(trunk)) <= 1e-6


@torch.no_grad()
def test_an_hourglass_is_symmetric_and_adds_what_lies_across() -> None:
    torch.manual_seed(0)
    glass = Hourglass(8, 2, STYLE).eval()
    assert glass.across is not None and glass.below is not None
    x = torch.randn(2, 8, 11, 6)

    def pool(z: Tensor) -> Tensor:
        return F.max_pool2d(z, 3, 2, 1)

    def up(z: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(z, size, mode="bilinear", align_corners=True)

    half = glass.down(pool(x))
    quarter = glass.below.up(glass.below.down(pool(half)))
    wanted = up(glass.up(glass.across(half) + up(quarter, (6, 3))), (11, 6))
    assert relative_error(glass(x), wanted) <= 1e-6


@pytest.mark.parametrize(("channels", "stride", "projected"), [(8, 1, False), (16, 1, True), (8, 2, True)])
@torch.no_grad()
def test_a_unit_adds_its_input_or_a_projection_of_its_activation(channels: int, stride: int, projected: bool) -> None:
    torch.manual_seed(0)
    unit = ResidualUnit(8, channels, stride, STYLE).eval()
    x = torch.randn(2, 8, 6, 6)
    z = unit.norm(x).relu()
    shortcut = unit.projection(z) if unit.projection is not None else x
    assert (unit.projection is not None) == projected
    assert relative_error(unit(x), unit.conv3(unit.conv2(unit.conv1(z))) + shortcut) <= 1e-6


def test_gates_do_what_the_paper_says() -> None:
    x = torch.randn(2, 5, 4, 4)
    assert torch.allclose(open_gate(x, "mixed"), 1 / (1 + (-x).exp()))
    assert torch.allclose(open_gate(x, "channel").square().sum(1), torch.ones(2, 4, 4))
    normal = open_gate(x, "spatial").logit()
    assert torch.allclose(normal.mean((2, 3)), torch.zeros(2, 5), atol=1e-5)
    assert torch.allclose(normal.std((2, 3), correction=0), torch.ones(2, 5), atol=1e-3)


@pytest.mark.parametrize("gate", ["channel", "spatial"])
def test_other_gates_fit_and_change_the_answer(gate: str) -> None:
    scores = []
    for kind in ("mixed", gate):
        torch.manual_seed(0)
        model = create_model(f"attention56(width=4, stem='cifar', gate={kind!r})").eval()
        scores.append(model(torch.rand(2, 3, 8, 8)))
    assert scores[1].isfinite().all()
    scores[1].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert not torch.allclose(scores[1], scores[0], rtol=1e-3)


def test_the_small_stem_keeps_the_resolution() -> None:
    maps = on_meta("attention56(stem='cifar')").stages(torch.rand(1, 3, 32, 32, device="meta"))
    assert [map_.shape[-1] for map_ in maps] == [32, 16, 8, 4]


def test_a_network_without_modules_is_refused() -> None:
    with pytest.raises(NetwrightError, match=r"modules cannot be \(\)"):
        create_model("attention56(modules=())")


def test_its_weights_start_as_he_et_al_have_it() -> None:
    torch.manual_seed(0)
    model = create_model("attention56(width=32)")
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1), name
