"""Arrays from an .npz file or from Python."""

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data import from_arrays, list_data, names, open_data, summaries

N = 60


def images(count=N, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (8, 8, 3))), np.uint8)


def labels(count=N, classes=3):
    return np.arange(count) % classes


def keras(path, **changes):
    arrays = {"x_train": images(), "y_train": labels(), "x_test": images(9, seed=1), "y_test": labels(9)} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return str(path)


def test_a_file_with_keras_names(tmp_path):
    data = open_data(keras(tmp_path / "tiny.npz", classes=np.array(["ant", "bee", "cat"])))
    assert data.name == "tiny" and data.classes == ("ant", "bee", "cat")
    assert list(data.splits) == ["train", "val", "test"] and len(data.splits["test"]) == 9
    assert data.notes == ("no validation split: 10% of train is held out by content hash",)
    assert data.preprocess.image_size == data.preprocess.stored_size == 8
    train = data.splits["train"]
    row = int(train.names[0].removeprefix("train[").removesuffix("]"))
    assert (train.images[0] == images()[row]).all() and train.labels[0] == labels()[row]
    assert train.ids.dtype == train.labels.dtype == np.int64
    assert data.summary()["splits"]["test"] == {"n": 9, "per_class": {"ant": 3, "bee": 3, "cat": 3}}


def test_a_folder_with_one_file_is_that_file(tmp_path):
    keras(tmp_path / "tiny.npz")
    assert open_data(str(tmp_path)).fingerprint == open_data(str(tmp_path / "tiny.npz")).fingerprint


def test_a_validation_part_of_its_own(tmp_path):
    data = open_data(keras(tmp_path / "a.npz", x_val=images(6, seed=2), y_val=labels(6)))
    assert len(data.splits["train"]) == N and len(data.splits["val"]) == 6 and data.notes == ()


def test_from_python_with_words_as_labels():
    words = [["cat", "dog"][number % 2] for number in range(N)]
    data = from_arrays(train=(images(N, 8, 8), words), val=(images(4, 8, 8, seed=1), words[:4]))
    assert data.classes == ("cat", "dog") and data.preprocess.channels == 1
    assert data.splits["train"].images.shape == (N, 8, 8, 1)
    assert sorted(data.splits["val"].labels.tolist()) == [0, 0, 1, 1]
    assert "optimistic" in data.notes[0]


def test_keras_columns_of_labels_and_other_sizes():
    data = from_arrays(train=(images(), labels()[:, None]), image_size=16, stored_size=20, channels=1)
    assert data.splits["train"].images.shape[1:] == (20, 20, 1)
    assert from_arrays(train=(images(N, 8, 12), labels())).splits["train"].images.shape[1:] == (8, 8, 1)
    assert from_arrays(train=(images(N, 8, 8, 4), labels())).splits["train"].images.shape[1:] == (8, 8, 3)


def test_equal_pictures_share_a_side_and_have_ids_of_their_own():
    twins = np.repeat(images(), 2, axis=0)
    data = from_arrays(train=(twins, np.repeat(labels(), 2)))
    for split in data.splits.values():
        assert len(split) % 2 == 0 and len(np.unique(split.ids)) == len(split)
    train = {image.tobytes() for image in data.splits["train"].images}
    assert not train & {image.tobytes() for image in data.splits["val"].images}


def test_the_fingerprint_follows_contents_labels_and_names():
    first = from_arrays(train=(images(), labels())).fingerprint
    assert first == from_arrays(train=(images(), labels())).fingerprint
    changed = images()
    changed[7, 0, 0, 0] ^= 1
    moved = labels()
    moved[0] = 1
    others = [
        from_arrays(train=(changed, labels())),
        from_arrays(train=(images(), moved)),
        from_arrays(train=(images(), labels()), classes=["a", "b", "c"]),
    ]
    assert len({first, *(data.fingerprint for data in others)}) == 4


def test_mean_and_spread_are_exact():
    data = from_arrays(train=(images(500), labels(500)), val=(images(9), labels(9)))
    pixels = images(500).reshape(-1, 3) / 255
    assert data.preprocess.mean == tuple(round(float(value), 4) for value in pixels.mean(0))
    assert data.preprocess.std == tuple(round(float(value), 4) for value in pixels.std(0))
    flat = from_arrays(train=(np.full((6, 4, 4), 7, np.uint8), labels(6, 2)), val=(images(4, 4, 4), labels(4, 2)))
    assert flat.preprocess.std == (round(1 / 255, 4),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"y_train": None}, "has x_train but no y_train"),
        ({"x_train": None}, "has y_train but no x_train"),
        ({"x_train": None, "y_train": None}, "has no x_train and y_train"),
        ({"x_trian": images()}, "unknown array in a.npz 'x_trian'\n  fix: did you mean 'x_train'"),
        ({"y_train": labels(50)}, "y_train has 50 labels\n  fix: .*60 pictures"),
        ({"y_train": labels() + 1}, "the class '0' has no readable picture for train"),
        ({"y_train": labels() - 1}, r"labels from -1 to 1, but there are 2 classes"),
        ({"y_test": labels(9) + 5}, r"y_test has labels from 5 to 7, but there are 3 classes"),
        ({"classes": np.array(["a", "b"])}, "labels from 0 to 2, but there are 2 classes"),
        ({"classes": np.array(["a", "a", "b"])}, "class names repeat"),
        ({"y_train": labels().astype(float)}, r"y_train has type float64\n  fix: convert them: y.astype\('int64'\)"),
        ({"y_train": np.eye(3)[labels()]}, r"one-hot labels\?\n  fix: .*y.argmax\(1\)"),
        ({"y_train": np.zeros(N, int)}, "there is only one class"),
        ({"x_train": images().astype(np.float32) / 255}, r"x_train has type float32, not uint8\n  fix: scale it"),
        ({"x_train": np.moveaxis(images(), -1, 1)}, r"np\.moveaxis\(x, 1, -1\)"),
        ({"x_train": images(N, 8)}, "give N H W or N H W C"),
        ({"classes": np.array("abc")}, r"classes has shape \(\)\n  fix: give one name for each class"),
        ({"y_train": np.zeros((N, 0), int)}, r"y_train has shape \(60, 0\)\n  fix: give one label for each"),
        ({"y_train": np.where(labels(), 20_000_000, 0)}, r"labels up to 20,000,000 for 60 pictures.*\n.*np\.unique"),
        ({f"{a}_{side}": None for a in "xy" for side in ("train", "test")}, "it has no arrays; name them"),
        ({"x_test": images(9, 8, 8, 2)}, "x_test has shape .*: 2 channels"),
        ({"y_train": np.array([{}] * N, dtype=object)}, "no objects"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, says):
    with pytest.raises(NetwrightError, match=says):
        open_data(keras(tmp_path / "a.npz", **changes))


@pytest.mark.parametrize("changes", [{"x_train": None, "y_train": None}, {"y_train": np.zeros(N, int)}])
def test_what_cannot_be_trained_on_may_be_measured(tmp_path, changes):
    source = keras(tmp_path / "a.npz", **changes)
    with pytest.raises(NetwrightError):
        list_data(source)
    found = list_data(source, strict=False)
    assert found.having("test") and found.classes == ("0", "1", "2")
    assert found.having("train") == ("x_train" not in changes)


def test_a_file_that_is_no_npz(tmp_path):
    path = tmp_path / "a.npz"
    for content in (b"", b"text", b"PK\x03\x04cut"):
        path.write_bytes(content)
        with pytest.raises(NetwrightError, match=r"is not an \.npz file that can be read"):
            open_data(str(path))
    np.savez(tmp_path / "whole.npz", x_train=images())
    path.write_bytes((tmp_path / "whole.npz").read_bytes()[:-200])
    with pytest.raises(NetwrightError, match=r"is not an \.npz file"):
        open_data(str(path))


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1), (0.9, 0.1)])
def test_fractions_are_checked(fractions):
    with pytest.raises(NetwrightError, match="add up to 1"):
        from_arrays(train=(images(), labels()), fractions=fractions)


def test_an_unknown_word_as_label():
    with pytest.raises(NetwrightError, match="unknown class in y_val 'dgo'\n  fix: did you mean 'dog'"):
        from_arrays(train=(images(4), ["cat", "dog"] * 2), val=(images(2), ["cat", "dgo"]))


def test_kinds_are_listed_with_one_line_each():
    assert {"arrays", "digits", "folder", "table", "webdataset"} <= set(names()) and all(summaries().values())


def test_npy_files_are_not_copied(tmp_path):
    for key, array in {
        "x_train": images(),
        "y_train": labels(),
        "x_test": images(9, seed=1),
        "y_test": labels(9),
    }.items():
        np.save(tmp_path / f"{key}.npy", array)
    data = open_data(str(tmp_path))
    assert all(isinstance(array, np.memmap) for array in data.splits["train"].images.segments)
    row = int(data.splits["test"].names[0].removeprefix("test[").removesuffix("]"))
    assert (data.splits["test"].images[0] == images(9, seed=1)[row]).all()


def test_the_shape_belongs_to_a_picture():
    white = np.full((N, 4, 16, 3), 255, np.uint8)
    wide = from_arrays(train=(white, labels()), val=(white[:3], labels(3)))
    tall = from_arrays(train=(white.reshape(N, 16, 4, 3), labels()), val=(white[:3].reshape(3, 16, 4, 3), labels(3)))
    assert set(wide.splits["train"].ids) & set(tall.splits["train"].ids) == set()
