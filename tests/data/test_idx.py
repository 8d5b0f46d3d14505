"""MNIST's own files: read, packed or not, wherever they lie; and refused where they are not what they say."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data import open_data

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
LABELS = (np.arange(60) % 3).astype(np.uint8)


def content(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def written(folder: Path, *, prefix: str = "", packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for side, chosen in (("train", slice(40)), ("t10k", slice(40, 60))):
        for end, values in (("images-idx3-ubyte", IMAGES), ("labels-idx1-ubyte", LABELS)):
            held = content(values[chosen])
            name = f"{prefix}{side}-{end}" + ".gz" * packed
            (folder / name).write_bytes(gzip.compress(held) if packed else held)
    return folder


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_pictures_and_classes_are_those_of_the_files(tmp_path: Path, place: str, packed: bool) -> None:
    written(tmp_path / place, packed=packed)
    data = open_data(str(tmp_path))
    test = data.splits["test"]
    assert len(test) == 20
    rows = {name: (np.asarray(test.images[place])[..., 0], test.labels[place]) for place, name in enumerate(test.names)}
    for row in range(20):
        image, label = rows[f"test[{row}]"]
        np.testing.assert_array_equal(image, IMAGES[40 + row])
        assert label == LABELS[40 + row]


def test_classes_may_count_from_one_and_the_other_side_be_called_test(tmp_path: Path) -> None:
    """As EMNIST's letters."""
    written(tmp_path, prefix="emnist-letters-", packed=False)
    for file in [*tmp_path.glob("*labels*")]:
        file.write_bytes(file.read_bytes()[:8] + bytes(label + 1 for label in file.read_bytes()[8:]))
    for file in [*tmp_path.glob("*t10k*")]:
        file.rename(tmp_path / file.name.replace("t10k", "test"))
    data = open_data(str(tmp_path))
    assert len(data.classes) == 3
    assert len(data.splits["test"]) == 20


def test_names_may_begin_with_that_of_the_set(tmp_path: Path) -> None:
    assert len(open_data(str(written(tmp_path, prefix="emnist-letters-"))).splits["test"]) == 20


def test_several_sets_in_a_folder_are_named(tmp_path: Path) -> None:
    for prefix in ("a-", "b-"):
        written(tmp_path, prefix=prefix)
    with pytest.raises(NetwrightError, match="several sets"):
        open_data(str(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda held: held[:-1],
        lambda held: held + b"\0",
        lambda held: b"\0\0\x0d" + held[3:],
        lambda held: held[:8],
        lambda held: held[:6],
    ],
)
def test_a_file_that_is_not_what_it_says_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = written(tmp_path, packed=False) / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(NetwrightError, match="train-images"):
        open_data(str(tmp_path))


def test_a_packed_file_that_is_cut_is_named(tmp_path: Path) -> None:
    file = written(tmp_path) / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(NetwrightError, match="t10k-images"):
        open_data(str(tmp_path))


def test_classes_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    (written(tmp_path) / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(NetwrightError, match="train-labels"):
        open_data(str(tmp_path))


def test_what_would_fill_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.data import idx
    from netwright.data.extract import Limits

    monkeypatch.setattr(idx, "LIMITS", Limits(ratio=1, harmless=10))
    with pytest.raises(NetwrightError, match="unpack"):
        open_data(str(written(tmp_path)))
