"""Encodings of masks: each is found out, said in a sentence, read exactly, and refused where it contradicts itself."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from netwright.core.errors import NetwrightError
from netwright.data._mask_border import bordered
from netwright.data._mask_raw import raw
from netwright.data.decode import UnreadableImage, decode
from netwright.data.listing import Arrays, Listing, MaskFiles
from netwright.data.masks import IGNORED, MaskWanted, understood
from netwright.data.pairs import listing

SHAPE = (12, 16)
NUCLEI = Path(os.environ.get("NETWRIGHT_DATA", "data")) / "nuclei"


def blank(value=0, dtype=np.uint8):
    return np.full(SHAPE, value, dtype)


def boxes(*values, dtype=np.uint8):
    """One 3×3 box for each value, apart from one another."""
    mask = blank(dtype=dtype)
    for number, value in enumerate(values):
        row, column = divmod(number, 4)
        mask[row * 4 : row * 4 + 3, column * 4 : column * 4 + 3] = value
    return mask


def saved(root, masks, folder="masks", ending=".png", **options):
    """Pictures and masks, the latter arrays, Pillow images or bytes."""
    for number, mask in enumerate(masks):
        for name in ("images", folder):
            (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(root / "images" / f"{number:03}.png")
        path = root / folder / f"{number:03}{ending}"
        if ending == ".npy":
            np.save(path, mask)
        elif isinstance(mask, Image.Image):
            mask.save(path, **options)
        else:
            Image.fromarray(mask).save(path, **options)
    return root


def masks_of(root, **wanted):
    return understood(listing(str(root)), MaskWanted(**wanted))


def refused(root, match, **wanted):
    with pytest.raises(NetwrightError, match=match) as caught:
        masks_of(root, **wanted)
    assert caught.value.fix
    return caught.value.fix


# Numbers


@pytest.mark.parametrize("high", [255, 1, 128])
def test_binary(tmp_path, high):
    mask = boxes(high, high)
    found = masks_of(saved(tmp_path, [mask, blank()]))
    assert found.classes == ("background", "foreground") and found.background and not found.several
    assert found.encoding == f"0 and {high}: background and foreground" and found.notes == ()
    assert found.colours.tolist()[0] == [0, 0, 0] and found.colours.shape == (2, 3)
    read = found.read(0)
    assert read.dtype == np.uint8 and (read == (mask > 0)).all() and not found.read(1).any()
    assert found.instances(0) is None


def test_255_is_ignored_beside_class_numbers_and_not_beside_0_alone(tmp_path):
    found = masks_of(saved(tmp_path, [boxes(1, 255), blank()]))
    assert found.encoding == "0 and 1: background and foreground, 255 ignored" or "255 ignored" in found.encoding
    assert set(np.unique(found.read(0))) == {0, 1, IGNORED} and found.classes == ("background", "foreground")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_class_numbers(tmp_path, dtype):
    mask = boxes(1, 2, 4, 255, dtype=dtype)
    found = masks_of(saved(tmp_path, [mask, mask]))
    assert found.classes == ("background", "class 1", "class 2", "class 3", "class 4")
    assert found.encoding == "numbers 0 to 4, 255 ignored" and (found.read(1) == mask).all()
    assert found.notes == ("in no mask looked at: class 3",)


def test_numbers_with_wide_gaps_are_the_classes(tmp_path):
    found = masks_of(saved(tmp_path, [boxes(0, 7, 30)]))
    assert found.classes == ("background", "class 7", "class 30") and set(np.unique(found.read(0))) == {0, 1, 2}
    assert "0, 7, 30" in found.notes[0]


def test_evenly_spread_greys_are_classes_to_the_last(tmp_path):
    found = masks_of(saved(tmp_path, [boxes(85, 170, 255)]))
    assert found.classes == ("background", "class 85", "class 170", "class 255")
    assert set(np.unique(found.read(0))) == {0, 1, 2, 3}


def test_without_0_there_is_no_background(tmp_path):
    mask = boxes(1, 2)
    mask[mask == 0] = 3
    found = masks_of(saved(tmp_path, [mask]))
    assert found.classes == ("class 1", "class 2", "class 3") and not found.background
    assert "no pixel is 0: there is no background" in found.notes and (found.read(0) == mask - 1).all()


def test_empty_masks_alone(tmp_path):
    found = masks_of(saved(tmp_path, [blank(), blank()]))
    assert found.classes == ("background", "foreground") and "all empty" in found.notes[0]


@pytest.mark.parametrize(("ignore", "counted"), [(3, {0, 1, 2, IGNORED}), (0, {IGNORED, 0, 1, 2})])
def test_the_ignored_number_is_the_users(tmp_path, ignore, counted):
    mask = boxes(1, 2, 3)
    found = masks_of(saved(tmp_path, [mask]), ignore=ignore)
    assert ((found.read(0) == IGNORED) == (mask == ignore)).all() and set(np.unique(found.read(0))) == counted
    assert f"{ignore} ignored" in found.encoding


def test_an_ignored_number_that_is_nowhere_is_said(tmp_path):
    root = saved(tmp_path, [boxes(1)])
    assert masks_of(root, ignore=9).notes == ("the ignored number 9 is in no mask looked at",)
    assert "ignore=255" in refused(root, "ignore=-1 is no value", ignore=-1)


def test_a_mask_that_differs_is_refused_by_name_when_it_is_read(tmp_path):
    root = saved(tmp_path, [boxes(1, 2)] * 3)
    found = masks_of(root)
    Image.fromarray(boxes(1, 2, 5)).save(root / "masks/001.png")
    with pytest.raises(NetwrightError, match=r"masks/001\.png has the value 5, which is no class: 0, 1, 2") as caught:
        found.read(1)
    assert "nearest known is 2" in caught.value.fix and "ignore=5" in caught.value.fix
    assert (found.read(0) == boxes(1, 2)).all()


def test_of_many_masks_a_sample_is_looked_at(tmp_path):
    small, odd = boxes(1), boxes(1, 2)
    stack = np.stack([small] * 250)
    listed = Listing("x", "", (), Arrays([stack], []), np.zeros(250, np.int64), np.zeros(250, np.int8))
    names = [f"{n}" for n in range(250)]
    stack[3] = odd
    masked = MaskFiles(Arrays([stack], names))
    found = understood(Listing(listed.name, "", (), listed.blobs, listed.labels, listed.sides, masks=masked))
    assert "200 of 250 masks were looked at" in found.notes[-1]
    reads = [found.read(place) for place in range(250) if place != 3]
    assert all((read == small).all() for read in reads)


def test_more_numbers_than_classes(tmp_path):
    mask = np.arange(12 * 32, dtype=np.uint16).reshape(12, 32)
    mask[:, 31] = mask[0, 0]
    mask[0, 31] = mask[0, 30]  # in two pieces
    fix = refused(saved(tmp_path, [np.roll(mask, 5, 1) % 300, mask % 290]), "300 different numbers, more than 254")
    assert "instances/" in fix


def test_one_bit(tmp_path):
    found = masks_of(saved(tmp_path, [Image.fromarray(boxes(255)).convert("1")]))
    assert found.classes == ("background", "foreground") and (found.read(0) == boxes(1)).all()


@pytest.mark.parametrize("fractions", [True, False])
def test_floats_are_refused_unless_they_are_whole(tmp_path, fractions):
    mask = boxes(1, 2).astype(np.float32)
    root = saved(tmp_path, [mask + 0.25 if fractions else mask], ending=".tif")
    if fractions:
        assert "np.rint" in refused(root, r"masks/000\.tif holds fractions \(from 0\.25 to 2\.25\)")
    else:
        assert (masks_of(root).read(0) == boxes(1, 2)).all()


# Legends


def test_a_legend_names_numbers(tmp_path):
    root = saved(tmp_path, [boxes(1, 2, 9)])
    (root / "legend.csv").write_text(
        "id,name,r,g,b\n0,background,0,0,0\n1,cell,255,0,0\n2,wall,0,255,0\n9,void,9,9,9\n"
    )
    found = masks_of(root)
    assert found.classes == ("background", "cell", "wall") and found.background
    assert found.colours.tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    assert found.encoding == "numbers 0, 1, 2, 9: background, cell, wall, 9 ignored"
    assert found.notes == ("classes are named by legend.csv",)
    assert (found.read(0) == np.where(boxes(1, 2, 9) == 9, IGNORED, boxes(1, 2, 9))).all()


def test_a_legend_of_two_names_black_and_white(tmp_path):
    root = saved(tmp_path, [boxes(255)])
    (root / "classes.txt").write_text("background\nnucleus\n")
    found = masks_of(root)
    assert found.encoding == "0 and 255: background, nucleus" and (found.read(0) == boxes(1)).all()


def test_a_number_that_the_legend_has_not(tmp_path):
    root = saved(tmp_path, [boxes(1), boxes(4)])
    (tmp_path / "mine.txt").write_text("0 background\n1 cell\n3 wall\n")
    fix = refused(root, r"masks/001\.png has the value 4, .*0, 1, 3", legend=str(tmp_path / "mine.txt"))
    assert "nearest known is 3" in fix
    assert masks_of(root, legend=str(tmp_path / "mine.txt"), ignore=4).classes == ("background", "cell", "wall")


# Palettes and colours


def palettes(mask, colours):
    picture = Image.fromarray(mask)
    picture.putpalette([value for colour in colours for value in colour])
    return picture


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


def painted(mask, colours):
    return np.array(colours, np.uint8)[mask]


RGB = [(0, 0, 0), (255, 0, 0), (10, 20, 30)]


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


# Layers


@pytest.mark.parametrize("high", [1, 255])
@pytest.mark.parametrize("last", [False, True])
def test_layers_of_arrays(tmp_path, high, last):
    layers = np.stack([boxes(high), boxes(high, high), blank()])
    found = masks_of(saved(tmp_path, [np.moveaxis(layers, 0, -1) if last else layers], ending=".npy"))
    assert found.several and not found.background and found.classes == ("class 1", "class 2", "class 3")
    read = found.read(0)
    assert read.shape == (3, *SHAPE) and read.dtype == np.uint8 and (read == layers // high).all()
    assert ("last axis" in " ".join(found.notes)) == last


def test_layers_with_ignored_pixels_and_names(tmp_path):
    one, two = boxes(1, 255), boxes(0, 1)
    root = saved(tmp_path, [one], ending=".png")
    (root / "masks/000.png").unlink()
    np.savez(root / "masks/000.npz", cell=one, wall=two)
    found = masks_of(root)
    assert found.classes == ("cell", "wall") and (found.read(0) == np.stack([one, two])).all()


def test_layers_that_exclude_one_another_are_classes(tmp_path):
    mask = boxes(1, 2)
    onehot = np.stack([mask == value for value in range(3)])
    found = masks_of(saved(tmp_path, [onehot], ending=".npy"))
    assert not found.several and (found.read(0) == mask).all() and "exactly one layer" in found.notes[0]


def test_pages_of_a_tiff_are_layers(tmp_path):
    pages = [Image.fromarray(boxes(255)), Image.fromarray(boxes(255, 255))]
    root = saved(tmp_path, [pages[0]], ending=".tif", save_all=True, append_images=pages[1:])
    found = masks_of(root)
    assert found.several and (found.read(0) == np.stack([boxes(1), boxes(1, 1)])).all()


def test_layers_that_do_not_fit(tmp_path):
    layers = np.stack([boxes(1), boxes(1, 1)])
    refused(saved(tmp_path / "a", [layers, layers[:, :8].repeat(2, 0)], ending=".npy"), r"001\.npy has 4 layers")
    refused(saved(tmp_path / "b", [layers * 3 + boxes(1)], ending=".npy"), r"layers hold 3, 4 besides 0")
    pages = [Image.fromarray(boxes(255)), Image.fromarray(boxes(255)[:4])]
    root = saved(tmp_path / "c", pages[:1], ending=".tif", save_all=True, append_images=pages[1:])
    refused(root, r"2 pages that are no layers")


# Instances and borders


def apart(a=3, b=900):
    mask = blank(dtype=np.uint16)
    mask[2:10, 2:7], mask[2:10, 7:12] = a, b
    return mask


def test_instances_alone_are_background_and_foreground(tmp_path):
    found = masks_of(saved(tmp_path, [apart()], folder="instances"))
    assert found.classes == ("background", "foreground") and found.encoding.startswith("numbered instances")
    assert (found.read(0) == (apart() > 0)).all() and (found.instances(0) == apart()).all()


def test_numbers_in_masks_that_are_instances(tmp_path):
    one, two = boxes(*range(1, 10), dtype=np.uint16), boxes(*range(1, 6), dtype=np.uint16)
    found = masks_of(saved(tmp_path, [one, two]))
    assert "instances, not classes" in found.notes[0] and (found.read(1) == (two > 0)).all()
    assert (found.instances(0) == one).all()


def brute_border(instances, width):
    """The definition, pixel by pixel."""
    out = np.zeros(instances.shape, np.uint8)
    for y, x in zip(*np.nonzero(instances), strict=True):
        near = instances[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        out[y, x] = 2 if (near != instances[y, x]).any() else 1
    return out


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_border_is_its_definition(width):
    draw = np.random.default_rng(width)
    for _ in range(20):
        coarse = draw.integers(0, 4, (3, 4)) * draw.integers(1, 300)
        instances = np.kron(coarse, np.ones((5, 6), np.int64)).astype(np.uint16)
        assert (bordered(instances, width=width) == brute_border(instances, width)).all()


def test_touching_instances_are_apart_in_the_border_target(tmp_path):
    found = masks_of(saved(tmp_path, [apart()], folder="instances"), kind="border")
    assert found.classes == ("background", "interior", "border") and found.colours.shape == (3, 3)
    read = found.read(0)
    assert ndimage.label(read > 0)[1] == 1 and ndimage.label(read == 1, np.ones((3, 3)))[1] == 2
    assert (read[:, 6:8][2:10] == 2).all() and (found.instances(0) == apart()).all()


def test_a_border_without_instances_takes_connected_parts(tmp_path):
    mask = boxes(255, 0, 255, 0)
    mask[5:12, 0:9] = 255
    mask[6, 2] = 100
    mask[mask == 100] = 255
    found = masks_of(saved(tmp_path, [mask]), kind="border")
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    assert (found.read(0) == brute_border(parts, 1)).all() and "connected parts" in found.notes[-1]


def test_a_border_wants_two_classes(tmp_path):
    root = saved(tmp_path, [boxes(1, 2, 3)])
    assert "instances/" in refused(root, "these masks have 4 classes", kind="border")
    refused(root, "a border of 0 pixels", border=0)


def test_the_salt_follows_what_decides_the_result(tmp_path):
    root = saved(tmp_path, [boxes(1, 2)])
    (tmp_path / "l.txt").write_text("0 a\n1 b\n2 c\n")
    salts = {masks_of(root, **w).salt for w in ({}, {"ignore": 2}, {"legend": str(tmp_path / "l.txt")})}
    assert len(salts) == 3 and masks_of(root).salt == masks_of(root).salt
    things = saved(tmp_path / "i", [apart()], folder="instances")
    assert len({masks_of(things, **w).salt for w in ({}, {"kind": "border"}, {"kind": "border", "border": 2})}) == 3


# Files


@pytest.mark.parametrize("turn", range(1, 9))
def test_masks_are_turned_as_pictures_are(tmp_path, turn):
    exif = Image.Exif()
    exif[274] = turn
    path = tmp_path / "mask.png"
    Image.fromarray(boxes(255, 0, 0, 0, 255)).save(path, exif=exif)
    assert (raw(path.read_bytes(), "m").values == decode(path, channels=1)[..., 0]).all()
    colours = tmp_path / "colours.png"
    Image.fromarray(painted(boxes(1, 2), RGB)).save(colours, exif=exif)
    assert (raw(colours.read_bytes(), "m").values == decode(colours)).all()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture", b"PK\x03\x04 no zip", b"\x93NUMPY broken"])
def test_files_that_cannot_be_read(tmp_path, content):
    with pytest.raises(UnreadableImage, match=r"masks/a\.png"):
        raw(content, "masks/a.png")


def test_a_damaged_mask_is_no_reason_to_refuse_the_others(tmp_path):
    root = saved(tmp_path, [boxes(255)] * 3)
    (root / "masks/001.png").write_bytes(b"broken")
    found = masks_of(root)
    assert (found.read(2) == boxes(1)).all()
    with pytest.raises(UnreadableImage, match=r"masks/001\.png"):
        found.read(1)
    for number in (0, 2):
        (root / f"masks/{number:03}.png").write_bytes(b"broken")
    refused(root, "none of the 3 masks can be read")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_colours_that_are_no_classes(tmp_path, mode):
    picture = Image.fromarray(painted(boxes(1, 2), RGB)).convert(mode)
    refused(saved(tmp_path, [picture], ending=".tif"), f"colours of the kind {mode}")


def test_masks_of_a_listing_that_knows_its_classes():
    masks = np.stack([boxes(1, 2), boxes(2)])
    blobs = Arrays([masks], ["a", "b"])
    files = MaskFiles(blobs, colours={"line": (1, 2, 3), "disk": (3, 2, 1), "background": (0, 0, 0)})
    known = Listing("made", "", ("background", "line", "disk"), blobs, np.zeros(2), np.zeros(2), masks=files)
    found = understood(known)
    assert found.classes == known.classes and found.background
    assert found.colours.tolist() == [[0, 0, 0], [1, 2, 3], [3, 2, 1]] and (found.read(0) == masks[0]).all()


# Real masks


@pytest.mark.data
def test_nuclei():
    data = listing(str(NUCLEI))
    found = understood(data)
    assert found.encoding == "0 and 255: background and foreground" and found.notes == () and found.background
    for place in range(0, len(data), 10):
        things = found.instances(place)
        assert ((found.read(place) == 1) == (things > 0)).all()


@pytest.mark.data
def test_nuclei_with_borders_keep_nearly_every_nucleus_apart():
    data = listing(str(NUCLEI))
    found = understood(data, MaskWanted("border"))
    true = counted = merged = 0
    for place in range(len(data)):
        things, target = found.instances(place), found.read(place)
        parts, count = ndimage.label(target == 1, np.ones((3, 3)))
        pairs = {(int(a), int(b)) for a, b in zip(parts[parts > 0], things[parts > 0], strict=True)}
        merged += len(pairs) - count  # an interior part that lies in two nuclei
        true += len(np.unique(things)) - 1
        counted += count
        assert ((target > 0) == (things > 0)).all()
    assert merged == 0 and abs(counted - true) < 0.05 * true
