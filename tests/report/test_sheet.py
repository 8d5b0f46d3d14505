"""Grids of pictures: each pixel enlarged by a whole factor, in its place, with its label."""

import io

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.report import sheet as module
from netwright.report.sheet import FRAME, GAP, MOST, PAPER, sheet

RED, BLUE = (250, 10, 20), (10, 20, 250)


def plain(colour: tuple[int, ...], height: int = 4, width: int = 4) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def box(picture: Image.Image, colour: tuple[int, ...]) -> tuple[int, ...]:
    """Left, top, right, bottom of a colour."""
    rows, columns = np.nonzero((np.asarray(picture) == colour).all(-1))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


class TestPictures:
    def test_pixels_are_enlarged_by_a_whole_factor(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
        noise[0, 0] = RED
        found = sheet([[noise]], scale=3)
        left, top, _, _ = box(found, RED)
        seen = np.asarray(found.crop((left, top, left + 21, top + 15)))
        assert (seen == noise.repeat(3, 0).repeat(3, 1)).all()

    def test_columns_and_rows_follow_one_another_with_a_thin_gap(self) -> None:
        found = sheet([[plain(RED), plain(BLUE)], [plain((0, 9, 0)), None]], scale=2)
        red, blue, green = (box(found, colour) for colour in (RED, BLUE, (0, 9, 0)))
        assert (blue[0] - red[2], blue[1]) == (GAP, red[1])
        assert (green[0], green[1] - red[3]) == (red[0], GAP)
        assert found.getpixel((red[0] - 1, red[1])) == FRAME

    @pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1)])
    def test_grey_pictures(self, shape: tuple[int, ...]) -> None:
        assert box(sheet([[np.full(shape, 77, np.uint8)]], scale=1), (77, 77, 77))

    def test_a_smaller_picture_stands_in_the_middle(self) -> None:
        found = sheet([[plain(RED, 8, 12), plain(BLUE, 4, 4)]], scale=1)
        red, blue = box(found, RED), box(found, BLUE)
        assert blue[1] - red[1] == 2
        assert blue[0] - red[2] == GAP + 4

    def test_rows_of_different_length(self) -> None:
        assert sheet([[plain(RED)], [plain(RED), plain(BLUE)]]).size == sheet([[plain(RED), plain(BLUE)]] * 2).size

    @pytest.mark.parametrize(("side", "factor"), [(28, 4), (32, 4), (64, 2), (112, 1), (512, 1)])
    def test_small_pictures_are_enlarged(self, side: int, factor: int) -> None:
        left, _, right, _ = box(sheet([[plain(RED, side, side)]]), RED)
        assert right - left == side * factor

    def test_many_columns_are_enlarged_less(self) -> None:
        found = sheet([[plain(RED, 28, 28)] * 40])
        assert found.width < module.WIDEST

    def test_it_can_be_written_and_read(self) -> None:
        stream = io.BytesIO()
        sheet([[plain(RED)]], title="Ω").save(stream, "PNG")
        assert Image.open(stream).mode == "RGB"


class TestLabels:
    def test_labels_take_room_beside_and_above(self) -> None:
        bare, named = sheet([[plain(RED)]]), sheet([[plain(RED)]], rows_named=["row"], columns_named=["column"])
        before, after = box(bare, RED), box(named, RED)
        assert after[0] > before[0]
        assert after[1] > before[1]
        beside = np.asarray(named.crop((0, after[1], after[0] - 1, after[3])))
        above = np.asarray(named.crop((after[0], 0, after[2], after[1] - 1)))
        assert (beside < 200).any()
        assert (above < 200).any()

    def test_long_labels_do_not_touch_the_pictures(self) -> None:
        name = "a_very_long_file_name_" * 10
        found = sheet([[plain(RED), plain(BLUE)]], rows_named=[name], columns_named=[name, "b"], title=name)
        red, blue = box(found, RED), box(found, BLUE)
        assert blue[0] - red[2] == GAP
        between = np.asarray(found.crop((red[2] + 1, 40, red[2] + 2, red[1] - 1)))
        assert (between == PAPER).all()

    def test_a_cut_name_keeps_its_end(self) -> None:
        cut = module._cut("photo_of_something_00017.png", 90, module.TEXT)
        assert cut.endswith(".png")
        assert "…" in cut
        assert module._font(module.TEXT).getlength(cut) <= 90

    def test_words_are_wrapped_and_lines_limited(self) -> None:
        assert module._fitted("one two", 40) == "one\ntwo"
        assert module._fitted("a b c d e f", 8).count("\n") == module.LINES - 1

    def test_names_that_are_no_valid_text(self) -> None:
        assert sheet([[plain(RED)]], rows_named=["\udcff.png"]).size


class TestMistakes:
    @pytest.mark.parametrize("rows", [[], [[]], [[None]]])
    def test_no_pictures(self, rows: list[list[None]]) -> None:
        with pytest.raises(NetwrightError, match="no pictures"):
            sheet(rows)

    @pytest.mark.parametrize(
        "wrong", [np.zeros((4, 4)), np.zeros((3, 4, 4, 2), np.uint8), np.zeros((4, 4, 2), np.uint8)]
    )
    def test_no_bytes_or_no_picture(self, wrong: np.ndarray) -> None:
        with pytest.raises(NetwrightError, match="wants pictures of bytes"):
            sheet([[wrong]])

    def test_names_for_another_number(self) -> None:
        with pytest.raises(NetwrightError, match="2 names for 1 columns"):
            sheet([[plain(RED)]], columns_named=["a", "b"])

    def test_a_scale_that_is_none(self) -> None:
        with pytest.raises(NetwrightError, match="enlarged 0 times"):
            sheet([[plain(RED)]], scale=0)

    def test_too_large(self) -> None:
        with pytest.raises(NetwrightError, match="cannot be read again"):
            sheet([[plain(RED, 10, 10)]], scale=int(MOST**0.5) // 10 + 1)
