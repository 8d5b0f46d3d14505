"""Masks of numbers, and how files are read: each encoding is found out, said, read exactly, or refused."""

from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from netwright.core.errors import NetwrightError
from netwright.data._mask_raw import raw
from netwright.data.decode import UnreadableImage, decode
from netwright.data.listing import Arrays, Listing, MaskFiles
from netwright.data.masks import IGNORED, MaskWanted, understood
from netwright.data.pairs import listing
from tests.data.mask_files import RGB, blank, boxes, masks_of, painted, refused, saved

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
    stack[4] = odd
    masked = MaskFiles(Arrays([stack], names))
    found = understood(Listing(listed.name, "", (), listed.blobs, listed.labels, listed.sides, masks=masked))
    assert found.notes == () and found.classes == ("background", "foreground")
    with pytest.raises(NetwrightError, match="4 has the value 2"):
        found.read(4)
    reads = [found.read(place) for place in range(250) if place != 4]
    assert all((read == small).all() for read in reads)


@pytest.mark.parametrize("stray", [boxes(1), boxes(7, 255), boxes(1, 2)])
def test_a_stray_number_does_not_make_the_foreground_ignored(tmp_path, stray):
    number = int(stray[0, 0])
    fix = refused(
        saved(tmp_path, [boxes(255)] * 5 + [stray]), rf"masks/005\.png has the value {number}, which is no class"
    )
    assert "ignore=255" in fix


def test_a_stray_255_among_numbers_is_not_ignored_unasked(tmp_path):
    root = saved(tmp_path, [boxes(1, 2)] * 4 + [boxes(255)])
    assert "ignore=255" in refused(
        root, r"masks/004\.png holds 0 and 255 alone, most masks other numbers \(as masks/000"
    )
    assert masks_of(root, ignore=255).classes == ("background", "class 1", "class 2")


def test_255_is_ignored_where_most_masks_with_it_have_classes_beside_it(tmp_path):
    found = masks_of(saved(tmp_path, [boxes(1, 255)] * 3 + [boxes(255), boxes(1)]))
    assert (found.read(3) == boxes(255)).all() and "255 ignored" in found.encoding


def test_a_grey_photograph_among_masks_is_named(tmp_path):
    every = np.random.default_rng(0).permutation(256).astype(np.uint8).reshape(16, 16)
    for number, photo in enumerate((every, every[:12])):
        root = saved(tmp_path / str(number), [boxes(255)] * 4 + [photo])
        refused(root, r"masks/004\.png has the value \d+, which is no class: most masks hold 0 and 255")


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


def legend_of(root, text, name="legend.csv"):
    (root / name).write_text(text)
    return root


def test_only_a_class_called_so_is_background(tmp_path):
    found = masks_of(legend_of(saved(tmp_path, [boxes(1)]), "road\nsky\n", "legend.txt"))
    assert found.classes == ("road", "sky") and not found.background
    assert found.notes[-1] == "no class of the legend is called background: all classes count in means"
    fix = refused(tmp_path, "these masks have 2 classes: road, sky", kind="border")
    assert "calls one of two background" in fix


@pytest.mark.parametrize("text", ["1,cell\n2,wall\n", "1,cell\n", "cell,1,0,0,255\n"])
def test_a_legend_without_0_leaves_it_to_the_background(tmp_path, text):
    values = (1, 2) if "wall" in text else (1,)
    found = masks_of(legend_of(saved(tmp_path, [boxes(*values)]), text))
    assert found.classes == ("background", "cell", "wall")[: 1 + len(values)] and found.background
    assert (found.read(0) == boxes(*values)).all()
    assert "the legend has no number 0: it is background" in found.notes


def test_a_legend_without_0_for_masks_without_0(tmp_path):
    mask = boxes(1, 1) + 1
    found = masks_of(legend_of(saved(tmp_path, [mask.astype(np.uint8)]), "1,cell\n2,wall\n"))
    assert found.classes == ("cell", "wall") and (found.read(0) == boxes(1, 1)).all()


def test_rows_that_are_counted_as_numbers_are_said(tmp_path):
    found = masks_of(legend_of(saved(tmp_path, [boxes(1)]), "road,9,0,0\nsky,0,9,0\n"))
    assert any("rows are counted from 0, which is road" in note for note in found.notes)


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


SHAPED = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 100000000000), }"
HUGE = b"\x93NUMPY\x01\x00v\x00" + SHAPED.ljust(117)


@pytest.mark.parametrize("pack", [False, True])
def test_an_array_that_is_larger_than_its_file(tmp_path, pack):
    blob = HUGE + b"\n123"
    if pack:
        with ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("a.npy", blob)
        blob = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(
        UnreadableImage, match=r"masks/a\.npy.* 1000000000000×100000000000 of uint8, and 3 bytes follow"
    ):
        raw(blob, "masks/a.npy")


@pytest.mark.parametrize("array", [np.zeros((4, 5), np.uint16), np.zeros((0, 5)), np.asfortranarray(np.eye(3))])
def test_arrays_as_numpy_writes_them_are_no_larger(array):
    file = BytesIO()
    np.savez_compressed(file, a=array)
    if array.size:
        assert (raw(file.getvalue(), "a").values == array).all()
    else:
        with pytest.raises(NetwrightError, match="shape 0 5"):
            raw(file.getvalue(), "a")


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
def test_nuclei(real_data):
    data = listing(str(real_data / "nuclei"))
    found = understood(data)
    assert found.encoding == "0 and 255: background and foreground" and found.notes == () and found.background
    for place in range(0, len(data), 10):
        things = found.instances(place)
        assert ((found.read(place) == 1) == (things > 0)).all()


@pytest.mark.data
def test_nuclei_with_borders_keep_nearly_every_nucleus_apart(real_data):
    data = listing(str(real_data / "nuclei"))
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
