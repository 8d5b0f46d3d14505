"""Labelled pictures for a model that exists: which of them are measured, and under which class."""

from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data.labelled import SEEN, Labelled, labelled
from netwright.data.preprocess import Preprocess
from tests.conftest import photo

PREPROCESS = Preprocess.plain(8, 8)


def fill(root: Path, *folders: str) -> Path:
    """One picture in each folder, each another one."""
    for seed, folder in enumerate(folders):
        photo(root / folder / "0.png", (90, 120, 150), seed, (12, 10))
    return root


def found(root: Path, *classes: str) -> Labelled:
    return labelled(str(root), PREPROCESS, classes)


@pytest.mark.parametrize("side", ["test", "val", "train"])
def test_a_class_may_be_called_as_a_side_is(tmp_path: Path, side: str) -> None:
    data = found(fill(tmp_path, "car", side), "car", side)
    assert data.name == "all"
    assert sorted(data.split.names) == ["car/0.png", f"{side}/0.png"]
    assert sorted(data.split.labels) == [0, 1]


def test_every_class_may_be_called_as_a_side_is(tmp_path: Path) -> None:
    assert len(found(fill(tmp_path, "test", "val"), "test", "val").split) == 2


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        (("train/a", "train/b", "val/a", "val/b", "test/a", "test/b"), "test"),
        (("train/a", "train/b", "Valid/a", "Valid/b"), "val"),
        (("train/a", "train/b"), "train"),
        (("test/a", "test/b"), "test"),
        (("val/a", "val/b"), "val"),
        (("a", "b"), "all"),
    ],
)
def test_the_most_honest_side_is_measured(tmp_path: Path, folders: tuple[str, ...], name: str) -> None:
    data = found(fill(tmp_path, *folders), "a", "b")
    assert data.name == name
    assert sorted(data.split.labels.tolist()) == [0, 1]


def test_two_folders_for_one_side_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="two folders for val"):
        found(fill(tmp_path, "train/a", "train/b", "val/a", "valid/a"), "a", "b")


@pytest.mark.parametrize("label", ["a", "b"])
def test_a_table_may_have_a_test_split_alone(tmp_path: Path, label: str) -> None:
    fill(tmp_path, "x", "y")
    (tmp_path / "new.csv").write_text(f"path,label,split\nx/0.png,{label},test\ny/0.png,b,test\n")
    data = labelled(str(tmp_path / "new.csv"), PREPROCESS, ("a", "b"))
    assert data.name == "test" and len(data.split) == 2


def test_arrays_may_have_a_test_split_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "new.npz", x_test=pixels, y_test=[0, 0, 1, 1], classes=["b", "a"])
    data = labelled(str(tmp_path / "new.npz"), PREPROCESS, ("a", "b"))
    assert data.name == "test" and sorted(data.split.labels.tolist()) == [0, 0, 1, 1]


def test_unreadable_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    (fill(tmp_path, "a", "b") / "a" / "bad.png").write_text("hello")
    data = found(tmp_path, "a", "b")
    assert len(data.split) == 2
    assert data.notes == (SEEN, "left out: a/bad.png: not an image (starts with 'hello')")


def test_nothing_readable_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    for name, content in (("a/0.png", b"hello"), ("b/0.jpg", b"")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    with pytest.raises(NetwrightError, match="none of the 2 pictures") as caught:
        found(tmp_path, "a", "b")
    assert "a/0.png: not an image (starts with 'hello'), b/0.jpg: empty file" in caught.value.problem
