"""Data sets of Hugging Face: the bytes that went in, labels of every kind, and named errors; no network is used."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

from netwright.core.errors import NetwrightError
from netwright.data import huggingface
from netwright.data.assign import SPLITS
from netwright.data.decode import UnreadableImage
from netwright.data.huggingface import is_saved, listing
from netwright.data.listing import NOBODY, Listing
from tests.conftest import photo

PETS = ClassLabel(names=["cat", "dog"])


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, caches of its own, no progress bars."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets.disable_progress_bars()


@pytest.fixture
def png(tmp_path: Path) -> Sequence[bytes]:
    return [photo(tmp_path / "png" / f"{n}.png", (90, 120, 150), n, (6, 5)).read_bytes() for n in range(8)]


def rows(pictures: Sequence[bytes | None], labels: Sequence[Any], kind: Any = PETS) -> Dataset:
    cells = [None if data is None else {"bytes": data, "path": None} for data in pictures]
    return Dataset.from_dict({"image": cells, "label": labels}, Features({"image": Image(), "label": kind}))


def saved(path: Path, found: Dataset | DatasetDict) -> str:
    found.save_to_disk(str(path))
    return f"hf:{path}"


def problem(source: str) -> NetwrightError:
    with pytest.raises(NetwrightError) as caught:
        listing(source)
    assert caught.value.fix
    return caught.value


def pictures(found: Listing) -> list[Any]:
    return [found.blobs.read(place) for place in range(len(found))]


def test_numbers_that_count_nothing_are_refused(tmp_path: Path, png: Sequence[bytes]) -> None:
    told = problem(saved(tmp_path / "pets", rows(png[:2], [0, 20_000_000], Value("int64"))))
    assert "the column label has labels up to 20,000,000 for 2 pictures" in str(told)


def test_a_saved_data_set(tmp_path: Path, png: Sequence[bytes]) -> None:
    splits = {"test": rows(png[5:], [1, 1, 0]), "train": rows(png[:3], [0, 1, 0]), "validation": rows(png[3:5], [1, 0])}
    found = listing(saved(tmp_path / "pets", DatasetDict(splits)))
    assert found.name == "pets"
    assert found.root == str(tmp_path / "pets")
    assert found.classes == ("cat", "dog")
    assert pictures(found) == list(png)
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1, 1, 0]
    assert found.labels.dtype == np.int64
    assert [SPLITS[side] for side in found.sides] == ["train"] * 3 + ["val"] * 2 + ["test"] * 3
    assert found.sides.dtype == np.int8
    assert list(found.blobs.names[2:4]) == ["train[2]", "validation[0]"]
    assert len(set(found.blobs.names)) == 8
    assert not found.blobs.in_memory
    assert found.notes == ()


def test_threads_read_what_one_thread_reads(tmp_path: Path, png: Sequence[bytes]) -> None:
    blobs = listing(saved(tmp_path / "pets", rows(png, [0, 1] * 4))).blobs
    places = np.random.default_rng(0).integers(0, 8, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(blobs.read, places)) == [png[place] for place in places]


def test_a_data_set_without_splits_is_for_nobody(tmp_path: Path, png: Sequence[bytes]) -> None:
    found = listing(saved(tmp_path / "pets", rows(png, [0, 1] * 4)))
    assert set(found.sides) == {NOBODY}
    assert found.blobs.names[7] == "pets[7]"


def test_rows_that_were_chosen_keep_their_pictures(tmp_path: Path, png: Sequence[bytes]) -> None:
    chosen = rows(png, [0, 1] * 4).select([6, 1, 3])
    found = listing(saved(tmp_path / "pets", chosen))
    assert pictures(found) == [png[6], png[1], png[3]]
    assert found.labels.tolist() == [0, 1, 1]


def test_what_is_saved_is_recognised(tmp_path: Path, png: Sequence[bytes]) -> None:
    saved(tmp_path / "single", rows(png, [0, 1] * 4))
    saved(tmp_path / "split", DatasetDict({"train": rows(png, [0, 1] * 4)}))
    assert is_saved(tmp_path / "single")
    assert is_saved(tmp_path / "split")
    assert not is_saved(tmp_path / "png")
    assert not is_saved(tmp_path / "missing")


def test_a_folder_of_parquet_files(tmp_path: Path, png: Sequence[bytes]) -> None:
    for split, (first, last) in {"train": (0, 5), "test": (5, 8)}.items():
        path = tmp_path / "pets" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        rows(png[first:last], [n % 2 for n in range(first, last)]).to_parquet(str(path))
    found = listing(f"hf:{tmp_path / 'pets'}")
    assert pictures(found) == list(png)
    assert found.labels.tolist() == [0, 1] * 4
    assert [SPLITS[side] for side in found.sides] == ["train"] * 5 + ["test"] * 3
    assert found.classes == ("cat", "dog")


def test_a_folder_of_pictures(tmp_path: Path, png: Sequence[bytes]) -> None:
    for place, data in enumerate(png):
        path = tmp_path / "pets" / "train" / ("cat", "dog")[place % 2] / f"{place}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
    found = listing(f"hf:{tmp_path / 'pets'}")
    assert sorted(pictures(found)) == sorted(png)
    assert [found.classes[label] for label in found.labels] == [
        ("cat", "dog")[png.index(x) % 2] for x in pictures(found)
    ]
    stat = (tmp_path / "pets/train/cat/0.png").stat()
    place = pictures(found).index(png[0])
    assert found.blobs.stamp(place) == (stat.st_size, stat.st_mtime_ns)
    (tmp_path / "pets/train/cat/0.png").unlink()
    with pytest.raises(UnreadableImage, match="cannot be opened"):
        found.blobs.read(place)
    with pytest.raises(OSError, match="No such file"):
        found.blobs.stamp(place)


def test_the_stamp_is_that_of_the_files(tmp_path: Path, png: Sequence[bytes]) -> None:
    found = listing(saved(tmp_path / "pets", rows(png, [0, 1] * 4)))
    (arrow,) = (tmp_path / "pets").glob("*.arrow")
    assert found.blobs.stamp(5) == (arrow.stat().st_size, arrow.stat().st_mtime_ns)
    os.utime(arrow, ns=(0, 0))
    assert listing(f"hf:{tmp_path / 'pets'}").blobs.stamp(5) == (arrow.stat().st_size, 0)


@pytest.mark.parametrize(
    ("kind", "labels", "classes", "numbers"),
    [
        (Value("string"), ["dog", "ant", "cat", "dog"], ("ant", "cat", "dog"), [2, 0, 1, 2]),
        (Value("large_string"), ["b", "a", "a", "b"], ("a", "b"), [1, 0, 0, 1]),
        (Value("int32"), [2, 0, 2, 1], ("0", "1", "2"), [2, 0, 2, 1]),
        (Value("bool"), [True, False, False, True], ("false", "true"), [1, 0, 0, 1]),
        (PETS, [1, 0, 0, 1], ("cat", "dog"), [1, 0, 0, 1]),
        (List(PETS), [[0], [], [0, 1], [1]], ("cat", "dog"), [[1, 0], [0, 0], [1, 1], [0, 1]]),
        (List(Value("string")), [["x", "a"], ["b"], [], []], ("a", "b", "x"), [[1, 0, 1], [0, 1, 0], [0] * 3, [0] * 3]),
    ],
)  # fmt: skip
def test_labels_of_every_kind(
    tmp_path: Path, png: Sequence[bytes], kind: Any, labels: list[Any], classes: tuple[str, ...], numbers: list[Any]
) -> None:
    splits = DatasetDict({"train": rows(png[:3], labels[:3], kind), "test": rows(png[3:4], labels[3:], kind)})
    found = listing(saved(tmp_path / "pets", splits))
    assert found.classes == classes
    assert found.labels.tolist() == numbers
    assert found.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("kind", "labels", "said"),
    [
        (Value("float32"), [0.5, 1, 2], "the column label has type float"),
        (List(Value("int64")), [[0, 1], [1, 0], [1, 1]], "holds lists of int64"),
        (PETS, [0, -1, None], r"2 rows of .*pets have no label in the column label, the first is pets\[1\]"),
        (Value("string"), ["cat", None, "dog"], "1 rows of .* have no label"),
        (PETS, [-1, -1, None], "no row of .* has a label"),
    ],
)
def test_labels_that_cannot_be_used(
    tmp_path: Path, png: Sequence[bytes], kind: Any, labels: list[Any], said: str
) -> None:
    assert re.search(said, problem(saved(tmp_path / "pets", rows(png[:3], labels, kind))).problem)


def test_a_split_without_labels_is_left_out_and_named(tmp_path: Path, png: Sequence[bytes]) -> None:
    splits = DatasetDict({"train": rows(png[:3], [0, 1, 0]), "test": rows(png[3:5], [-1, -1])})
    found = listing(saved(tmp_path / "pets", splits))
    assert pictures(found) == list(png[:3])
    assert set(found.sides) == {NOBODY}
    assert found.notes == ("left out the split test: it has no labels",)


@pytest.mark.fault(
    56, "Splits of a Hugging Face data set whose classes differ, or stand in another order, are refused."
)
def test_classes_must_agree_between_splits(tmp_path: Path, png: Sequence[bytes]) -> None:
    other = rows(png[3:5], [0, 1], ClassLabel(names=["dog", "cat"]))
    error = problem(saved(tmp_path / "pets", DatasetDict({"train": rows(png[:3], [0, 1, 0]), "test": other})))
    assert "the classes of label in the split test are not those in train" in error.problem


def test_splits_are_mapped_or_asked_for(tmp_path: Path, png: Sequence[bytes]) -> None:
    splits = DatasetDict(
        {"train": rows(png[:3], [0, 1, 0]), "dev": rows(png[3:5], [0, 1]), "extra": rows(png[5:], [1, 1, 0])}
    )
    source = saved(tmp_path / "pets", splits)
    error = problem(source)
    assert "the split 'dev'" in error.problem
    assert "train, dev, extra" in error.fix
    found = listing(f"{source}(train='extra', val='dev')")
    assert pictures(found) == [*png[5:], *png[3:5]]
    assert [SPLITS[side] for side in found.sides] == ["train"] * 3 + ["val"] * 2
    assert "did you mean 'extra'" in problem(f"{source}(train='extar')").fix
    assert "is asked for twice: extra, extra" in problem(f"{source}(train='extra', val='extra')").problem
    doubled = saved(
        tmp_path / "two", DatasetDict({"valid": rows(png[:3], [0, 1, 0]), "validation": rows(png[3:5], [0, 1])})
    )
    assert "two splits" in problem(doubled).problem


def test_columns_are_found_or_asked_for(tmp_path: Path, png: Sequence[bytes]) -> None:
    cells = [{"bytes": data, "path": None} for data in png]
    kinds = {
        "left": Image(),
        "right": Image(),
        "animal": PETS,
        "mood": ClassLabel(names=["a", "b"]),
        "file": Value("binary"),
    }
    columns = {"left": cells, "right": cells[::-1], "animal": [0, 1] * 4, "mood": [1, 0] * 4, "file": list(png)}
    source = saved(tmp_path / "pets", Dataset.from_dict(columns, Features(kinds)))
    assert problem(source).problem == "several columns could be the image"
    assert "Columns: left, right, animal, mood, file" in problem(source).fix
    assert problem(f"{source}(image='left')").problem == "several columns could be the label"
    found = listing(f"{source}(image='right', label='mood')")
    assert pictures(found) == list(png[::-1])
    assert found.labels.tolist() == [1, 0] * 4
    assert found.blobs.names[0] == "pets[0].right"
    assert pictures(listing(f"{source}(image='file', label='mood')")) == list(png)
    assert "did you mean 'animal'" in problem(f"{source}(image='left', label='animals')").fix
    assert "holds no pictures, but int64" in problem(f"{source}(image='mood', label='mood')").problem


def test_one_class_label_needs_no_name(tmp_path: Path, png: Sequence[bytes]) -> None:
    found = rows(png, [0, 1] * 4).rename_columns({"image": "scan", "label": "species"})
    assert listing(saved(tmp_path / "pets", found)).labels.tolist() == [0, 1] * 4
    bare = saved(tmp_path / "bare", found.remove_columns("species"))
    assert problem(bare).problem == "no column could be the label"


def test_a_row_without_a_picture_is_unreadable(tmp_path: Path, png: Sequence[bytes]) -> None:
    found = listing(saved(tmp_path / "pets", rows([png[0], None], [0, 1])))
    assert found.blobs.read(0) == png[0]
    with pytest.raises(UnreadableImage, match=r"pets\[1\]: the row has no picture"):
        found.blobs.read(1)
    assert found.blobs.stamp(1) is None


@pytest.mark.parametrize("name", ["beans", "owner/name", "owner/name(config='plain', revision='main')"])
def test_without_a_network_the_hub_is_a_named_error(name: str) -> None:
    error = problem(f"hf:{name}")
    assert f"Hugging Face datasets cannot load '{name.partition('(')[0]}'" in error.problem
    assert "save_to_disk('folder')" in error.fix


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hf:beans(lable='x')", "unknown option of hf: 'lable'"),
        ("hf:beans(label=3)", "option label of 'hf:beans(label=3)' is 3"),
        ("hf:beans(label='x'", "cannot read"),
        ("hf:", "names no data set"),
    ],
)
def test_sources_that_cannot_be_read(source: str, said: str) -> None:
    assert said in problem(source).problem


def test_empty_and_foreign_folders(tmp_path: Path, png: Sequence[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert "cannot load" in problem(f"hf:{tmp_path / 'empty'}").problem
    assert "cannot load" in problem(saved(tmp_path / "none", rows([], []))).problem
    splits = DatasetDict({"train": rows(png[:3], [0, 1, 0]), "test": rows(png[:3], [0, 1, 0]).select([])})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: splits)
    assert len(listing("hf:pets")) == 3
    splits.pop("train")
    assert "has no rows" in problem("hf:pets").problem
    source = saved(tmp_path / "broken", rows(png, [0, 1] * 4))
    (tmp_path / "broken" / "state.json").write_text("{")
    assert "cannot load" in problem(source).problem


@pytest.mark.fault(64, "A Hugging Face data set that comes with a script is refused; the script is not executed.")
def test_scripts_are_never_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    script = tmp_path / "pets" / "pets.py"
    script.parent.mkdir()
    script.write_text(f"open({str(canary)!r}, 'w').close()\n")
    assert "cannot load" in problem(f"hf:{script.parent}").problem
    problem(f"hf:{script}")
    assert not canary.exists()


def test_without_the_library_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "python -m pip install datasets" in problem("hf:beans").fix


def test_the_library_is_imported_only_when_it_is_wanted() -> None:
    script = f"import sys, {huggingface.__name__}; print({{'datasets', 'pyarrow'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
