"""Pairs in folders as people have them: stray files, links, tables beside folders, patients, files that changed."""

import os
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import list_data
from netwright.data._pair_layers import Layers, Pieces
from netwright.data.index import Index
from netwright.data.listing import NOBODY
from netwright.data.pairs import is_pairs, listing
from tests.data.test_pairs import faults_of, kind_of, pairs_of, put, sides_of

SIDES = ("train", "val", "test")
SIDED = [f"{kind}/{side}/{side}{n}.png" for kind in ("images", "masks") for side in SIDES for n in range(2)]


@pytest.mark.parametrize("stray", ["images/README.txt", "images/all.csv", "masks/notes.md"])
def test_a_stray_file_leaves_the_sides_as_they_are(tmp_path, stray):
    root = put(tmp_path, *SIDED)
    (root / stray).write_text("name,author\n")
    assert sides_of(root) == {f"images/{side}/{side}{n}.png": at for at, side in enumerate(SIDES) for n in range(2)}


@pytest.mark.parametrize("masks", [SIDED, [f"masks/{side}{n}.png" for side in SIDES for n in range(2)]])
def test_pictures_beside_the_sides_are_refused(tmp_path, masks):
    root = put(tmp_path, *SIDED[:6], *masks, "images/x.png", "masks/x.png")
    with pytest.raises(NetwrightError, match=r"1 pictures beside the folders test, train, val.*x\.png") as caught:
        listing(str(root))
    assert "move each" in caught.value.fix


def test_sides_of_pictures_with_all_masks_in_one_folder(tmp_path):
    root = put(tmp_path, *SIDED[:6], *(f"masks/{side}{n}.png" for side in SIDES for n in range(2)), "masks/spare.png")
    assert pairs_of(root)["images/val/val1.png"] == "masks/val1.png"
    assert sides_of(root)["images/val/val1.png"] == 1 and sides_of(root)["images/test/test0.png"] == 2
    assert faults_of(root) == [("no picture", ("masks/spare.png",))]
    put(root, "images/val/train0.png")
    assert ("two pictures", ("masks/train0.png", "images/train/train0.png", "images/val/train0.png")) in faults_of(root)


def test_the_pictures_extension_in_the_masks_name(tmp_path):
    root = put(tmp_path, "images/a.jpg", "images/a.png", "images/B.JPG", "masks/a.jpg.png", "masks/a.png.png")
    put(root, "masks/b.jpg.png")
    assert pairs_of(root) == {
        "images/B.JPG": "masks/b.jpg.png", "images/a.jpg": "masks/a.jpg.png", "images/a.png": "masks/a.png.png"
    }  # fmt: skip


def test_folders_of_patients_are_no_classes(tmp_path):
    root = put(tmp_path, *(f"images/{n}.png" for n in range(6)), *(f"masks/p{n // 2}/{n}.png" for n in range(6)))
    assert pairs_of(root) == {f"images/{n}.png": f"masks/p{n // 2}/{n}.png" for n in range(6)}
    assert listing(str(root)).classes == () and "not taken for classes" in listing(str(root)).notes[0]
    put(root, "masks/p1/0.png")
    assert listing(str(root)).classes == ("p0", "p1", "p2"), "a picture with two masks has them by class"


def test_links_to_folders_are_followed(tmp_path):
    store = put(tmp_path / "store", *(f"{side}/{kind}/{n}.png" for side in SIDES for kind in "im" for n in range(2)))
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for side in SIDES:
            (root / kind / side).symlink_to(store / side / kind[0])
    assert kind_of(root) == "pairs" and len(listing(str(root))) == 6
    assert sides_of(root)["images/val/1.png"] == 1
    for kind in ("images", "masks"):
        (root / kind / "train").unlink()
        (root / kind / "train").mkdir()
        (root / kind / "train/day").symlink_to(store / "train" / kind[0])
    assert pairs_of(root)["images/train/day/1.png"] == "masks/train/day/1.png"
    (store / "train/m/again").symlink_to(root / "masks")
    (store / "train/m/twice").symlink_to(store / "train/m")
    assert len(listing(str(root))) == 6


def test_a_folder_without_masks_is_told_as_one(tmp_path):
    for name, stray in (("masks", "README.md"), ("masks", ""), ("labels", "")):
        root = put(tmp_path / f"{name}{stray}", "images/a.png")
        (root / name).mkdir()
        if stray:
            (root / name / stray).write_text("to be drawn")
        assert kind_of(root) == "pairs"
        with pytest.raises(NetwrightError, match=rf"no masks in .*{name}, although .*images has 1 pictures") as caught:
            list_data(str(root))
        assert "a.png" in caught.value.fix


# Tables in folders of pairs


def table_in(root, name, text):
    put(root, *(f"{kind}/{n}.png" for kind in ("images", "masks") for n in range(4)))
    (root / name).write_text(text)
    return root


@pytest.mark.parametrize("name", ["pairs.csv", "metadata.csv"])
def test_a_table_of_pairs_goes_before_folders(tmp_path, name):
    rows = [f"images/{n}.png,masks/{n}.png,{side}\n" for n, side in enumerate(("train", "train", "val", "test"))]
    root = table_in(tmp_path, name, "path,mask,split\n" + "".join(rows))
    assert kind_of(root) == "pairs" and list(sides_of(root).values()) == [0, 0, 1, 2]


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_a_table_of_labels_makes_pictures_to_be_classified(tmp_path, name):
    rows = [f"images/{n}.png,{'ab'[n % 2]}\n" for n in range(4)]
    root = table_in(tmp_path, name, "path,label\n" + "".join(rows))
    assert kind_of(root) == "table" and not is_pairs(root)
    data = list_data(str(root))
    assert data.classes == ("a", "b") and data.masks is None and data.name == tmp_path.name
    assert f"classes are those of {name}; masks are not used" in data.notes[-1]
    (root / "pairs.csv").write_text("path,mask\nimages/0.png,masks/0.png\n")
    data = list_data(str(root))
    assert data.masks is not None and len(data) == 1 and f"not used: {name}" in data.notes


@pytest.mark.parametrize("text", ["path,split\nimages/0.png,train\n", "path,mask\nelsewhere/0.png,m/0.png\n"])
def test_a_table_that_is_not_used_is_said(tmp_path, text):
    root = table_in(tmp_path, "splits.csv", text)
    data = list_data(str(root))
    assert len(data) == 4 and (data.sides == NOBODY).all() and data.notes[0].startswith("not used: splits.csv: no row")


def test_a_legend_is_no_table_of_pictures(tmp_path):
    assert list_data(str(table_in(tmp_path, "legend.csv", "name,r,g,b\nroad,255,255,255\n"))).notes == ()


# Several files for one mask


def ringing(root, *names):
    for name in names:
        mask = np.zeros((32, 32), np.uint8)
        mask[5:14, 9:21] = 255
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path, quality=60)
    return mask > 0


def test_what_compression_leaves_around_a_thing_is_no_thing(tmp_path):
    true = ringing(tmp_path, "1.jpg", "2.png")
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "1.jpg")) > 0, true)
    found = Pieces(tmp_path, [["1.jpg"]], ["1.jpg"]).read(0)
    assert np.array_equal(found == 1, true)
    layers = Layers(tmp_path, ("a", "b"), [{"a": "1.jpg", "b": "2.png"}], ["1.jpg"]).read(0)
    assert np.array_equal(layers, np.stack([true, true]) * 255)


def test_several_files_are_remembered_until_one_changes(tmp_path, monkeypatch):
    names = [f"masks/{kind}/{n}.png" for kind in ("cell", "wall") for n in range(3)]
    root = put(tmp_path, *(f"images/{n}.png" for n in range(3)), *names)
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(root / names[0])
    for name in names:
        os.utime(root / name, ns=(10**18, 10**18))
    data, read = listing(str(root)), Layers.read
    masks = data.masks.semantic
    looked = []
    monkeypatch.setattr(Layers, "read", lambda self, place: looked.append(place) or read(self, place))
    index = Index(None)

    def keys():
        own = type(data)("", str(root), (), masks, data.labels, data.sides)
        return index.keys(own)[0]

    first = keys()
    assert looked == [0, 1, 2] and np.array_equal(keys(), first) and len(looked) == 3, "each is read once"
    for old, new in pairwise([root / names[0], root / "t.png", root / names[3]]):
        other = new.read_bytes() if new.exists() else b""
        new.write_bytes(old.read_bytes())
        if other:
            (root / names[0]).write_bytes(other)
    for name in names:
        os.utime(root / name, ns=(10**18, 10**18))
    assert not np.array_equal(keys(), first), "two files changed places"
    stamp = masks.stamp(1)
    os.utime(root / names[1], ns=(10**18 - 5, 10**18 - 5))
    assert masks.stamp(1) != stamp and masks.stamp(1)[1] == stamp[1], "also where the latest time stays"
