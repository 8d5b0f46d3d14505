"""Masks of colours, by palettes and legends, and masks that were compressed or blurred."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from netwright.data.masks import IGNORED
from tests.data.mask_files import RGB, SHAPE, boxes, masks_of, painted, palettes, refused, saved

# Palettes and colours


VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0)] + [(0, 0, 0)] * 252 + [(224, 224, 192)]


def test_a_palettes_numbers_are_the_classes_and_its_colours_theirs(tmp_path):
    found = masks_of(saved(tmp_path, [palettes(boxes(1, 2, 255), VOC), palettes(boxes(2), VOC)]))
    assert found.classes == ("background", "class 1", "class 2") and "255 ignored" in found.encoding
    assert found.colours.tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert (found.read(0) == boxes(1, 2, 255)).all()


def test_palettes_that_differ_are_but_a_way_to_write_colours(tmp_path):
    one, other = [(0, 0, 0), (255, 0, 0), (0, 255, 0)], [(0, 0, 0), (0, 255, 0), (255, 0, 0)]
    found = masks_of(saved(tmp_path, [palettes(boxes(1, 2), one), palettes(boxes(2, 1), other)]))
    assert found.classes == ("background", "green", "red") and "palettes" in found.notes[-1]
    assert (found.read(0) == found.read(1)).all() and (found.read(0) == boxes(2, 1)).all()


@pytest.mark.parametrize("opaque", [False, True])
def test_colours_without_a_legend(tmp_path, opaque):
    picture = Image.fromarray(painted(boxes(1, 2), RGB))
    picture = picture.convert("RGBA") if opaque else picture
    found = masks_of(saved(tmp_path, [picture, Image.fromarray(boxes(0))]))
    assert found.classes == ("background", "#0a141e", "red") and found.background
    assert found.colours.tolist() == [[0, 0, 0], [10, 20, 30], [255, 0, 0]]
    assert "called by their colours" in found.notes[0] and (found.read(0) == boxes(2, 1)).all()
    assert not found.read(1).any()


def test_colours_that_are_all_grey_are_numbers(tmp_path):
    found = masks_of(saved(tmp_path, [np.repeat(boxes(255)[..., None], 3, -1)]))
    assert found.encoding == "0 and 255: background and foreground" and (found.read(0) == boxes(1)).all()


def test_colours_of_a_legend(tmp_path):
    root = saved(tmp_path, [painted(boxes(1, 2), RGB)])
    (root / "label_colors.txt").write_text("0 0 0 sky\n255 0 0 road\n10 20 30 Void\n")
    found = masks_of(root)
    assert found.classes == ("sky", "road") and not found.background and "Void ignored" in found.encoding
    assert (found.read(0) == boxes(1, IGNORED)).all()


def test_a_colour_that_the_legend_has_not(tmp_path):
    root = saved(tmp_path, [painted(boxes(1, 2), RGB)])
    (root / "legend.txt").write_text("0 0 0 sky\n255 0 0 road\n11 20 30 tree\n")
    assert "#0b141e" in refused(root, r"masks/000\.png has the colour #0a141e")


def test_photographs_are_no_masks(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    assert "legend" in refused(saved(tmp_path, [noise]), r"\d+ colours \(as masks/000\.png\): .* photographs")


def test_grey_photographs_are_no_masks(tmp_path):
    noise = np.random.default_rng(0).integers(20, 180, SHAPE, np.uint8)
    fix = refused(saved(tmp_path, [noise, noise.T.reshape(SHAPE)]), r"each mask holds about \d+ different numbers")
    assert "160 classes" in fix or "classes, give a legend" in fix


def test_transparent_pixels_have_no_class(tmp_path):
    values = np.zeros((*SHAPE, 4), np.uint8)
    values[..., 3] = boxes(255)
    assert "alpha" in refused(saved(tmp_path, [values]), r"000\.png has 183 transparent pixels")


# Compression


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_cut_and_said(tmp_path, mode):
    mask = np.kron(np.array([[0, 1], [1, 0]], np.uint8), np.ones((30, 30), np.uint8)) * 255
    mask[3:9, 3:9] = 255
    found = masks_of(saved(tmp_path, [Image.fromarray(mask).convert(mode)], ending=".jpg", quality=75))
    assert found.encoding == "grey values cut at 128: below is background, the rest is foreground"
    assert "1 of 1 masks are JPEG" in found.notes[0] and "% of pixels lie between 32 and 223" in found.notes[0]
    assert (found.read(0) == (mask > 0)).all()


@pytest.mark.parametrize(
    ("ending", "options", "lossy"),
    [
        (".webp", {"lossless": True}, False),
        (".webp", {"quality": 80}, True),
        (".tif", {"compression": "jpeg"}, True),
        (".tif", {"compression": "tiff_lzw"}, False),
        (".bmp", {}, False),
        (".gif", {}, False),
    ],
)
def test_formats_that_change_values_and_others(tmp_path, ending, options, lossy):
    mask = np.kron(np.array([[0, 1], [1, 0]], np.uint8), np.ones((32, 32), np.uint8)) * 255
    found = masks_of(saved(tmp_path, [np.repeat(mask[..., None], 3, -1)], ending=ending, **options))
    assert found.encoding.startswith("grey values cut") == lossy and (found.read(0) == mask // 255).all()


def test_a_png_with_smooth_edges_is_cut_too(tmp_path):
    mask = ndimage.gaussian_filter(np.kron(np.eye(4), np.ones((60, 60))) * 255, 2).astype(np.uint8)
    found = masks_of(saved(tmp_path, [mask]))
    assert "masks have blurred edges" in found.notes[0] and (found.read(0) == (mask >= 128)).all()


def test_numbers_do_not_survive_jpeg(tmp_path):
    root = saved(tmp_path, [boxes(1, 2, 3)], ending=".jpg")
    assert "PNG" in refused(root, r"JPEG .* numbers from 0 to \d+ do not survive")


def test_colours_in_jpeg_want_a_legend_and_take_the_nearest(tmp_path):
    mask = np.kron(np.array([[0, 1], [2, 0]], np.uint8), np.ones((16, 16), np.uint8))
    colours = [(0, 0, 0), (250, 10, 10), (10, 10, 250)]
    root = saved(tmp_path, [painted(mask, colours)], ending=".jpg", quality=90)
    assert "legend" in refused(root, "coloured JPEG")
    (root / "legend.csv").write_text("background,0,0,0\nred,250,10,10\nblue,10,10,250\n")
    found = masks_of(root)
    assert (found.read(0) == mask).all() and any("nearest colour" in note for note in found.notes)


def test_a_jpeg_among_masks_of_numbers_is_refused(tmp_path):
    root = saved(tmp_path, [boxes(1, 2, 255)] * 3)
    Image.fromarray(boxes(1, 2, 255)).save(root / "masks/002.jpg")
    (root / "masks/002.png").unlink()
    assert "leave it out" in refused(root, r"masks/002\.jpg is JPEG or the like, among masks of the numbers 1, 2, 255")


def test_a_jpeg_among_black_and_white_is_cut_with_them(tmp_path):
    mask = np.kron(np.array([[0, 1], [1, 0]], np.uint8), np.ones((30, 30), np.uint8)) * 255
    root = saved(tmp_path, [mask] * 3)
    Image.fromarray(mask).save(root / "masks/002.jpg")
    (root / "masks/002.png").unlink()
    found = masks_of(root, ignore=7)
    assert "1 of 3 masks are JPEG" in found.notes[0] and "ignore=7 is not used" in found.notes[1]
    assert all((found.read(place) == mask // 255).all() for place in range(3))


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_three_greys_are_not_cut_into_two(tmp_path, ending):
    mask = np.kron(np.array([[0, 128, 0], [255, 0, 0]], np.uint8), np.ones((24, 24), np.uint8)).astype(np.uint8)
    mask = np.kron(mask, np.ones((3, 3), np.uint8))  # large surfaces of three greys
    soft = mask if ending == ".jpg" else ndimage.gaussian_filter(mask, 1.5)
    options = {"quality": 95} if ending == ".jpg" else {}
    root = saved(tmp_path, [soft] * 3, ending=ending, **options)
    refused(root, "numbers from 0 to 255 do not survive" if ending == ".jpg" else "survive|different numbers")


GREY_LEGENDS = [
    ("name,r,g,b\nroad,255,255,255\nbackground,0,0,0\n", [0, 255], ("background", "road"), [0, 1]),
    (
        "name,r,g,b\nbackground,0,0,0\nhouse,255,255,255\ntree,0,255,0\n",
        [0, 255],
        ("background", "house", "tree"),
        [0, 1],
    ),
    ("a,128,128,128\nb,0,0,0\nc,255,255,255\n", [0, 128, 255], ("a", "b", "c"), [1, 0, 2]),
]


@pytest.mark.parametrize(("text", "values", "classes", "wanted"), GREY_LEGENDS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_legend_of_colours_reads_grey_masks_by_colour(tmp_path, mode, text, values, classes, wanted):
    mask = boxes(*range(1, len(values)))
    root = saved(tmp_path, [Image.fromarray(np.array(values, np.uint8)[mask]).convert(mode)] * 2)
    (root / "legend.csv").write_text(text)
    found = masks_of(root)
    assert found.classes == classes and (found.read(0) == np.array(wanted)[mask]).all()


def test_a_grey_that_the_legend_of_colours_has_not(tmp_path):
    root = saved(tmp_path, [boxes(200, 255)])
    (root / "legend.csv").write_text("background,0,0,0\nroad,255,255,255\n")
    refused(root, r"masks/000\.png has the colour #c8c8c8")


def test_one_jpeg_does_not_make_colours_of_png_nearly_right(tmp_path):
    root = saved(tmp_path, [painted(boxes(1, 2), RGB)] * 2)
    (root / "legend.csv").write_text("background,0,0,0\nred,255,0,0\n")
    Image.fromarray(painted(boxes(1), RGB)).save(root / "masks/001.jpg", quality=95)
    (root / "masks/001.png").unlink()
    refused(root, r"masks/000\.png has the colour #0a141e")
    Image.fromarray(painted(boxes(1), RGB)).save(root / "masks/000.png")
    found = masks_of(root)
    assert (found.read(0) == boxes(1)).all() and any("1 of 2 masks are JPEG" in note for note in found.notes)


def test_the_photograph_among_masks_of_colours_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    refused(saved(tmp_path, [painted(boxes(1, 2), RGB)] * 3 + [noise]), r"\d+ colours \(as masks/003\.png\)")
