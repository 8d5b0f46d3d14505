"""Colours of classes, masks laid over pictures, and pictures of errors."""

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.report.overlay import (
    GREYS,
    HIT,
    IGNORED,
    LEGEND,
    MISSED,
    OKABE_ITO,
    STRIP,
    coloured,
    errors,
    kinds_of_error,
    overlay,
    palette,
)

GREY = np.full((12, 12, 3), 90, np.uint8)


def square() -> np.ndarray:
    mask = np.zeros((12, 12), np.uint8)
    mask[2:10, 2:10] = 1
    return mask


class TestPalette:
    def test_all_colours_differ_and_fewer_are_the_first_of_more(self) -> None:
        most = palette(255)
        assert len({tuple(colour) for colour in most.tolist()}) == 255
        for k in (1, 2, 9, 100):
            assert (palette(k) == most[:k]).all()

    def test_background_is_black_and_without_one_no_class_is(self) -> None:
        assert palette(3)[0].tolist() == [0, 0, 0]
        assert palette(3, background=False).tolist() == [list(colour) for colour in OKABE_ITO[:3]]

    @pytest.mark.parametrize("k", [0, 256])
    def test_more_classes_than_ids_is_an_error(self, k: int) -> None:
        with pytest.raises(NetwrightError, match=f"{k} classes"):
            palette(k)

    def test_what_is_given_may_be_changed(self) -> None:
        palette(3)[1] = 0
        assert palette(3)[1].any()


class TestColoured:
    def test_ids_get_their_colours(self) -> None:
        assert (coloured(square(), palette(2)) == palette(2)[square()]).all()

    def test_ignored_pixels_are_hatched_and_an_unknown_id_is_black(self) -> None:
        seen = coloured(np.full((8, 8), IGNORED, np.uint8), palette(2))
        assert set(np.unique(seen)) == set(GREYS)
        assert not coloured(np.full((2, 2), 7, np.uint8), palette(2)).any()

    def test_classes_that_share_a_pixel_are_mixed(self) -> None:
        stack = np.array([[[1, 1, 0]], [[0, 1, 0]]], np.uint8)
        colours = np.array([[200, 0, 0], [0, 100, 0]], np.uint8)
        assert coloured(stack, colours).tolist() == [[[200, 0, 0], [100, 50, 0], [0, 0, 0]]]


class TestOverlay:
    def test_tint_inside_outline_opaque_and_the_rest_as_it_was(self) -> None:
        colours = palette(2)
        seen = overlay(GREY, square(), colours, alpha=0.25)
        assert (seen[0, 0] == GREY[0, 0]).all()
        for edge in ((2, 5), (9, 5), (5, 2), (5, 9)):
            assert (seen[edge] == colours[1]).all()
        assert (seen[5, 5] == np.rint(90 + 0.25 * (colours[1].astype(float) - 90))).all()

    def test_a_line_one_pixel_wide_is_opaque(self) -> None:
        mask = np.zeros((12, 12), np.uint8)
        mask[6] = 1
        assert (overlay(GREY, mask, palette(2), alpha=0.0)[6] == palette(2)[1]).all()

    def test_outlines_are_as_wide_as_asked(self) -> None:
        seen = overlay(GREY, square(), palette(2), alpha=0.0, contour=3)
        assert [(seen[5, x] == palette(2)[1]).all() for x in range(2, 7)] == [True, True, True, False, False]

    def test_strips_do_not_show(self) -> None:
        generator = np.random.default_rng(1)
        mask = generator.choice(np.array([0, 1, 2, IGNORED], np.uint8), (2 * STRIP + 9, 20))
        picture = generator.integers(0, 256, (*mask.shape, 3), np.uint8)
        whole, middle = overlay(picture, mask, palette(3)), slice(STRIP - 8, STRIP + 8)
        part = overlay(picture[STRIP - 16 : STRIP + 16], mask[STRIP - 16 : STRIP + 16], palette(3))
        assert (whole[middle] == part[8:24]).all()

    def test_grey_pictures_stacks_and_masks_without_background(self) -> None:
        stack = np.stack([square(), np.zeros((12, 12), np.uint8)])
        colours = palette(2, background=False)
        seen = overlay(GREY[..., 0], stack, colours)
        assert (seen[2, 5] == colours[0]).all()
        assert (seen[0, 0] == 90).all()
        assert (overlay(GREY, np.zeros((12, 12), np.uint8), colours, background=False)[5, 5] != 90).any()

    def test_the_picture_given_stays(self) -> None:
        picture = GREY.copy()
        overlay(picture, square(), palette(2))
        assert (picture == GREY).all()

    def test_a_mask_of_another_size_is_an_error(self) -> None:
        with pytest.raises(NetwrightError, match="12×11 px cannot lie over a picture of 12×12"):
            overlay(GREY, square()[1:], palette(2))


class TestErrors:
    def test_each_kind_has_its_colour(self) -> None:
        truth = np.array([[1, 1, 0, 1, 0, IGNORED]], np.uint8)
        found = np.array([[1, 0, 1, 2, 0, 1]], np.uint8)
        seen = errors(np.full((1, 6), 90, np.uint8), truth, found, alpha=1.0)[0].tolist()
        assert seen[:4] == [list(colour) for colour in LEGEND.values()]
        assert seen[4] == [90, 90, 90]
        assert seen[5][0] in GREYS

    def test_each_known_pixel_is_of_one_kind_at_most(self) -> None:
        generator = np.random.default_rng(2)
        truth, found = generator.integers(0, 3, (2, 30, 30), np.uint8)
        truth[:5] = IGNORED
        total = sum(where.astype(int) for where in kinds_of_error(truth, found).values())
        assert (total == ((truth != IGNORED) & ((truth > 0) | (found > 0)))).all()

    def test_without_background_only_what_is_wrong_is_painted(self) -> None:
        truth, found = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
        kinds = kinds_of_error(truth, found, background=False)
        assert kinds[HIT].tolist() == [[True, False]]
        assert not kinds[MISSED].any()
        seen = errors(np.full((1, 2), 90, np.uint8), truth, found, background=False)
        assert seen[0, 0].tolist() == [90, 90, 90]
        assert seen[0, 1].tolist() != [90, 90, 90]
