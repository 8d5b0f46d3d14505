"""U-Net: its levels, its skips, any encoder and any size."""

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models.unet import UNet, fitted

SMALL = "resnet20"
ENCODERS = ("airbench94", "inception_v3", "lenet5", "squeezenet1_1", "timm/convnext_atto", "vgg16", "xception", "zfnet")


def unet(**options: object) -> UNet:
    torch.manual_seed(0)
    return UNet(**{"encoder": SMALL, "width": 4, **options})


def parameters(**options: object) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in unet(**options).parameters())


class TestStructure:
    def test_it_is_the_sum_of_its_levels(self) -> None:
        """resnet20 has maps of 16, 32 and 64 channels at 1/1, 1/2 and 1/4; the decoder is 8 and 4 channels wide."""

        def level(before: int, skip: int, wide: int) -> int:
            enlarging = before * wide + wide
            return enlarging + 9 * (wide + skip) * wide + 2 * wide + 9 * wide * wide + 2 * wide

        body = 269_722 - 64 * 10 - 10
        assert parameters(classes=3) == body + level(64, 32, 8) + level(8, 16, 4) + 4 * 3 + 3

    @pytest.mark.parametrize("spec", ENCODERS)
    def test_any_encoder_will_do(self, spec: str) -> None:
        with torch.device("meta"):
            model = UNet(encoder=spec, classes=3).eval()
        for size in ((1, 1), (75, 130)):
            assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, 3, *size)

    def test_maps_at_a_quarter_and_a_half_lead_to_full_resolution(self) -> None:
        with torch.device("meta"):
            for spec, levels in (("convnext_tiny", 4), ("resnet18", 5), ("vgg16", 5), ("resnet20", 2)):
                assert len(UNet(encoder=spec).decoder) == levels

    def test_widths_double_up_to_sixteen_times(self) -> None:
        with torch.device("meta"):
            model = UNet(encoder="vgg16", width=2)
        assert [level.convolutions[1][0].out_channels for level in model.decoder] == [32, 16, 8, 4, 2]

    def test_strides_without_a_whole_ratio_are_refused(self) -> None:
        from types import SimpleNamespace

        from netwright.models.unet import steps

        with pytest.raises(NetwrightError, match="no whole number"):
            steps(SimpleNamespace(strides=(4, 6), channels=(1, 1), shifts=lambda: (0, 0)))


class TestSkips:
    def test_a_skip_brings_the_encoders_map(self) -> None:
        model = unet().eval()
        joined: list[Tensor] = []
        model.decoder[0].convolutions.register_forward_pre_hook(lambda _, given: joined.append(given[0]))
        x = torch.rand(1, 3, 16, 16)
        model(x)
        assert torch.equal(joined[0][:, -32:], model.maps(x)[1])

    def test_without_it_there_are_fewer_weights_or_zeros(self) -> None:
        assert parameters(skip=False) == parameters() - 9 * (32 * 8 + 16 * 4)
        assert parameters(skip=False, missing="zeros") == parameters()
        assert parameters(skip=(2,)) == parameters() - 9 * 16 * 4
        assert parameters(skip=(1, 2)) == parameters()

    @pytest.mark.parametrize("skip", [False, (1,), (2,)])
    def test_zeros_compute_what_leaving_out_does(self, skip: bool | tuple[int, ...]) -> None:
        zeros, out = unet(skip=skip, missing="zeros").eval(), unet(skip=skip).eval()
        state = zeros.state_dict()
        for name, value in out.state_dict().items():
            same = state[name].shape == value.shape
            value.copy_(state[name] if same else state[name][:, : value.shape[1]])  # those that read zeros stand last
        x = torch.rand(2, 3, 20, 12)
        torch.testing.assert_close(zeros(x), out(x))

    def test_weights_that_read_zeros_get_no_gradient(self) -> None:
        model = unet(skip=False, missing="zeros")
        model(torch.rand(2, 3, 16, 16)).square().sum().backward()
        gradient = model.decoder[0].convolutions[0][0].weight.grad
        assert gradient[:, :8].abs().sum() > 0
        assert not gradient[:, 8:].any()

    def test_levels_count_from_the_largest_map(self) -> None:
        model = unet(skip=(1,))
        assert [level.skip for level in model.decoder] == [False, True]

    def test_encoder_decoder_is_the_same_network_without_skips(self) -> None:
        with torch.device("meta"):
            one, other = (create_model(name, classes=3) for name in ("unet", "encoder_decoder"))
        assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}
        assert not any(level.skip for level in other.get_submodule("decoder"))

    @pytest.mark.parametrize("skip", [(3,), (1, 9)])
    def test_a_level_that_is_not_there_is_refused(self, skip: tuple[int, ...]) -> None:
        with pytest.raises(NetwrightError, match=f"this encoder has no map {skip[-1]} besides its last") as caught:
            unet(skip=skip)
        assert "1 (1/1), 2 (1/2)" in caught.value.fix


class TestFitted:
    def test_borders_are_repeated_evenly(self) -> None:
        x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        assert fitted(x, 2, 5)[0, 0].tolist() == [[1, 1, 2, 2, 2], [3, 3, 4, 4, 4]]
        assert fitted(x, 3, 2)[0, 0].tolist() == [[1, 2], [3, 4], [3, 4]]

    def test_the_middle_is_kept(self) -> None:
        x = torch.arange(5.0).expand(1, 1, 5, 5)
        assert fitted(x, 5, 3)[0, 0, 0].tolist() == [1, 2, 3]
        assert fitted(x, 5, 2)[0, 0, 0].tolist() == [1, 2], "the larger half falls to the right"

    def test_a_shift_says_where_the_first_value_comes(self) -> None:
        x = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        assert fitted(x, 1, 5, shift=0)[0, 0, 0].tolist() == [1, 2, 3, 3, 3]
        assert fitted(x[..., :1, :], 2, 4, shift=1)[0, 0].tolist() == [[1, 1, 2, 3]] * 2
        assert fitted(x.expand(1, 1, 3, 3), 2, 3, shift=-1)[0, 0].tolist() == [[2, 3, 3]] * 2

    def test_one_side_may_grow_while_the_other_shrinks(self) -> None:
        assert fitted(torch.rand(1, 2, 3, 7), 5, 4).shape == (1, 2, 5, 4)

    def test_what_fits_stays(self) -> None:
        x = torch.rand(1, 2, 3, 4)
        assert fitted(x, 3, 4) is x


def test_a_tile_at_a_multiple_of_the_stride_is_seen_as_part_of_the_whole() -> None:
    """The encoder sees 7 pixels to each side; the decoder's convolutions add 2·2 + 2 and rounding up to 3."""
    model = unet(encoder="vgg(blocks=2, layers=1, width=4)").eval().double()
    x = torch.rand(1, 3, 61, 63, dtype=torch.float64)
    whole, tile, inner = model(x), model(x[..., 4:48, 8:52]), slice(16, 28)
    torch.testing.assert_close(tile[..., inner, inner], whole[..., 20:32, 24:36])


def test_dropout_acts_on_the_smallest_map() -> None:
    model = unet(dropout=1.0).train()
    seen: list[Tensor] = []
    model.decoder[0].upsample.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(torch.rand(2, 3, 16, 16))
    assert not seen[0].any()


@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "transposed", "pixel_shuffle"])
def test_without_a_norm_the_signal_keeps_its_size(upsample: str) -> None:
    model = unet(encoder="vgg16(width=8)", upsample=upsample, norm="none", width=16, classes=0).eval()
    size = model(torch.randn(1, 3, 64, 64)).square().mean().sqrt()
    assert 0.02 < size < 50


def test_transposed_convolutions_begin_as_interpolation() -> None:
    """Each output channel is the bilinear enlargement of one mix of the channels."""
    model = unet(upsample="transposed")
    layer = next(m for m in model.modules() if isinstance(m, nn.ConvTranspose2d))
    assert layer.kernel_size == (4, 4)
    x = torch.rand(1, layer.in_channels, 6, 6)
    mix = layer.weight.sum((2, 3)) / 4  # a kernel adds up to factor²
    mixed = torch.einsum("nchw,cd->ndhw", x, mix)
    wanted = nn.functional.interpolate(mixed, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(layer(x)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1])
    drawn = next(m for m in unet(upsample="transposed", start="random").modules() if isinstance(m, nn.ConvTranspose2d))
    assert drawn.kernel_size == (2, 2)
    assert drawn.weight.std((2, 3)).min() > 0


def test_pixels_are_shuffled_from_equal_filters() -> None:
    model = unet(upsample="pixel_shuffle")
    conv = next(m.conv for m in model.modules() if hasattr(m, "shuffle"))
    assert torch.equal(conv.weight[::4], conv.weight[1::4])
    assert isinstance(conv, nn.Conv2d)
