"""Folders of pictures: every layout, every mistake, and a split that never moves."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import listing, open_data
from netwright.data.assign import assign, positions
from netwright.data.segments import as_keys


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


def draw(path, seed=0, size=(12, 10), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).convert(mode).save(path)


def fill(root, layout, **options):
    """`{"train/cat": 5}` makes five pictures in that folder."""
    seed = 0
    for folder, count in layout.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw(root / folder / f"{number}.png", seed := seed + 1, **options)
    return root


def opened(root, **options):
    return open_data(str(root), **({"image_size": 8, "stored_size": 8} | options))


SPLIT = {"train/cat": 4, "train/dog": 5, "val/cat": 2, "val/dog": 1, "test/cat": 1, "test/dog": 1}


def test_train_val_and_test(tmp_path):
    data = opened(fill(tmp_path / "pets", SPLIT))
    assert data.name == "pets" and data.root == str(tmp_path / "pets") and data.classes == ("cat", "dog")
    assert {side: len(split) for side, split in data.splits.items()} == {"train": 9, "val": 3, "test": 2}
    val = data.splits["val"]
    assert sorted(zip(val.names, val.labels.tolist(), strict=True)) == [
        ("val/cat/0.png", 0), ("val/cat/1.png", 0), ("val/dog/0.png", 1)
    ]  # fmt: skip
    for name, image in zip(val.names, val.images, strict=True):
        assert (image == data.preprocess.stored(tmp_path / "pets" / name)).all()
    assert data.notes == () and data.quarantined == ()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation"])
def test_names_of_the_validation_folder(tmp_path, name):
    data = opened(fill(tmp_path, {"train/a": 2, "train/b": 2, f"{name}/a": 1, f"{name}/b": 1}))
    assert list(data.splits) == ["train", "val"]
    assert data.notes == ("no test split: the validation score is also used for choosing, so it is optimistic",)


def test_one_folder_a_class(tmp_path):
    data = opened(fill(tmp_path, {"cat": 40, "dog": 40}))
    assert list(data.splits) == ["train", "val", "test"]
    assert data.notes == ("no split found: 80/10/10 stratified by content hash",)
    assert sum(map(len, data.splits.values())) == 80
    assert all(set(split.labels) == {0, 1} for split in data.splits.values())


def test_a_train_folder_alone(tmp_path):
    data = opened(fill(tmp_path, {"train/a": 30, "train/b": 30}))
    assert list(data.splits) == ["train", "val", "test"] and data.splits["val"].names[0].startswith("train/")


def test_train_and_test_without_val(tmp_path):
    data = opened(fill(tmp_path, {"train/a": 30, "train/b": 30, "test/a": 2, "test/b": 2}))
    assert list(data.splits) == ["train", "val", "test"] and len(data.splits["test"]) == 4
    assert data.notes == ("no validation split: 10% of train is held out by content hash",)


def test_a_class_may_be_called_train(tmp_path):
    assert opened(fill(tmp_path, {"train": 9, "car": 9})).classes == ("car", "train")


@pytest.mark.fault(58, "a note names classes that differ only in case")
def test_classes_are_sorted_and_files_found_at_any_depth(tmp_path):
    data = opened(fill(tmp_path, {"b": 3, "B": 3, "a/deep/er": 3, "10": 3, "9": 3}))
    assert data.classes == ("10", "9", "B", "a", "b")
    assert "the classes 'B' and 'b' differ only in how they are written" in data.notes


@pytest.mark.fault(46, "litter as .DS_Store and Thumbs.db is ignored; other files that are no pictures are counted")
@pytest.mark.fault(57, "hidden folders as .ipynb_checkpoints are no classes, and a note names them")
def test_what_is_not_a_picture_is_counted_or_ignored(tmp_path):
    fill(
        tmp_path, SPLIT | {".ipynb_checkpoints": 1, "train/.ipynb_checkpoints": 2, "__MACOSX/train": 1, "train/cat": 4}
    )
    for name in ("LICENSE", "train/labels.csv", "train/cat/.DS_Store", "train/cat/Thumbs.db", "train/cat/._0.png"):
        (tmp_path / name).write_text("x")
    for name in ("train/cat/a.txt", "train/cat/b.txt", "val/dog/c.heic"):
        (tmp_path / name).write_text("x")
    data = opened(tmp_path)
    assert data.classes == ("cat", "dog") and len(data.splits["train"]) == 9
    assert data.notes == (
        "left out 2 × .txt, 1 × .heic: not pictures that can be read",
        "ignored folders: .ipynb_checkpoints, __MACOSX, train/.ipynb_checkpoints",
    )


@pytest.mark.fault(34, "links in the data that lead in a circle are followed once")
def test_links_in_a_circle_end(tmp_path):
    fill(tmp_path, SPLIT)
    (tmp_path / "train/cat/deep").mkdir()
    for name in ("train/cat/self", "train/cat/deep/up"):
        (tmp_path / name).symlink_to(tmp_path / "train/cat", target_is_directory=True)
    assert len(opened(tmp_path).splits["train"]) == 9


def test_a_linked_class_folder_is_read(tmp_path):
    fill(tmp_path / "real", {"dog": 5})
    fill(tmp_path / "pets", {"cat": 5})
    (tmp_path / "pets/dog").symlink_to(tmp_path / "real/dog", target_is_directory=True)
    assert opened(tmp_path / "pets").classes == ("cat", "dog")


@pytest.mark.fault(44, "training leaves damaged pictures out, names them, and puts nothing in their place")
def test_damaged_files_are_quarantined(tmp_path):
    fill(tmp_path, SPLIT)
    (tmp_path / "train/cat/0.png").write_bytes(b"")
    (tmp_path / "val/cat/1.png").write_text("<html>")
    for _ in range(2):
        data = opened(tmp_path)
        assert [(bad.name, bad.reason) for bad in data.quarantined] == [
            ("train/cat/0.png", "empty file"),
            ("val/cat/1.png", "not an image (starts with '<html>')"),
        ]
        train = data.splits["train"]
        assert len(train) == 8 and "train/cat/0.png" not in train.names
        assert (train.images[3] == data.preprocess.stored(tmp_path / train.names[3])).all()
        assert data.summary()["quarantined"][0] == {"name": "train/cat/0.png", "reason": "empty file"}


def test_damaged_files_do_not_empty_a_side(tmp_path):
    """Whatever side the damaged ones fall on, three good pictures of a class serve all three sides."""
    fill(tmp_path, {"a": 3, "b": 3, "c": 3, "d": 3})
    for number in range(120):
        (tmp_path / "abcd"[number % 4] / f"bad{number}.png").write_bytes(b"broken %d" % number)
    data = opened(tmp_path)
    assert len(data.quarantined) == 120
    assert all(sorted(split.labels) == [0, 1, 2, 3] for split in data.splits.values())


def test_a_few_damaged_files_do_not_decode_the_rest_twice(tmp_path):
    fill(tmp_path, {"a": 40, "b": 40})
    (tmp_path / "a" / "bad.png").write_bytes(b"")
    steps = []
    data = opened(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number, 81) for number in range(1, 82)] and len(data.quarantined) == 1


def test_the_second_time_nothing_is_decoded_or_read(tmp_path, monkeypatch):
    fill(tmp_path, SPLIT)
    for path in tmp_path.glob("*/*/*"):
        os.utime(path, (1e9, 1e9))
    first = open_data(str(tmp_path))

    def forbidden(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(listing, "read", forbidden)
    monkeypatch.setattr("netwright.data.decode.read", forbidden)
    second = open_data(str(tmp_path))
    assert first.fingerprint == second.fingerprint and first.preprocess == second.preprocess


def test_adding_a_file_moves_no_other(tmp_path):
    fill(tmp_path, {"cat": 100, "dog": 100})
    before = sides_of(opened(tmp_path))
    for number in range(20):
        draw(tmp_path / "cat" / f"new{number}.png", 1000 + number)
    after = sides_of(opened(tmp_path))
    assert len(after) == 220 and {name: after[name] for name in before} == before


def sides_of(data):
    return {name: side for side, split in data.splits.items() for name in split.names}


def test_renaming_moves_no_file(tmp_path):
    fill(tmp_path, {"cat": 30, "dog": 30})
    before = {int(number): side for side, split in opened(tmp_path).splits.items() for number in split.ids}
    for path in tmp_path.glob("*/*.png"):
        path.rename(path.with_name("x" + path.name))
    after = {int(number): side for side, split in opened(tmp_path).splits.items() for number in split.ids}
    assert before == after


@pytest.mark.fault(59, "where netwright splits the data, copies of a picture are on one side")
def test_renaming_changes_no_decision(tmp_path):
    """One picture of 500 has colour: whether it is among those looked at must not depend on names."""
    fill(tmp_path, {"a": 250, "b": 250}, mode="L")
    draw(tmp_path / "a" / "7.png", 5000)
    first = open_data(str(tmp_path)).preprocess
    for turn in range(3):
        for path in tmp_path.glob("*/*.png"):
            number = int(path.stem.rpartition("_")[2])
            path.rename(path.with_name(f"t{turn}_{(number * 7 + turn) % 250}_{number}.png"))
        assert open_data(str(tmp_path)).preprocess == first


def test_copies_share_a_side(tmp_path):
    fill(tmp_path, {"cat": 30, "dog": 30})
    for path in list(tmp_path.glob("cat/*.png")):
        shutil.copy(path, path.with_name("copy" + path.name))
    sides = sides_of(opened(tmp_path))
    assert all(sides[f"cat/{n}.png"] == sides[f"cat/copy{n}.png"] for n in range(30))


@pytest.mark.fault(61, "with a group expression no group is on two sides")
def test_groups_are_held_out_together(tmp_path):
    for number in range(60):
        for slice_ in range(3):
            draw(tmp_path / "ab"[number % 2] / f"patient{number:02d}_{slice_}.png", number * 3 + slice_)
    alone, together = (sides_of(opened(tmp_path, group=group)) for group in (None, r"(patient\d+)"))

    def torn(sides):
        held = {}
        for name, side in sides.items():
            held.setdefault(name[:11], set()).add(side)
        return sum(len(each) > 1 for each in held.values())

    assert torn(alone) > 10 and torn(together) == 0 and set(together.values()) == {"train", "val", "test"}
    for group, says in (("patient", "names no group"), ("(", "no regular expression"), ("(scan)", "matches no name")):
        with pytest.raises(NetwrightError, match=says):
            opened(tmp_path, group=group)


def digest(where):
    return int(where * 2**64).to_bytes(8, "big") + bytes(24)


def assigned(places, labels, fractions):
    """Sides by name of contents whose hashes stand at these places of [0, 1)."""
    sides = assign(as_keys([digest(place) for place in places]), np.array(labels), fractions)
    return [("train", "val", "test")[side] for side in sides]


def test_the_side_is_a_function_of_the_content():
    sides = assigned((0.05, 0.15, 0.25, 0.99), [[0, 1]] * 4, (0.8, 0.1, 0.1))
    assert sides == ["test", "val", "train", "train"]
    assert positions(as_keys([b"\xff" * 32]))[0] < 1 and positions(as_keys([bytes(32)]))[0] == 0


@pytest.mark.fault(62, "a class of three pictures has one on every side")
def test_every_class_of_three_has_every_side():
    fractions = (0.8, 0.1, 0.1)
    for where in [(0.5, 0.6, 0.7), (0.01, 0.02, 0.03), (0.11, 0.12, 0.13), (0.05, 0.15, 0.5), (0.01, 0.5, 0.6)]:
        assert sorted(assigned(where, [0] * 3, fractions)) == ["test", "train", "val"]
    assert sorted(assigned((0.5, 0.6, 0.7), [0] * 3, (0.9, 0.1, 0.0))) == ["train", "train", "val"]
    shared = assigned((0.5, 0.5, 0.6, 0.7, 0.8), [0, 1, 0, 0, 0], fractions)
    assert shared[0] == shared[1] == "train"


@pytest.mark.fault(62, "a class of one or two pictures is for training, and a note says where it has none")
def test_a_class_too_small_for_every_side_is_for_training(tmp_path):
    assert assigned((0.01, 0.15, 0.5, 0.6, 0.7), [0, 0, 1, 1, 1], (0.8, 0.1, 0.1))[:2] == ["train", "train"]
    data = opened(fill(tmp_path, {"a": 1, "b": 30}))
    assert "val has no pictures of a" in data.notes and "test has no pictures of a" in data.notes
    assert data.splits["train"].labels.tolist().count(0) == 1


@pytest.mark.fault(54, "an empty class folder is refused by name")
@pytest.mark.fault(55, "a single class is refused: there is nothing to tell apart")
@pytest.mark.fault(56, "a class of validation or test that training has not is refused, and the nearest name suggested")
@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ({}, r"data is empty\n  fix: put one folder for each class in it"),
        ({"": 3}, r"the 3 pictures in .* lie side by side.*\n  fix: make a folder for each class, as .*cat and .*dog"),
        ({"train": 3}, r"the 3 pictures in .*train lie side by side"),
        ({"cat": 3}, r"only one class folder, 'cat'"),
        ({"pets/cat": 3, "pets/dog": 3}, r"only one class folder, 'pets'.*\n  fix: .*one level deeper: give .*pets"),
        ({"cat": 3, "dog": 0}, r"the class folder .*dog has no pictures\n  fix: put pictures in it, or remove it"),
        ({"cat": 0, "dog": 0}, r"no pictures in .*: its folders are empty"),
        ({"val/a": 1, "test/a": 1}, r"has test, val but no train folder"),
        (SPLIT | {"valid/cat": 1}, r"two folders for val: val and valid"),
        (SPLIT | {"val/dgo": 1}, r"val has the class 'dgo', which train has not\n  fix: remove it, or add .*train/dgo"),
        (
            {"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dgo": 1},
            r"val has the class 'dgo', which train has not\n  fix: rename it to .*val/dog",
        ),
        (SPLIT | {"test/fox": 1}, r"test has the class 'fox', which train has not"),
    ],
)
def test_layouts_that_cannot_work(tmp_path, layout, says):
    with pytest.raises(NetwrightError, match=says):
        opened(fill(tmp_path / "data", layout) if layout else make(tmp_path / "data"))


@pytest.mark.fault(56, "validation may lack a class, and is told; classes that training has not are refused")
def test_validation_may_lack_a_class(tmp_path):
    data = opened(fill(tmp_path, {"train/cat": 3, "train/dog": 3, "val/dog": 2, "test/cat": 1, "test/dog": 1}))
    assert data.splits["val"].labels.tolist() == [1, 1] and data.notes == ("val has no pictures of cat",)


def make(folder):
    folder.mkdir()
    return folder


def test_no_pictures_says_what_was_found(tmp_path):
    for name in ("cat/a.heic", "cat/b.heic", "dog/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(NetwrightError, match=r"found 2 × .heic, 1 × .txt\n  fix: pictures end in .jpg"):
        opened(tmp_path)


def test_a_missing_path_names_the_nearest(tmp_path):
    fill(tmp_path, {"photos/cat": 1})
    with pytest.raises(NetwrightError, match=r"phots does not exist\n  fix: did you mean .*/photos\?"):
        opened(tmp_path / "phots")
    with pytest.raises(NetwrightError, match=r"fix: did you mean .*/photos\?"):
        opened(tmp_path / "fotos" / "train")
    with pytest.raises(NetwrightError, match=r"fix: .* has: photos"):
        opened(tmp_path / "xyz")


def test_a_file_instead_of_a_folder(tmp_path):
    draw(tmp_path / "cat.png")
    with pytest.raises(
        NetwrightError, match=rf"is a file, not a folder of pictures\n  fix: give its folder: {tmp_path}"
    ):
        opened(tmp_path / "cat.png")


def test_every_file_of_a_class_damaged(tmp_path):
    fill(tmp_path, SPLIT)
    for path in (tmp_path / "train/cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(NetwrightError, match=r"'cat' has no readable picture for train .*0.png: empty file"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 200), (160, 183)), ((100, 130), (100, 100)), ((20, 30), (20, 20)), ((48, 48), (48, 48))],
)
def test_the_size_follows_the_pictures(tmp_path, size, expected):
    data = open_data(str(fill(tmp_path, {"a": 5, "b": 5}, size=size)))
    assert (data.preprocess.image_size, data.preprocess.stored_size) == expected


def test_grey_pictures_have_one_channel(tmp_path):
    fill(tmp_path, {"a": 5, "b": 5}, mode="L")
    data = opened(tmp_path)
    assert data.preprocess.channels == 1 and data.splits["train"].images.shape[3] == 1
    assert any("grey" in note for note in data.notes)
    assert opened(tmp_path, channels=3).preprocess.channels == 3
    grey = Image.open(tmp_path / "a/0.png").convert("RGB")
    grey.save(tmp_path / "a/0.png")
    assert opened(tmp_path).preprocess.channels == 1, "colourless RGB is grey"
    draw(tmp_path / "a/0.png")
    assert opened(tmp_path).preprocess.channels == 3


def test_progress_counts_through_all_sides(tmp_path):
    steps = []
    opened(fill(tmp_path, SPLIT), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number, 14) for number in range(1, 15)]


def test_the_same_pictures_elsewhere_are_the_same_data(tmp_path):
    fill(tmp_path / "one", SPLIT)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert opened(tmp_path / "one").fingerprint == opened(tmp_path / "two").fingerprint


def test_the_summary_is_json(tmp_path):
    import json

    summary = json.loads(json.dumps(opened(fill(tmp_path, SPLIT)).summary()))
    assert summary["splits"]["train"] == {"n": 9, "per_class": {"cat": 4, "dog": 5}}


@pytest.mark.data
@pytest.mark.skipif("NETWRIGHT_DATA" not in os.environ, reason="NETWRIGHT_DATA names no data folder")
def test_real_photos():
    data = open_data(os.environ["NETWRIGHT_DATA"] + "/clothing")
    assert [len(split) for split in data.splits.values()] == [450, 120, 214] and len(data.classes) == 10
    assert data.preprocess.stored_size == 183 and data.quarantined == ()
