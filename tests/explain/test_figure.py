"""Pictures of explanations: the right size and kind, with names as they are."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.explain._colour import blurred, coloured, enlarged, overlaid, rgb, scaled
from netwright.explain._figure import KINDS, LINES, TALLEST, Row, heat_figure, most_rows, sheets_figure, suffix_of
from netwright.explain._method import Sheet

PICTURE = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
ROW = Row(PICTURE, PICTURE, "<b>$x_1$</b> 日本, 12.0 %", ["a line that is so long that it is wrapped " * 4])


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_of_file(suffix: str) -> None:
    drawn = heat_figure([ROW, ROW], "speaks for", suffix)
    sheets = sheets_figure([Sheet("title", [PICTURE] * 9, ["c"] * 9, "note")], suffix)
    for content in (drawn, sheets):
        if suffix in (".pdf", ".svg"):
            assert content.startswith((b"%PDF", b"<?xml"))
        else:
            assert Image.open(io.BytesIO(content)).convert("L").getextrema() != (255, 255)


def test_the_same_is_drawn_the_same() -> None:
    assert heat_figure([ROW], "speaks for", ".png") == heat_figure([ROW], "speaks for", ".png")


def test_more_rows_make_a_taller_sheet() -> None:
    one, three = (Image.open(io.BytesIO(heat_figure([ROW] * n, "x", ".png"))) for n in (1, 3))
    assert one.width == three.width
    assert three.height > 2.5 * one.height


@pytest.mark.parametrize("name", ["map", "map.gif", "folder.png/map", ".png"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(NetwrightError, match="what kind of file"):
        suffix_of(name)


def test_colours_rise_in_lightness() -> None:
    """Perceptually even: Rec. 709 luminance never falls."""
    for name in ("inferno", "viridis"):
        light = coloured(np.linspace(0, 1, 256, dtype=np.float32)[None], name)[0] @ np.array([0.2126, 0.7152, 0.0722])
        assert (np.diff(light) > -1).all()


def test_heat_is_scaled_by_its_greatest_and_nothing_stays_nothing() -> None:
    assert scaled(np.array([[-2.0, 1.0], [4.0, np.nan]], np.float32)).tolist() == [[0, 0.25], [1, 0]]
    assert not scaled(-np.ones((2, 2), np.float32)).any()


def test_where_there_is_no_heat_the_picture_stays() -> None:
    heat = np.zeros((32, 32), np.float32)
    heat[0, 0] = 1
    drawn = overlaid(PICTURE, heat)
    grey = (PICTURE.mean(2) * 0.85).round()
    assert np.abs(drawn[1:].astype(float) - grey[1:, :, None]).max() <= 1
    assert np.ptp(drawn[0, 0].astype(int)) > 0


def test_enlarging_keeps_the_place() -> None:
    map_ = torch.zeros(1, 4, 4)
    map_[0, 1, 2] = 1
    row, column = divmod(int(enlarged(map_, 32, 32).argmax()), 32)
    assert 8 <= row < 16
    assert 16 <= column < 24


def test_blurring_keeps_the_mean_of_a_flat_picture_and_spreads_a_point() -> None:
    flat = torch.full((1, 3, 20, 20), 0.3)
    torch.testing.assert_close(blurred(flat), flat)
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    spread = blurred(point, 2 / 33)  # sigma of two pixels
    torch.testing.assert_close(
        float(spread[0, 0, 16, 18] / spread[0, 0, 16, 16]), float(np.exp(-0.5)), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels_becomes_three(channels: int) -> None:
    picture = np.arange(4 * channels, dtype=np.uint8).reshape(2, 2, channels)
    seen = rgb(picture)
    assert seen.shape == (2, 2, 3)
    assert (seen[..., 0] == picture[..., 0]).all()


def test_as_many_as_are_promised_fit_in_a_file_and_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most talkative of rows, in a format with room for four."""
    assert TALLEST[".webp"] == 2**14 - 1  # the format has 14 bits for it
    monkeypatch.setitem(TALLEST, ".webp", 2500)
    row = Row(PICTURE[:8, :8], PICTURE[:8, :8], "title", [f"line {n}" for n in range(LINES)])
    assert most_rows(".webp") == 4
    drawn = Image.open(io.BytesIO(heat_figure([row] * 4, "x", ".webp")))
    assert 2000 < drawn.height <= 2500
    with pytest.raises(NetwrightError, match=r"taller than a \.webp holds") as told:
        heat_figure([row] * 5, "x", ".webp")
    assert ".png" in told.value.fix


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_has_room_for_a_folder_of_pictures(suffix: str) -> None:
    assert 20 < most_rows(suffix) < 200
    assert TALLEST[suffix] < 2**16  # beyond which matplotlib has no canvas
