"""Masks with a layer for each class, of numbered instances, and with a border between them."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from netwright.data._mask_border import bordered
from netwright.data.masks import IGNORED
from tests.data.mask_files import SHAPE, blank, boxes, masks_of, refused, saved

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


def test_layers_may_be_written_differently(tmp_path):
    layers = [np.stack([boxes(255), boxes(0, 1)]), np.stack([boxes(0, 255), boxes(1, 1)])]
    found = masks_of(saved(tmp_path, layers, ending=".npy"))
    assert (found.read(0) == np.stack([boxes(1), boxes(0, 1)])).all()
    assert (found.read(1) == np.stack([boxes(0, 1), boxes(1, 1)])).all()


def test_255_is_ignored_in_a_layer_that_has_1_beside_it(tmp_path):
    layers = np.stack([boxes(1, 255), boxes(255, 255)])
    found = masks_of(saved(tmp_path / "a", [layers] * 2, ending=".npy"))
    assert (found.read(0) == np.stack([boxes(1, IGNORED), boxes(1, 1)])).all()
    mixed = [np.stack([boxes(255), boxes(1)])] * 3 + [np.stack([boxes(1), boxes(1)])]
    refused(saved(tmp_path / "b", mixed, ending=".npy"), "layer 1 of the masks holds 1, 255 besides 0")


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
    refused(saved(tmp_path / "b", [layers * 3 + boxes(1)], ending=".npy"), r"layer 2 of the masks holds 3, 4 besides 0")
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


def strewn(seed, count, dtype=np.uint8):
    """Boxes that are numbered from 1, wherever they lie."""
    cells = np.random.default_rng(seed).permutation(64)[:count]
    mask = np.zeros((64, 64), dtype)
    for number, cell in enumerate(cells.tolist(), 1):
        row, column = divmod(cell, 8)
        mask[row * 8 : row * 8 + 5, column * 8 : column * 8 + 5] = number
    return mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
@pytest.mark.parametrize("counts", [(9, 12, 5), (40, 22, 33)])
def test_numbers_in_masks_that_are_instances(tmp_path, dtype, counts):
    masks = [strewn(seed, count, dtype) for seed, count in enumerate(counts)]
    root = saved(tmp_path, masks, ending=".npy")
    found = masks_of(root)
    assert "instances, not classes" in found.notes[0] and "masks=semantic" in found.notes[0]
    assert (found.read(1) == (masks[1] > 0)).all() and (found.instances(0) == masks[0]).all()
    classes = masks_of(root, kind="semantic")
    assert len(classes.classes) == 1 + max(counts) and (classes.read(0) == masks[0]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_nested_classes_are_not_collapsed_into_one(tmp_path, dtype):
    masks = []
    for count in (1, 2, 3, 2):
        mask = np.zeros((32, 32), dtype)
        for number in range(1, count + 1):
            mask[3 * number : 32 - 3 * number, 3 * number : 32 - 3 * number] = number
        masks.append(mask)
    root = saved(tmp_path, masks, ending=".npy")
    found = masks_of(root)
    assert found.classes == ("background", "class 1", "class 2", "class 3") and (found.read(2) == masks[2]).all()
    assert "if these are instances" in found.notes[-1] and masks_of(root, kind="semantic").notes == ()
    assert masks_of(root, kind="border").classes == ("background", "interior", "border")


def test_classes_that_lie_where_they_always_lie_are_no_instances(tmp_path):
    masks = [boxes(*range(1, count + 1)) for count in (12, 9, 11, 10)]
    assert len(masks_of(saved(tmp_path, masks)).classes) == 13


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


@pytest.mark.parametrize("width", [1, 2])
def test_ignored_pixels_make_no_border(tmp_path, width):
    mask = blank()
    mask[2:10, 2:8], mask[2:10, 8:12] = 1, 255
    found = masks_of(saved(tmp_path / "a", [mask]), kind="border", border=width).read(0)
    inside = np.zeros(SHAPE, bool)
    inside[2 + width : 10 - width, 2 + width : 8] = True
    assert ((found == 1) == inside).all() and ((found == IGNORED) == (mask == 255)).all()
    things = masks_of(saved(tmp_path / "b", [mask], folder="instances"), kind="border", border=width, ignore=255)
    assert (things.read(0) == found).all() and set(np.unique(things.instances(0))) == {0, 1}


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
