"""Geometry: the exact path equals the interpolating one, maps compose, labels follow their pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from netwright.engine.augment import prepare
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw
from netwright.engine.warp import IGNORE, PADDINGS, TIE, Warp, gather, gather_pixels, resample, resample_labels
from tests.support import CPU

SIZES = [
    ((8, 8), (8, 8)),
    ((8, 8), (11, 10)),
    ((7, 8), (8, 11)),
    ((9, 10), (6, 7)),
    ((5, 12), (8, 8)),
    ((1, 2), (3, 3)),
]


def pictures(n: int, source: tuple[int, int]) -> Tensor:
    return torch.randint(0, 256, (n, *source, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def centre(n: int, size: tuple[int, int], source: tuple[int, int], padding: str = "reflect") -> Warp:
    return replace(Warp.centre(n, size, source, torch.device("cpu")), padding=padding)


def mirrored(warp: Warp, sign: Tensor) -> Warp:
    return warp.linear(sign, torch.zeros_like(sign), torch.zeros_like(sign), torch.ones_like(sign), whole=True)


def smooth(images: Tensor, warp: Warp) -> Tensor:
    """The interpolating path. N H W C bytes -> N h w C floats."""
    return resample(images.permute(0, 3, 1, 2).float(), warp).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("size", "source"), SIZES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_gather_equals_resample(size: tuple[int, int], source: tuple[int, int], padding: str) -> None:
    n = 40
    draw = torch.Generator().manual_seed(1)
    warp = centre(n, size, source, padding)
    for _ in range(2):
        dx, dy = (torch.randint(-3, 4, (n,), generator=draw).float() for _ in range(2))
        sign = torch.where(torch.rand(n, generator=draw) < 0.5, -1.0, 1.0)
        warp = mirrored(warp.shift(dx, dy), sign)
    assert warp.whole
    images = pictures(n, source)
    # Positions within 12 pixels are computed to 12 · 2^-24 ≈ 1e-6 in each of a few steps; values differ by 255 a pixel.
    torch.testing.assert_close(gather(images, warp).float(), smooth(images, warp), rtol=0, atol=1e-4 * 255)


@pytest.mark.parametrize(("size", "source"), SIZES[:3])
def test_centre_is_what_evaluation_sees(size: tuple[int, int], source: tuple[int, int]) -> None:
    images = pictures(3, source)
    top, left = (source[0] - size[0]) // 2, (source[1] - size[1]) // 2
    warp = centre(3, size, source)
    assert warp.whole
    assert torch.equal(gather(images, warp), images[:, top : top + size[0], left : left + size[1]])


@pytest.mark.parametrize("stored", [8, 9, 10, 11])
def test_prepare_takes_the_centre(stored: int) -> None:
    images = pictures(3, (stored, stored))
    raw = Raw(images, torch.zeros(3, dtype=torch.long), torch.arange(3))
    seen = prepare(raw, Normalise((0.0,) * 3, (1.0,) * 3, 8), CPU)
    expected = gather(images, centre(3, (8, 8), (stored, stored))).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)  # one product and one division in float32


@pytest.mark.parametrize("pad", [1, 3, 8])
def test_reflection_repeats_the_edge_pixel(pad: int) -> None:
    images = pictures(2, (8, 8))
    wide = centre(2, (8 + 2 * pad, 8 + 2 * pad), (8, 8))
    expected = np.pad(images.numpy(), ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    assert (gather(images, wide).numpy() == expected).all()


def test_far_outside_reflection_goes_on() -> None:
    images = pictures(1, (4, 4))
    far = centre(1, (4, 4), (4, 4)).shift(torch.tensor([8.0]), torch.tensor([-16.0]))
    assert torch.equal(gather(images, far), images)  # the reflected picture has period twice its size


@pytest.mark.parametrize("padding", PADDINGS)
def test_composition_equals_one_after_the_other(padding: str) -> None:
    n, big = 6, 30
    images = torch.zeros(n, big, big, 3, dtype=torch.uint8)
    images[:, 10:20, 10:20] = pictures(n, (10, 10))  # a border, so that nothing comes in from outside
    start = centre(n, (big, big), (big, big), padding)
    dx, dy = torch.tensor([0.0, 1, 2, -3, 4, -5]), torch.tensor([1.0, 0, -2, 3, -4, 5])
    minus = torch.full((n,), -1.0)
    flip, shift = mirrored(start, minus), start.shift(dx, dy)
    # `then` puts each new map before the picture's old one: what is composed last is seen first by the output.
    assert torch.equal(gather(images, mirrored(shift, minus)), gather(gather(images, shift), flip))
    assert torch.equal(gather(images, flip.shift(dx, dy)), gather(gather(images, flip), shift))
    assert not torch.equal(gather(images, flip.shift(dx, dy)), gather(images, mirrored(shift, minus)))
    assert torch.equal(gather(images, mirrored(flip, minus)), images)


def test_shift_looks_right_and_down() -> None:
    images = pictures(1, (8, 8))
    moved = gather(images, centre(1, (8, 8), (8, 8)).shift(torch.tensor([2.0]), torch.tensor([3.0])))
    assert torch.equal(moved[:, :5, :6], images[:, 3:, 2:])


def turned(warp: Warp, angle: float) -> Warp:
    a = torch.full((warp.n,), angle)
    return warp.linear(a.cos(), -a.sin(), a.sin(), a.cos())


def test_a_map_that_interpolates_is_not_whole() -> None:
    warp = centre(2, (8, 8), (8, 8))
    assert warp.whole
    assert not turned(warp, 0.1).whole
    assert not turned(warp, 0.1).shift(torch.ones(2), torch.ones(2)).whole
    assert not warp.bend(torch.zeros(2, 2, 8, 8)).whole


def test_bending_moves_by_source_pixels() -> None:
    images = pictures(2, (8, 8))
    field = torch.zeros(2, 2, 8, 8)
    field[:, 0], field[:, 1] = 2.0, -1.0
    bent = centre(2, (8, 8), (8, 8)).bend(field * 0.5).bend(field * 0.5)
    shifted = centre(2, (8, 8), (8, 8)).shift(torch.full((2,), 2.0), torch.full((2,), -1.0))
    torch.testing.assert_close(smooth(images, bent), gather(images, shifted).float(), rtol=0, atol=1e-4 * 255)


def test_projective_maps_divide() -> None:
    image = torch.arange(9.0).expand(1, 1, 9, 9).contiguous()  # a ramp along x, centre 4
    matrix = torch.eye(3).repeat(1, 1, 1)
    matrix[:, 2, 0] = 0.1
    seen = resample(image, centre(1, (9, 9), (9, 9), "edge").then(matrix))
    x = torch.arange(9.0) - 4
    expected = (4 + x / (1 + 0.1 * x)).clamp(0, 8)
    torch.testing.assert_close(
        seen[0, 0], expected.expand(9, 9), rtol=0, atol=1e-5
    )  # values to 8, some float32 roundings


@pytest.mark.parametrize("angle", [0.3, 1.5, 2.0, -0.7])
@pytest.mark.parametrize(("size", "source"), [((15, 15), (15, 15)), ((12, 15), (16, 13))])
def test_labels_follow_their_pictures(angle: float, size: tuple[int, int], source: tuple[int, int]) -> None:
    labels = torch.randint(0, 5, (3, *source), generator=torch.Generator().manual_seed(2))
    warp = turned(centre(3, size, source), angle).shift(torch.tensor([0.0, 1, -2]), torch.tensor([0.0, -1, 1]))
    found = resample_labels(labels, warp)
    assert found.dtype == labels.dtype
    checked = 0
    for n in range(3):
        matrix = warp.matrix[n].double()
        for row in range(size[0]):
            for column in range(size[1]):
                x, y, w = matrix @ torch.tensor([column - (size[1] - 1) / 2, row - (size[0] - 1) / 2, 1.0]).double()
                place = float(y / w) + (source[0] - 1) / 2, float(x / w) + (source[1] - 1) / 2
                if any(abs(p - math.floor(p) - 0.5 + TIE) < 1e-4 for p in place):
                    continue  # a tie between two pixels, of which the one to the right or below is taken
                i, j = (math.floor(p + TIE + 0.5) for p in place)
                inside = 0 <= i < source[0] and 0 <= j < source[1]
                assert found[n, row, column] == (labels[n, i, j] if inside else IGNORE)
                checked += 1
    assert checked > 0.9 * found.numel()


def test_labels_outside_are_ignored_and_ignored_ones_stay() -> None:
    labels = torch.full((1, 4, 4), 3)
    labels[0, 0, 0] = IGNORE
    moved = resample_labels(labels, centre(1, (4, 4), (4, 4)).shift(torch.tensor([-1.0]), torch.tensor([0.0])))
    expected = torch.full((1, 4, 4), 3)
    expected[0, :, 0] = IGNORE
    expected[0, 0, 1] = IGNORE
    assert torch.equal(moved, expected)


def test_many_classes_survive() -> None:
    labels = torch.arange(64 * 64).view(1, 64, 64) * 4099  # above 2^24, where float32 would round
    start = centre(1, (64, 64), (64, 64))
    assert torch.equal(resample_labels(labels, mirrored(start, torch.tensor([-1.0]))), labels.flip(2))
    fewer = labels // 4099 * 4095
    assert fewer.max() < 2**24
    assert torch.equal(resample_labels(fewer, start.bend(torch.zeros(1, 2, 64, 64))), fewer)


@pytest.mark.parametrize(("size", "source"), SIZES)
def test_whole_warps_move_labels_as_they_move_pictures(size: tuple[int, int], source: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(3)
    images = torch.randint(0, 255, (20, *source, 1), dtype=torch.uint8, generator=draw)
    sign = torch.where(torch.rand(20, generator=draw) < 0.5, -1.0, 1.0)
    shifts = torch.randint(-4, 5, (2, 20), generator=draw).float()
    warp = mirrored(centre(20, size, source), sign).shift(*shifts)
    inside = gather(torch.ones_like(images), replace(warp, padding="zeros")) == 1
    expected = torch.where(inside, gather(images, warp).long(), IGNORE)[..., 0]
    assert torch.equal(resample_labels(images[..., 0].long(), warp), expected)


@pytest.mark.parametrize("whole", [True, False])
def test_stacks_of_masks_are_masks_one_by_one(whole: bool) -> None:
    stack = torch.randint(-1, 2, (3, 4, 9, 8), generator=torch.Generator().manual_seed(4))
    warp = centre(3, (7, 8), (9, 8)).shift(torch.tensor([1.0, -2, 0]), torch.tensor([0.0, 3, -1]))
    warp = warp if whole else turned(warp, 0.4)
    found = resample_labels(stack, warp)
    assert found.shape == (3, 4, 7, 8)
    assert found.dtype == stack.dtype
    for plane in range(4):
        assert torch.equal(found[:, plane], resample_labels(stack[:, plane], warp))
    assert (found == IGNORE).all(1).any()  # outside, in all masks


def test_labels_do_not_depend_on_their_batch() -> None:
    labels = torch.randint(-1, 9, (7, 33, 31), generator=torch.Generator().manual_seed(5))
    matrix = torch.eye(3) + 0.1 * torch.randn(7, 3, 3, generator=torch.Generator().manual_seed(6))
    matrix[:, 2, :2] *= 0.1
    together = resample_labels(labels, centre(7, (30, 30), (33, 31)).then(matrix))
    for n in range(7):
        alone = resample_labels(labels[n : n + 1], centre(1, (30, 30), (33, 31)).then(matrix[n : n + 1]))
        assert torch.equal(alone[0], together[n])


@pytest.mark.parametrize("side", [16, 20, 24, 100, 224])
def test_half_way_between_two_pixels_is_the_one_to_the_right_and_below(side: int) -> None:
    """A picture at half its size looks between pixels everywhere; floats alone would go now here, now there."""
    labels = torch.arange(side * side).view(1, side, side)
    start = centre(1, (side, side), (side, side))
    assert torch.equal(resample_labels(labels, start.resized((side // 2, side // 2))), labels[:, 1::2, 1::2])
    turned_round = mirrored(start, torch.tensor([-1.0])).resized((side // 2, side // 2))
    assert torch.equal(resample_labels(labels, turned_round), labels[:, 1::2, 1::2].flip(2))  # the same pixels


def test_a_bend_moves_output_pixels_before_all_maps() -> None:
    """Looking at p + d through a map M is looking at M (p + d), whether the map was composed before or after."""
    images = pictures(2, (12, 12))
    field = torch.zeros(2, 2, 8, 8)
    field[:, 0], field[:, 1] = 1.5, -0.5
    start, by = centre(2, (8, 8), (12, 12)), (torch.full((2,), 1.5), torch.full((2,), -0.5))
    expected = smooth(images, turned(start, 0.4).shift(*by, whole=False))
    for bent in (turned(start, 0.4).bend(field), turned(start.bend(field), 0.4)):
        torch.testing.assert_close(smooth(images, bent), expected, rtol=0, atol=1e-4 * 255)
    assert (smooth(images, turned(start.shift(*by, whole=False), 0.4)) - expected).abs().max() > 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_bend_through_a_projective_map(whole: bool) -> None:
    matrix = torch.eye(3).repeat(2, 1, 1)
    matrix[:, 2, 0] = 0.03
    field = torch.zeros(2, 2, 8, 8)
    field[:, 0], field[:, 1] = 2.0, 1.0
    start = centre(2, (8, 8), (8, 8)).then(matrix, whole=whole)
    images, by = pictures(2, (8, 8)), (torch.full((2,), 2.0), torch.full((2,), 1.0))
    torch.testing.assert_close(smooth(images, start.bend(field)), smooth(images, start.shift(*by)), rtol=0, atol=0.03)


@pytest.mark.parametrize("size", [(8, 8), (16, 8), (5, 7), (1, 1)])
def test_resized_is_torchs_resize(size: tuple[int, int]) -> None:
    images = pictures(2, (8, 8))
    small = centre(2, (8, 8), (8, 8)).resized(size)
    assert small.size == size
    expected = torch.nn.functional.interpolate(images.permute(0, 3, 1, 2).float(), size, mode="bilinear")
    torch.testing.assert_close(smooth(images, small), expected.permute(0, 2, 3, 1), rtol=0, atol=1e-4 * 255)


def test_resized_to_its_own_size_is_the_same_map() -> None:
    warp = centre(2, (8, 8), (8, 8))
    assert warp.resized((8, 8)) is warp


def test_a_resized_bend_looks_at_the_same_places() -> None:
    """A field that is linear in place is itself a map: stretching it needs no interpolation but at the edge."""
    ramp = torch.arange(16).float() - 7.5
    field = torch.stack([0.1 * ramp.expand(16, 16), -0.2 * ramp[:, None].expand(16, 16)]).expand(2, 2, 16, 16)
    images = pictures(2, (16, 16))
    one, zero = torch.ones(2), torch.zeros(2)
    start = centre(2, (16, 16), (16, 16))
    bent = smooth(images, start.bend(field).resized((8, 8)))
    mapped = smooth(images, start.linear(1.1 * one, zero, zero, 0.8 * one).resized((8, 8)))
    torch.testing.assert_close(bent, mapped, rtol=0, atol=1e-4 * 255)


@pytest.mark.parametrize("padding", ["reflect", "edge", "zeros"])
@pytest.mark.parametrize(
    ("source", "size", "shift"), [(9, 9, 3), (9, 6, 5), (6, 9, 2), (5, 5, 5), (5, 5, 9), (8, 8, 0)]
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_rows_and_pixels_are_gathered_alike(
    padding: str, source: int, size: int, shift: int, dtype: torch.dtype
) -> None:
    n, draw = 40, torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, source, source, 3), generator=draw).to(dtype)
    warp = replace(Warp.centre(n, (size, size), (source, source), torch.device("cpu")), padding=padding)
    one, signs = torch.ones(n), torch.randint(0, 2, (2, n), generator=draw) * 2.0 - 1
    warp = warp.linear(signs[0], 0 * one, 0 * one, signs[1], whole=True)
    shifts = torch.randint(-shift, shift + 1, (2, n), generator=draw).float()
    warp = warp.shift(shifts[0], shifts[1])
    assert torch.equal(gather(images, warp), gather_pixels(images, warp))
