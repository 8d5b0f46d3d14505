"""Legends that masks give of themselves: other masks are read by them as those they came from."""

import json

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.listing import Files, Listing, MaskFiles
from netwright.data.masks import IGNORED, MaskWanted, understood
from netwright.data.pairs import listing
from tests.data.mask_files import RGB, boxes, masks_of, painted, palettes, refused, saved

COLOURS = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
BLOCKS = np.kron(np.array([[0, 1], [1, 0]], np.uint8), np.ones((30, 30), np.uint8)) * 255


def kept(masks):
    """A legend after a way through JSON."""
    return json.loads(json.dumps(masks.legend()))


def layered(*numbers):
    return np.stack([boxes(*row) for row in numbers])


CASES = {
    "numbers": ([boxes(1, 2, 4, 255)], ".png", {}),
    "gaps": ([boxes(7, 30)], ".png", {}),
    "0 and 255": ([boxes(255)], ".png", {}),
    "ignored": ([boxes(1, 2, 3)], ".png", {"ignore": 3}),
    "palette": ([palettes(boxes(1, 2), COLOURS)], ".png", {}),
    "palettes": (
        [palettes(boxes(1, 2), COLOURS), palettes(boxes(2, 1), [COLOURS[at] for at in (0, 2, 1)])],
        ".png",
        {},
    ),
    "colours": ([painted(boxes(1, 2), RGB)], ".png", {}),
    "cut": ([BLOCKS], ".jpg", {}),
    "border": ([boxes(255)], ".png", {"kind": "border", "border": 2}),
    "border beside ignored": ([boxes(1, 255)], ".png", {"kind": "border"}),
    "layers": ([layered((1, 255), (255, 255))], ".npy", {}),
    "layers last": ([np.moveaxis(layered((1, 1), (0, 1)), 0, -1)], ".npy", {}),
    "layers that exclude": ([np.stack([boxes(1, 2) == at for at in range(3)])], ".npy", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_round_trip(tmp_path, case):
    masks, ending, wanted = CASES[case]
    root = saved(tmp_path, masks, ending=ending)
    first = masks_of(root, **wanted)
    second = masks_of(root, legend=kept(first))
    assert (second.classes, second.background, second.several) == (first.classes, first.background, first.several)
    assert (second.colours == first.colours).all() and second.salt == first.salt
    assert all((second.read(place) == first.read(place)).all() for place in range(len(masks)))
    assert kept(second) == kept(first) and second.encoding.startswith("as the saved legend says")


def test_a_legend_in_another_order_than_its_classes(tmp_path):
    root = saved(tmp_path, [painted(boxes(1, 2), RGB)])
    (root / "legend.csv").write_text("void,10,20,30\nroad,255,0,0\nbackground,0,0,0\n")
    first = masks_of(root)
    second = masks_of(root, legend=kept(first))
    assert second.classes == first.classes == ("background", "road") and (second.read(0) == first.read(0)).all()
    assert (first.read(0) == boxes(1, IGNORED)).all()


def test_few_classes_keep_their_numbers(tmp_path):
    legend = kept(masks_of(saved(tmp_path / "train", [boxes(1, 2, 3)])))
    assert [(row["name"], row["number"]) for row in legend][:2] == [("background", 0), ("class 1", 1)]
    found = masks_of(saved(tmp_path / "test", [boxes(1, 3), boxes(3)]), legend=legend)
    assert len(found.classes) == 4 and (found.read(0) == boxes(1, 3)).all() and (found.read(1) == boxes(3)).all()
    other = masks_of(saved(tmp_path / "odd", [boxes(1, 7)]), legend=legend)
    with pytest.raises(NetwrightError, match=r"masks/000\.png has the value 7"):
        other.read(0)
    assert (masks_of(tmp_path / "odd", legend=legend, ignore=7).read(0) == boxes(1, IGNORED)).all()


def strewn():
    mask = np.zeros((20, 20), np.uint16)
    mask[2:8, 2:6], mask[2:8, 6:12], mask[12:18, 4:9] = 1, 300, 2
    return mask


@pytest.mark.parametrize("kind", ["auto", "border"])
def test_instances(tmp_path, kind):
    root = saved(tmp_path / "train", [strewn()], folder="instances")
    first = masks_of(root, kind=kind, ignore=2)
    second = masks_of(root, legend=kept(first))
    assert (second.read(0) == first.read(0)).all() and second.salt == first.salt
    assert (second.instances(0) == first.instances(0)).all() and 2 not in second.instances(0)
    white = saved(tmp_path / "white", [np.where(strewn() > 0, 255, 0).astype(np.uint8)])
    plain = masks_of(white, legend=kept(masks_of(root, kind=kind)))
    assert (plain.read(0) == masks_of(white, kind=kind).read(0)).all() and plain.classes == first.classes


def test_a_border_from_masks_is_read_from_instances_where_there_are_some(tmp_path):
    legend = kept(masks_of(saved(tmp_path / "train", [boxes(255)]), kind="border"))
    root = saved(tmp_path / "test", [strewn()], folder="instances")
    assert (masks_of(root, legend=legend).read(0) == masks_of(root, kind="border").read(0)).all()
    legend = kept(masks_of(saved(tmp_path / "three", [boxes(1, 2)])))
    refused(root, "instances alone, and the saved legend 3 classes", legend=legend)


def test_layers_are_found_by_their_names(tmp_path):
    root = saved(tmp_path, [boxes(255)])
    for name, values in (("cell", boxes(255)), ("wall", boxes(0, 1))):
        (root / "masks" / name).mkdir()
        Image.fromarray(values).save(root / "masks" / name / "000.png")
    (root / "masks/000.png").unlink()
    legend = kept(masks_of(root))
    (root / "masks/cell/000.png").unlink()
    (root / "masks/cell").rmdir()
    pictures = Files(root, ["images/000.png"])
    stack = masks_of_layers(root, ("wall",))
    data = Listing("test", "", ("wall",), pictures, np.zeros(1), np.zeros(1), masks=MaskFiles(stack))
    found = understood(data, MaskWanted(legend=legend))
    assert found.classes == ("cell", "wall") and found.several
    assert (found.read(0) == np.stack([boxes(), boxes(0, 1)])).all()
    odd = Listing("test", "", ("wal",), pictures, np.zeros(1), np.zeros(1), masks=MaskFiles(stack))
    with pytest.raises(NetwrightError, match="class in the saved legend"):
        understood(odd, MaskWanted(legend=legend))


def masks_of_layers(root, names):
    from netwright.data._pair_layers import Layers

    files = [{name: f"masks/{name}/000.png" for name in names}]
    return Layers(root, names, files, ["masks/000"])


@pytest.mark.parametrize("rows", [[], [{}], [{"name": "a", "number": "x"}], [{"name": "a", "background": True}], [3]])
def test_damaged_rows(tmp_path, rows):
    refused(saved(tmp_path, [boxes(1)]), "the saved legend of masks cannot be used", legend=rows)


def test_without_masks(tmp_path):
    saved(tmp_path, [boxes(1)])
    data = listing(str(tmp_path))
    empty = Listing("x", "", (), data.blobs, data.labels, data.sides, masks=MaskFiles(None))
    with pytest.raises(NetwrightError, match="x has no masks"):
        understood(empty, MaskWanted(legend=[{"name": "a", "number": 1}]))
