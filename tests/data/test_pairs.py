"""Pictures and masks find one another: every layout, every name, a table; and what does not pair is said."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import list_data
from netwright.data.kinds import KINDS
from netwright.data.listing import NOBODY
from netwright.data.masks import understood
from netwright.data.pairs import is_pairs, listing


def put(root, *names, value=255):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((6, 8), np.uint8)
        mask[1:3, 1:4] = value
        np.save(path, mask) if path.suffix == ".npy" else Image.fromarray(mask).save(path)
    return root


def pairs_of(root):
    data = listing(str(root))
    assert is_pairs(root) and len(data) == len(data.blobs.names) == len(data.sides)
    assert data.labels.tolist() == [0] * len(data)
    return dict(zip(data.blobs.names, data.masks.semantic.names, strict=True))


def sides_of(root):
    data = listing(str(root))
    return dict(zip(data.blobs.names, data.sides.tolist(), strict=True))


def faults_of(root):
    return [(fault.kind, fault.names) for fault in listing(str(root)).masks.faults]


def kind_of(root):
    return next(kind.name for kind in KINDS if kind.stands(str(root), root))


# Layouts


@pytest.mark.parametrize("images", ["images", "image", "imgs", "JPEGImages", "Images"])
@pytest.mark.parametrize("masks", ["masks", "mask", "labels", "annotations", "SegmentationClass"])
def test_folders_side_by_side(tmp_path, images, masks):
    root = put(tmp_path, f"{images}/b.png", f"{images}/a.jpg", f"{masks}/a.png", f"{masks}/b.tif")
    assert pairs_of(root) == {f"{images}/a.jpg": f"{masks}/a.png", f"{images}/b.png": f"{masks}/b.tif"}
    data = list_data(str(root))
    assert kind_of(root) == "pairs" and data.name == tmp_path.name and data.root == str(root)
    assert (data.sides == NOBODY).all() and data.notes == () and data.masks.faults == () and data.classes == ()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
@pytest.mark.parametrize("inside", [False, True])
def test_splits_above_and_below(tmp_path, val, inside):
    def at(side, kind):
        return f"{kind}/{side}/1.png" if inside else f"{side}/{kind}/1.png"

    root = put(tmp_path, *(at(side, kind) for side in ("train", val, "test") for kind in ("images", "masks")))
    assert pairs_of(root) == {at(side, "images"): at(side, "masks") for side in ("train", val, "test")}
    assert sides_of(root) == {at("train", "images"): 0, at(val, "images"): 1, at("test", "images"): 2}


def test_nested_folders_pair_by_their_path(tmp_path):
    root = put(tmp_path, "images/a/1.png", "images/b/1.png", "masks/a/1.png", "masks/b/1.png")
    assert pairs_of(root) == {"images/a/1.png": "masks/a/1.png", "images/b/1.png": "masks/b/1.png"}


def test_nnunet(tmp_path):
    names = "imagesTr/c_001_0000.png", "imagesTr/c_002_0000.png", "labelsTr/c_001.png", "labelsTr/c_002.png"
    root = put(tmp_path, *names, "imagesTs/c_003_0000.png", value=1)
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "cell": 1}}))
    assert pairs_of(root) == {names[0]: names[2], names[1]: names[3]}
    assert faults_of(root) == [("no mask", ("imagesTs/c_003_0000.png",))]
    assert understood(listing(str(root))).classes == ("background", "cell")
    put(root, "labelsTs/c_003.png")
    assert set(sides_of(root).values()) == {NOBODY, 2}


def test_lists_of_voc(tmp_path):
    root = put(tmp_path, *(f"JPEGImages/{n}.jpg" for n in "abcde"), *(f"SegmentationClass/{n}.png" for n in "abc"))
    put(root, *(f"SegmentationObject/{n}.png" for n in "abc"))
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for side, names in {"train": "a\nb\nd\n", "val": "c\n"}.items():
        (root / f"ImageSets/Segmentation/{side}.txt").write_text(names)
    data = listing(str(root))
    assert sides_of(root) == {"JPEGImages/a.jpg": 0, "JPEGImages/b.jpg": 0, "JPEGImages/c.jpg": 1}
    assert data.masks.instances is not None and faults_of(root) == [("no mask", ("JPEGImages/d.jpg",))]
    assert "1 pictures without masks are in none of them" in data.notes[0]


@pytest.mark.parametrize("side", ["", "train/"])
def test_a_folder_for_each_picture_and_a_mask_for_each_thing(tmp_path, side):
    root = put(tmp_path, *(f"{side}{n}/images/{n}.png" for n in "ab"), f"{side}a/masks/1.png", f"{side}b/masks/1.png")
    assert pairs_of(root)[f"{side}b/images/b.png"] == f"{side}b/masks/1.png"
    other = np.zeros((6, 8), np.uint8)
    other[4:, 5:] = 255
    Image.fromarray(other).save(root / f"{side}a/masks/2.png")
    data = listing(str(root))
    assert data.masks.semantic is None and "each is taken for one instance" in data.notes[0]
    found = understood(data)
    numbers = found.instances(0)
    assert numbers.max() == 2 and ((numbers == 2) == (other > 0)).all() and ((numbers > 0) == found.read(0)).all()
    assert found.classes == ("background", "foreground") and found.instances(1).max() == 1
    assert data.masks.instances.stamp(0)[1] == max(p.stat().st_mtime_ns for p in (root / f"{side}a/masks").iterdir())
    Image.fromarray(other[:4]).save(root / f"{side}a/masks/2.png")
    with pytest.raises(NetwrightError, match=r"differ in size: .*2\.png 8×4, others 8×6"):
        found.read(0)


@pytest.mark.parametrize("end", ["_mask", "-mask", "_label", "_gt", "_segmentation", "_Mask"])
def test_endings_of_masks_are_cut_and_said(tmp_path, end):
    root = put(tmp_path, "images/1.png", "images/2.png", f"masks/1{end}.png", f"masks/2{end}.png")
    assert pairs_of(root) == {"images/1.png": f"masks/1{end}.png", "images/2.png": f"masks/2{end}.png"}
    assert listing(str(root)).notes == (f"masks' names without {end} are those of pictures",)


def test_case_unicode_and_litter(tmp_path):
    composed, apart = (unicodedata.normalize(form, "zellé") for form in ("NFC", "NFD"))
    root = put(tmp_path, f"images/{composed}.PNG", "images/B.JPG", f"masks/{apart}.png", "masks/b.Png")
    for name in (".hidden.png", "Thumbs.db", "desktop.ini", "._1.png"):
        (root / "images" / name).write_bytes(b"x")
        (root / "masks" / name).write_bytes(b"x")
    assert pairs_of(root) == {"images/B.JPG": "masks/b.Png", f"images/{composed}.PNG": f"masks/{apart}.png"}
    assert listing(str(root)).notes == ()


def test_names_that_differ_only_in_case(tmp_path):
    root = put(tmp_path, "images/a.png", "images/A.png", "masks/a.png", "masks/A.png")
    assert pairs_of(root) == {"images/a.png": "masks/a.png", "images/A.png": "masks/A.png"}


def test_instances_beside_masks_and_alone(tmp_path):
    both = put(tmp_path / "both", "images/1.png", "masks/1.png", "instances/1.png")
    data = listing(str(both))
    assert list(data.masks.semantic.names) == ["masks/1.png"] and list(data.masks.instances.names) == [
        "instances/1.png"
    ]
    alone = listing(str(put(tmp_path / "alone", "train/images/1.png", "train/instances/1.png")))
    assert alone.masks.semantic is None and list(alone.masks.instances.names) == ["train/instances/1.png"]
    put(both, "images/2.png", "masks/2.png")
    data = listing(str(both))
    assert data.masks.instances is None and len(data) == 2
    assert [(fault.kind, fault.names) for fault in data.masks.faults] == [("no instances", ("images/2.png",))]
    assert "1 of 2 pictures have instances: they are not used" in data.notes


def test_arrays_are_masks_too(tmp_path):
    assert pairs_of(put(tmp_path, "images/1.png", "masks/1.npy")) == {"images/1.png": "masks/1.npy"}


# Classes in files of their own


@pytest.mark.parametrize("folders", [True, False])
def test_a_mask_for_each_class(tmp_path, folders):
    def at(stem, kind):
        return f"masks/{kind}/{stem}.png" if folders else f"masks/{stem}_{kind}.png"

    root = put(
        tmp_path, "images/x_1.png", "images/x_12.png", at("x_1", "cell"), at("x_1", "cell wall"), at("x_12", "cell")
    )
    data = listing(str(root))
    assert data.classes == ("cell", "cell wall") and "classes: cell, cell wall" in data.notes[0]
    found = understood(data)
    assert found.several and found.classes == ("cell", "cell wall")
    read = found.read(list(data.blobs.names).index("images/x_12.png"))
    assert read.shape == (2, 6, 8) and read[0].any() and not read[1].any()
    _, time = data.masks.semantic.stamp(0)
    assert time == max((root / at("x_1", kind)).stat().st_mtime_ns for kind in data.classes)


def test_one_class_in_a_folder_of_its_own(tmp_path):
    root = put(tmp_path, "images/1.png", "images/2.png", "masks/nucleus/1.png", "masks/nucleus/2.png")
    found = understood(listing(str(root)))
    assert found.classes == ("background", "nucleus") and found.encoding == "0 and 255: background, nucleus"


def test_layers_of_different_sizes(tmp_path):
    root = put(tmp_path, "images/1.png", "masks/a/1.png", "masks/b/1.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(root / "masks/b/1.png")
    with pytest.raises(NetwrightError, match=r"differ in size: masks/a/1\.png 8×6, masks/b/1\.png 3×3"):
        understood(listing(str(root)))


# What does not pair


def test_whole_pairs_are_used_and_the_rest_is_said(tmp_path):
    root = put(tmp_path, *(f"images/{n}.png" for n in "abcd"), *(f"masks/{n}.png" for n in "abx"), "masks/b.tif")
    put(root, "images/d.jpg", "masks/d.png")
    assert pairs_of(root) == {"images/a.png": "masks/a.png"}
    assert sorted(faults_of(root)) == [
        ("no mask", ("images/c.png",)),
        ("no picture", ("masks/x.png",)),
        ("two masks", ("images/b.png", "masks/b.png", "masks/b.tif")),
        ("two pictures", ("masks/d.png", "images/d.jpg", "images/d.png")),
    ]
    assert "1 × no mask: images/c.png" in listing(str(root)).notes


def test_two_masks_by_exact_name_and_by_ending(tmp_path):
    root = put(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/a_mask.png", "masks/b.png")
    assert faults_of(root) == [("two masks", ("images/a.png", "masks/a.png", "masks/a_mask.png"))]


def test_nothing_pairs(tmp_path):
    root = put(tmp_path, "images/a.png", "masks/x.png")
    with pytest.raises(
        NetwrightError, match=r"none of the 1 pictures .*a\.png or a_mask\.png there, which has x\.png"
    ) as caught:
        listing(str(root))
    assert "path and mask" in caught.value.fix
    (root / "images/a.png").unlink()
    with pytest.raises(NetwrightError, match=r"no pictures in .*images, although .*masks has 1 masks"):
        listing(str(root))


def test_train_is_missing(tmp_path):
    root = put(tmp_path, "val/images/a.png", "val/masks/a.png")
    with pytest.raises(NetwrightError, match="for val and none for train"):
        listing(str(root))
    assert len(listing(str(root), "labelled")) == 1


# What is no such data


def test_ordinary_folders_and_tables_stay_what_they_are(tmp_path):
    for name in ("cat/1.png", "dog/1.png", "train/cat/1.png", "images/1.png", "images/cat/1.png"):
        put(tmp_path / name.replace("/", "_"), name)
    for folder in tmp_path.iterdir():
        assert not is_pairs(folder) and kind_of(folder) == "folder"
    boxes = put(tmp_path / "boxes", "images/1.png")
    (boxes / "labels").mkdir()
    (boxes / "labels/1.txt").write_text("0 .5 .5 .1 .1")
    assert not is_pairs(boxes)
    table = tmp_path / "t.csv"
    for header in ("path,label", "path,label,mask", "mask,split", "path,size"):
        table.write_text(header + "\n")
        assert not is_pairs(table) and kind_of(table) == "table"
    assert not is_pairs(tmp_path / "nowhere")


# Tables


def table(root, rows, ending):
    path = root / f"pairs{ending}"
    if ending == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    elif ending == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    else:
        mark = {".csv": ",", ".tsv": "\t"}[ending]
        lines = [mark.join(rows[0])] + [mark.join(str(value or "") for value in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    return path


ROWS = [
    {"image": "p/1.png", "mask": "m/1.png", "split": "train", "site": "a"},
    {"image": "p/2.png", "mask": "m\\2.png", "split": "valid", "site": "b"},
]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_tables(tmp_path, ending):
    root = put(tmp_path, "p/1.png", "p/2.png", "m/1.png", "m/2.png")
    path = table(root, ROWS, ending)
    assert kind_of(path) == "pairs"
    data = list_data(str(path))
    assert list(data.blobs.names) == ["p/1.png", "p/2.png"] and list(data.masks.semantic.names) == [
        "m/1.png",
        "m/2.png",
    ]
    assert data.sides.tolist() == [0, 1] and data.notes == ("columns not used: site",) and data.name == "pairs"
    assert understood(data).classes == ("background", "foreground")


def test_a_folders_table_and_instances(tmp_path):
    root = put(tmp_path, "1.png", "m/1.png", "i/1.png")
    (root / "metadata.csv").write_text(f"path;mask;instances\n1.png;{root / 'm/1.png'};i/1.png\n")
    data = list_data(str(root))
    assert kind_of(root) == "pairs" and data.sides.tolist() == [NOBODY]
    assert list(data.masks.semantic.names) == ["m/1.png"] and list(data.masks.instances.names) == ["i/1.png"]


def test_rows_without_a_file_are_faults(tmp_path):
    root = put(tmp_path, "1.png", "2.png", "3.png", "m/1.png", "m/4.png")
    path = root / "t.csv"
    path.write_text("path,mask\n1.png,m/1.png\n2.png,m/2.png\n3.png,\n4.png,m/4.png\n")
    data = list_data(str(path))
    assert list(data.blobs.names) == ["1.png"]
    assert [(fault.kind, fault.names) for fault in data.masks.faults] == [
        ("no file", ("m/2.png", "2.png")), ("no mask", ("3.png",)), ("no file", ("4.png",))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "match", "fix"),
    [
        ("path,mask\n1.png,m/1.png\n1.png,m/1.png\n", "row 3: 1.png stands in row 2 already", "one row"),
        ("path,mask\n,m/1.png\n", "row 2: no path", "name a picture"),
        ("path,mask,split\n1.png,m/1.png,trian\n", "row 2: unknown split 'trian'", "train"),
        ("path,mask\n1.png\n", "row 2: 1 cells, but the header has 2", "double quotes"),
        ("path,mask\n1.png,m/l.png\n", "none of the 1 rows .*: m/l.png is not there", "did you mean m/1.png"),
        ("path,mask\n", "none of the 0 rows .* no rows", "path,mask"),
        ("path,mask,split\n1.png,m/1.png,val\n", "for val and none for train", "train"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, match, fix):
    root = put(tmp_path, "1.png", "m/1.png")
    (root / "t.csv").write_text(text)
    with pytest.raises(NetwrightError, match=match) as caught:
        list_data(str(root / "t.csv"))
    assert fix in str(caught.value)
