"""Files of vectors: what is written is read, and what is damaged, forged or another's is told."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.records.vectors import KEY, LONGEST, Vectors, read_vectors, separator_for, write_vectors

pyarrow = pytest.importorskip("pyarrow", reason="Parquet is an extra")
parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra")

ENDINGS = (".parquet", ".npz")


def some(n: int = 5, dimension: int = 4, **meta: Any) -> Vectors:
    matrix = np.random.default_rng(0).normal(size=(n, dimension)).astype(np.float32)
    names = [f"{row}ä.jpg" for row in range(n)]
    return Vectors(
        names, matrix, ["train"] * n, ["cat"] * n, [f"{row:04x}" for row in range(n)], {"model": "m", **meta}
    )


def table(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    given, path = some(), tmp_path / f"v{ending}"
    write_vectors(path, given)
    found = read_vectors(path)
    assert found.matrix.dtype == np.float32
    assert (found.matrix == given.matrix).all()
    for column in ("names", "splits", "labels", "ids"):
        assert list(getattr(found, column)) == list(getattr(given, column))
    assert found.meta == {"format": 1, "dimension": 4, "model": "m"}
    assert found.digest() == given.digest()


def test_the_digest_is_of_the_numbers() -> None:
    one, other = some(), some()
    other.matrix[0, 0] += 1
    assert one.digest() != other.digest()
    assert one.digest() != Vectors(one.names, one.matrix.reshape(4, 5), one.splits, one.labels, one.ids).digest()


def test_a_chosen_part_keeps_its_order() -> None:
    part = some().chosen([3, 1])
    assert list(part.names) == ["3ä.jpg", "1ä.jpg"]
    assert (part.matrix == some().matrix[[3, 1]]).all()


def test_names_that_are_not_text_are_escaped(tmp_path: Path) -> None:
    for ending in ENDINGS:
        write_vectors(tmp_path / f"v{ending}", Vectors(["\udcff.jpg"], np.ones((1, 2), np.float32), [""], [""], [""]))
        assert read_vectors(tmp_path / f"v{ending}").names[0] == "\\udcff.jpg"


def test_the_separator_is_in_no_class() -> None:
    assert [separator_for(classes) for classes in (["a"], ["a|b"], ["a|b", "c;d"])] == ["|", ";", "\x1f"]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_others_files_are_read(tmp_path: Path, kind: str) -> None:
    rows = [[1.0, 2.0], [3.0, 4.0]]
    vector = pyarrow.array(np.array(rows, kind).tolist(), pyarrow.list_(pyarrow.from_numpy_dtype(np.dtype(kind))))
    found = read_vectors(table(tmp_path / "v.parquet", name=["a", "b"], vector=vector, more=[1, 2]))
    assert found.matrix.tolist() == rows
    assert (list(found.labels), list(found.splits), dict(found.meta)) == (["", ""], ["", ""], {})


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"name": ["a"]}, "no column 'vector'"),
        ({"vector": [[1.0]]}, "no column 'name'"),
        ({"name": ["a"], "vector": [1.0]}, "not lists of numbers"),
        ({"name": ["a"], "vector": [["x"]]}, "not lists of numbers"),
        ({"name": [1], "vector": [[1.0]]}, "not text"),
        ({"name": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "different lengths"),
        ({"name": ["a", "b", "c"], "vector": [[1.0], [1.0, 2.0, 3.0], [1.0, 2.0]]}, "different lengths"),
        ({"name": ["a", "b"], "vector": [[1.0], None]}, "1 of its vectors are missing"),
        ({"name": ["a"], "vector": [[1.0, None]]}, "lack numbers"),
        ({"name": ["a", "b"], "vector": [[1.0], [float("nan")]]}, "are not numbers (b)"),
        ({"name": ["a"], "vector": [[1e300]]}, "are not numbers (a)"),
        ({"name": ["a", "a"], "vector": [[1.0], [2.0]]}, "more than once"),
        ({"name": ["a" * (LONGEST + 1)], "vector": [[1.0]]}, "characters"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    with pytest.raises(NetwrightError) as told:
        read_vectors(table(tmp_path / "v.parquet", **columns))
    assert says in told.value.problem
    assert told.value.fix


def test_a_table_without_rows_holds_no_vectors(tmp_path: Path) -> None:
    vector = pyarrow.array([], pyarrow.list_(pyarrow.float32()))
    with pytest.raises(NetwrightError, match="holds no vectors"):
        read_vectors(table(tmp_path / "v.parquet", name=pyarrow.array([], pyarrow.string()), vector=vector))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_truncated_file_is_told(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"v{ending}"
    write_vectors(path, some(50))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(NetwrightError, match=r"cannot be read|is empty"):
        read_vectors(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_broken_byte_is_told_or_harmless(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v{ending}"
    write_vectors(path, some(3, 2))
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 150).astype(int).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            assert len(read_vectors(path)) == 3
        except NetwrightError as told:
            assert told.fix


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        (b"no json", "cannot be read"),
        (b'{"model": "m"}', "cannot be read"),
        (b'{"format": "1"}', "cannot be read"),
        (b'{"format": 1, "separator": 3}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"format": 99}', "format 99"),
        (b'{"format": 1, "dimension": 7}', "7 numbers a vector"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(tmp_path: Path, meta: bytes, says: str) -> None:
    made = pyarrow.table({"name": ["a"], "vector": [[1.0]]}).replace_schema_metadata({KEY: meta})
    parquet.write_table(made, tmp_path / "v.parquet")
    with pytest.raises(NetwrightError) as told:
        read_vectors(tmp_path / "v.parquet")
    assert says in told.value.problem


def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A million equal rows of a thousand zeros are a few kilobytes on disk, and 4 GB in memory."""
    n = 30_000
    zeros = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.zeros(n * 1000, np.float32)), 1000)
    made = pyarrow.table({"name": [str(i) for i in range(n)], "vector": zeros})
    parquet.write_table(made, tmp_path / "v.parquet", compression="zstd", use_dictionary=["vector.list.element"])
    assert (tmp_path / "v.parquet").stat().st_size < 600_000
    with pytest.raises(NetwrightError, match="would unpack to"):
        read_vectors(tmp_path / "v.parquet")
    np.savez_compressed(tmp_path / "v.npz", name=np.array(["a"]), vector=np.zeros((1, 20_000_000), np.float32))
    with pytest.raises(NetwrightError, match="would unpack to"):
        read_vectors(tmp_path / "v.npz")


def test_an_archive_with_code_in_it_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", name=np.array([{"a": 1}], object), vector=np.ones((1, 2), np.float32))
    with pytest.raises(NetwrightError, match="cannot be read"):
        read_vectors(tmp_path / "v.npz")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"name": np.array(["a"]), "vector": np.ones(3)}, "float64 of shape"),
        ({"name": np.array(["a"]), "vector": np.ones((1, 3), int)}, "int64"),
        ({"name": np.array([1]), "vector": np.ones((1, 3))}, "not a text for each"),
        ({"name": np.array(["a", "b"]), "vector": np.ones((1, 3))}, "2 of 'name' for 1"),
        ({"name": np.array(["a"]), "vector": np.ones((1, 3)), "meta": np.ones(2)}, "'meta' is no text"),
        ({"vector": np.ones((1, 3))}, "no column 'name'"),
    ],
)
def test_wrong_arrays_are_told(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(NetwrightError) as told:
        read_vectors(tmp_path / "v.npz")
    assert says in told.value.problem


def test_a_name_that_is_near_is_suggested(tmp_path: Path) -> None:
    write_vectors(tmp_path / "photos.npz", some())
    with pytest.raises(NetwrightError) as told:
        read_vectors(tmp_path / "photo.npz")
    assert "photos.npz" in told.value.fix
    with pytest.raises(NetwrightError, match="cannot tell the format") as told:
        write_vectors(tmp_path / "v.parqet", some())
    assert "v.parquet" in told.value.fix


def test_without_pyarrow_the_line_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError("no pyarrow")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NetwrightError) as told:
        write_vectors(tmp_path / "v.parquet", some())
    assert "pip install 'netwright[parquet]'" in told.value.fix
    assert "v.npz" in told.value.fix
    write_vectors(tmp_path / "v.npz", some())
    assert len(read_vectors(tmp_path / "v.npz")) == 5


def test_nothing_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="no vectors to write"):
        write_vectors(tmp_path / "v.npz", Vectors([], np.zeros((0, 3), np.float32), [], [], []))


def test_the_npz_is_plain_numpy(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v.npz", some())
    with np.load(tmp_path / "v.npz", allow_pickle=False) as held:
        assert sorted(held.files) == ["id", "label", "meta", "name", "split", "vector"]
        assert json.loads(str(held["meta"]))["dimension"] == 4
