"""The original U-Net: its sizes, its parameters, its mirrored borders."""

import pytest
import torch
from torch import nn

from netwright.models import create_model
from netwright.models.unet_2015 import UNet2015, mirrored, with_context

SIZES = {572: 388, 188: 4, 204: 20, 252: 68}


def small(**options: object) -> UNet2015:
    torch.manual_seed(0)
    return UNet2015(**{"width": 2, "in_channels": 1, **options}).eval()


def meta(**options: object) -> UNet2015:
    with torch.device("meta"):
        return UNet2015(**options)


class TestStructure:
    @pytest.mark.parametrize("padding", ["valid", "same"])
    def test_it_has_the_parameters_that_figure_1_adds_up_to(self, padding: str) -> None:
        def pair(before: int, after: int) -> int:
            return (9 * before + 1) * after + (9 * after + 1) * after

        contracting = pair(1, 64) + pair(64, 128) + pair(128, 256) + pair(256, 512) + pair(512, 1024)
        enlarging = sum((4 * 2 * width + 1) * width for width in (512, 256, 128, 64))
        expanding = sum(pair(2 * width, width) for width in (512, 256, 128, 64))
        wanted = contracting + enlarging + expanding + (64 + 1) * 2
        assert wanted == 31_030_658
        assert sum(p.numel() for p in meta(padding=padding).parameters()) == wanted

    def test_it_has_23_convolutions(self) -> None:
        layers = [m for m in meta().modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert len(layers) == 23

    @pytest.mark.parametrize(("given", "wanted"), SIZES.items())
    def test_without_padding_scores_are_184_pixels_smaller(self, given: int, wanted: int) -> None:
        model = meta().eval()
        assert model.scores(torch.empty(1, 1, given, given, device="meta")).shape == (1, 2, wanted, wanted)

    def test_its_maps_have_the_sides_of_figure_1(self) -> None:
        maps = meta().eval().maps(torch.empty(1, 1, 388, 388, device="meta"))
        assert [map_.shape[-1] for map_ in maps] == [568, 280, 136, 64, 28]
        assert [map_.shape[1] for map_ in maps] == [64, 128, 256, 512, 1024]

    def test_dropout_ends_the_contracting_path(self) -> None:
        shares = [m.p for m in meta().modules() if isinstance(m, nn.Dropout)]
        assert shares == [0, 0, 0, 0.5, 0.5]


class TestBorders:
    def test_pixels_are_mirrored_without_the_outermost(self) -> None:
        places = mirrored(388, torch.device("cpu"))
        wanted = [*range(92, 0, -1), *range(388), *range(386, 294, -1)]
        assert places.tolist() == wanted

    def test_images_smaller_than_their_context_are_mirrored_again_and_again(self) -> None:
        places = mirrored(3, torch.device("cpu")).tolist()
        assert places[92 - 5 : 92 + 8] == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]

    def test_a_single_pixel_is_repeated(self) -> None:
        assert with_context(torch.full((1, 1, 1, 1), 7.0)).unique().tolist() == [7.0]

    @pytest.mark.parametrize("side", range(1, 70))
    def test_there_is_context_for_every_pixel_and_no_more_than_needed(self, side: int) -> None:
        given = len(mirrored(side, torch.device("cpu"))) - 184
        assert given >= side and given % 16 == 4
        assert given - side < 16

    def test_the_middle_of_the_image_is_what_the_unpadded_network_says(self) -> None:
        model = small()
        x = torch.rand(1, 1, 204, 210)
        inside = model.scores(x[..., 4:192, 4:192])  # 92 pixels of context are 4 less than six strides
        torch.testing.assert_close(model(x)[..., 96:100, 96:100], inside, rtol=1e-4, atol=1e-6)

    def test_a_tile_at_a_multiple_of_the_stride_is_seen_as_part_of_the_whole(self) -> None:
        model = small()
        x = torch.rand(1, 1, 260, 266)
        part, inner = slice(16, 248), slice(108, 124)  # each pixel sees 92 + 15 to each side at most
        tile, whole = model(x[..., part, part]), model(x)[..., part, part]
        torch.testing.assert_close(tile[..., inner, inner], whole[..., inner, inner], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 40), (91, 93)])
def test_every_size_has_scores_for_every_pixel(padding: str, size: tuple[int, int]) -> None:
    model = small(padding=padding)
    scores = model(torch.rand(1, 1, *size))
    assert scores.shape == (1, 2, *size)
    assert scores.isfinite().all()


def test_the_signal_keeps_its_size() -> None:
    torch.manual_seed(0)
    model = UNet2015(width=16, padding="same", classes=0).eval()
    size = model(torch.randn(1, 1, 64, 64)).square().mean().sqrt()
    assert 0.1 < size < 10


def test_it_is_made_by_name() -> None:
    with torch.device("meta"):
        model = create_model("unet_2015(padding='same')", classes=3, in_channels=1)
    assert model(torch.empty(2, 1, 50, 31, device="meta")).shape == (2, 3, 50, 31)
