"""Tables of pictures: every way to write one, and every mistake with its row."""

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.data import _rows
from netwright.data.kinds import listing_of
from netwright.data.listing import NOBODY
from netwright.data.table import is_table, listing, table_in
from tests.conftest import photo

UNSEEN = "a table with a class in val or test that train lacks is refused, with the row"
ALONE = "a table with one class only is refused"
TWICE = "a table that names one picture for two classes or two sides is refused, with both rows"


def pictures(root, *names):
    """Files that are there; what is in them does not matter to a table."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


@pytest.fixture
def root(tmp_path):
    pictures(tmp_path, *(f"{name}.jpg" for name in "abcdef"))
    return tmp_path


def table(root, text, name="pets.csv", encoding="utf-8"):
    (root / name).write_text(text, encoding)
    return str(root / name)


def labels(data):
    """What each picture is, by name."""
    return {
        name: [data.classes[place] for place in np.flatnonzero(label)]
        if data.labels.ndim == 2
        else data.classes[int(label)]
        for name, label in zip(data.blobs.names, data.labels, strict=True)
    }


def refused(source):
    with pytest.raises(NetwrightError) as caught:
        listing(source)
    assert caught.value.fix
    return str(caught.value)


HEAD = "path,label,split\n"
BOTH = {"a.jpg": "cat", "b.jpg": "dog"}


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.jpg,cat\nb.jpg,dog\n",
        "path;label\r\na.jpg;cat\r\nb.jpg;dog\r\n",
        "path\tlabel\na.jpg\tcat\nb.jpg\tdog",
        "\ufeffpath,label\n\na.jpg,cat\n\nb.jpg,dog\n\n",
        '"path","label"\n"a.jpg","cat"\n"./b.jpg"," dog "\n',
        " File Name ,Class-Name,\na.jpg,cat,\nb.jpg,dog,\n",
        "label,image\ncat,a.jpg\ndog,x/../b.jpg\n",
        "category,file_name\ncat,.\\a.jpg\ndog,b.jpg\n",
    ],
)
def test_ways_to_write_it(root, text):
    data = listing(table(root, text))
    assert labels(data) == BOTH and data.classes == ("cat", "dog")
    assert data.name == "pets" and data.root == str(root) and data.labels.dtype == np.int64
    assert data.sides.tolist() == [NOBODY, NOBODY] and data.sides.dtype == np.int8
    assert data.blobs.read(1) == b"b.jpg" and data.blobs.stamp(0)[0] == 5


@pytest.mark.parametrize("name", [*_rows.PATHS, "PATH", "Image Path"])
def test_names_of_the_path_column(root, name):
    assert labels(listing(table(root, f"{name},label\na.jpg,cat\nb.jpg,dog"))) == BOTH


@pytest.mark.parametrize("name", _rows.LABELS)
def test_names_of_the_label_column(root, name):
    assert labels(listing(table(root, f"path,{name}\na.jpg,cat\nb.jpg,dog"))) == BOTH


def test_the_plainest_name_wins_and_the_rest_is_told(root):
    data = listing(table(root, "id,image,path,class,label\n1,x,a.jpg,7,cat\n2,y,b.jpg,8,dog"))
    assert labels(data) == BOTH and data.notes == ("columns not used: id, image, class",)


@pytest.mark.parametrize("name", _rows.SIDES)
def test_sides(root, name):
    text = f"path,label,{name}\na.jpg,cat,train\nb.jpg,dog,Train\nc.jpg,cat,valid\nd.jpg,dog,validation\ne.jpg,dog,test"
    data = listing(table(root, text))
    assert data.sides.tolist() == [0, 0, 1, 1, 2] and data.notes == ()
    assert all(data.having(side) for side in ("train", "val", "test"))


def test_val_may_be_left_to_us(root):
    data = listing(table(root, "path,label,split\na.jpg,cat,\nb.jpg,dog,\nc.jpg,cat,test\nd.jpg,dog,test"))
    assert data.sides.tolist() == [NOBODY, NOBODY, 2, 2] and not data.having("val")


def test_json_lines(root):
    rows = [{"file_name": "a.jpg", "label": "cat"}, {"label": "dog", "file_name": "b.jpg"}]
    data = listing(table(root, "\ufeff" + "\n".join(map(json.dumps, rows)) + "\n\n", "metadata.jsonl"))
    assert labels(data) == BOTH and data.name == root.name


def test_the_table_of_a_folder(root):
    assert table_in(root) is None
    path = table(root, "file_name,label\na.jpg,cat\nb.jpg,dog", "metadata.csv")
    assert str(table_in(root)) == path and is_table(Path(path)) and not is_table(root / "a.jpg")
    assert labels(listing(str(root))) == BOTH and table_in(Path(path)) is None


def test_absolute_paths(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    pictures(elsewhere, "x.jpg")
    data = listing(table(root, f"path,label\n{root}/a.jpg,cat\n{elsewhere}/x.jpg,dog\n../{root.name}/b.jpg,dog"))
    assert list(data.blobs.names) == ["a.jpg", f"{elsewhere}/x.jpg", f"../{root.name}/b.jpg"]
    assert data.blobs.read(1) == b"x.jpg" and data.blobs.read(2) == b"b.jpg"


def test_numbers_are_sorted_as_numbers(root):
    data = listing(table(root, "path,label\na.jpg,10\nb.jpg,9\nc.jpg,0\nd.jpg,10"))
    assert data.classes == ("0", "9", "10") and data.labels.tolist() == [2, 1, 0, 2]


def test_words_and_numbers_are_sorted_as_words(root):
    assert listing(table(root, "path,label\na.jpg,10\nb.jpg,9\nc.jpg,x")).classes == ("10", "9", "x")


@pytest.mark.parametrize("mark", "|;")
def test_several_labels(root, mark):
    data = listing(table(root, f"path,label\na.jpg,cat{mark}dog\nb.jpg,dog\nc.jpg,\nd.jpg,cow {mark} cat"))
    assert data.classes == ("cat", "cow", "dog") and data.labels.dtype == np.int64
    assert data.labels.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert data.notes == (
        f"several labels a picture: cells are cut at '{mark}' (rename classes that have it in their names)",
    )


@pytest.mark.parametrize("rows", [f"{HEAD}a.jpg,cat,test\nb.jpg,dog,test", f"{HEAD}a.jpg,cat,train\nb.jpg,cat,test"])
def test_what_cannot_be_trained_on_may_be_measured(root, rows):
    source = table(root, rows)
    assert refused(source)
    assert len(listing(source, "labelled")) == len(listing_of(source, "any")) == 2


def test_labels_in_lists(root):
    rows = [{"path": "a.jpg", "label": ["cat", "dog"]}, {"path": "b.jpg", "label": []}, {"path": "c.jpg", "label": 7}]
    data = listing(table(root, "\n".join(map(json.dumps, rows)), "x.jsonl"))
    assert labels(data) == {"a.jpg": ["cat", "dog"], "b.jpg": [], "c.jpg": ["7"]}
    assert data.notes == ("several labels a picture: cells are lists",)


def test_repeated_rows_are_dropped_and_told(root):
    data = listing(table(root, "path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,cat\na.jpg,cat"))
    assert labels(data) == BOTH and len(data) == 2 and len(data.sides) == 2
    assert data.notes == ("left out 2 rows that repeat another row",)


def test_repeated_rows_with_labels_in_another_order(root):
    data = listing(table(root, "path,label\na.jpg,cat|dog\nb.jpg,dog\na.jpg,dog|cat"))
    assert labels(data) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}


MISTAKES = {
    "empty": ("", "pets.csv is empty", "path,label"),
    "header only": ("path,label\n", "has a header and no rows", "write a row"),
    "no header": ("a.jpg,cat\nb.jpg,dog", "has no header: it starts with a.jpg, cat", "put it on top: path,label"),
    "no paths": ("pth,label\na.jpg,cat", "no column for the pictures' paths", "rename 'pth' to 'path'"),
    "no labels": ("path,lable\na.jpg,cat", "no column for labels; its columns are lable", "rename 'lable' to 'label'"),
    "paths only": ("path\na.jpg", "no column for labels; its columns are no others", "name one 'label'"),
    "two columns": ("path,path,label\na.jpg,b.jpg,cat", "the column 'path' more than once", "rename one"),
    "short row": ("path,label\na.jpg,cat\nb.jpg", "row 3: 1 cells, but the header has 2", "double quotes"),
    "long row": ("path,label\na.jpg,cat, small\nb.jpg,dog", "row 2: 3 cells", "text with ','"),
    "open quote": ('path,label\na.jpg,"cat\nb.jpg,dog', "unexpected end of data", "quotes"),
    "no path": ("path,label\na.jpg,cat\n,dog", "row 3: no path", "name a picture"),
    "no label": ("path,label\na.jpg,cat\nb.jpg,\nc.jpg,dog", "row 3: no label", "write its class"),
    "blank lines": ("path,label\n\na.jpg,cat\n\nb.jpg,\n", "row 5: no label", "write its class"),
    "one class": ("path,label\na.jpg,cat\nb.jpg,cat", "only one class, 'cat'", "another class"),
    "both marks": ("path,label\na.jpg,cat|x\nb.jpg,cat;y", "both '|' and ';'", "rename the classes"),
    "odd split": (f"{HEAD}a.jpg,cat,train\nb.jpg,dog,trian", "row 3: unknown split 'trian'", "did you mean 'train'"),
    "fold": ("path,label,fold\na.jpg,cat,1\nb.jpg,dog,2", "row 2: unknown split '1'", "Allowed: test, train"),
    "no train": (f"{HEAD}a.jpg,cat,val\nb.jpg,dog,test", "has no row for train", "write train"),
    "some splits": (f"{HEAD}a.jpg,cat,train\nb.jpg,dog,\nc.jpg,dog,val", "row 3: no split", "where no row says val"),
    "new in val": (
        f"{HEAD}a.jpg,cat,train\nb.jpg,dog,train\nc.jpg,Dog,val",
        "row 4: val has the class 'Dog', which train has not",
        "('dog'?)",
    ),
    "new in test": (
        f"{HEAD}a.jpg,cat|dog,train\nb.jpg,dog,train\nc.jpg,dog,test\nd.jpg,cow|dog,test",
        "row 5: test has the class 'cow', which train has not",
        "such rows for train",
    ),
    "missing": (
        "path,label\na.jpg,cat\nb.jpeg,dog\ny.jpg,dog\nz.jpg,dog\nzz.jpg,cat",
        "4 of the 5 pictures in {root}/pets.csv are not there: row 3: b.jpeg, row 4: y.jpg, row 5: z.jpg, … (1 more)",
        "paths are relative to {root}; did you mean b.jpg?",
    ),
    "missing folder": ("path,label\nimgs/x.jpg,cat\nb.jpg,dog", "row 2: imgs/x.jpg", "did you mean images?"),
    "one deeper": ("path,label\nx.jpg,cat\nb.jpg,dog", "row 2: x.jpg", "did you mean images/x.jpg?"),
    "a folder": ("path,label\nimages,cat\nb.jpg,dog", "row 2: images is a folder", "name a picture in it"),
    "folder too long": ("path,label\n" + "x" * 5000 + "/a.jpg,cat\na.jpg,dog", "1 of the 2", "relative to"),
    "name too long": ("path,label\n" + "x" * 5000 + ".jpg,cat\na.jpg,dog", "1 of the 2 pictures", "relative to"),
    "two classes": (
        "path,label\na.jpg,cat\nb.jpg,dog\na.jpg,dog",
        "a.jpg is 'cat' in row 2 and 'dog' in row 4",
        "as cat|dog",
    ),
    "two sides": (
        f"{HEAD}a.jpg,cat,train\nb.jpg,dog,train\n./a.jpg,cat,val",
        "a.jpg is 'cat' for train in row 2 and 'cat' for val in row 4",
        "one row for each picture",
    ),
    "two label sets": ("path,label\na.jpg,cat|dog\nb.jpg,dog\na.jpg,cat", "is 'cat|dog' in row 2 and 'cat'", "one row"),
}


@pytest.mark.fault(55, ALONE)
@pytest.mark.fault(56, UNSEEN)
@pytest.mark.fault(60, TWICE)
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(root, name):
    text, problem, fix = MISTAKES[name]
    pictures(root, "images/x.jpg")
    message = refused(table(root, text))
    assert problem.format(root=root) in message and fix.format(root=root) in message
    assert str(root / "pets.csv") in message


def test_what_is_not_utf8(root):
    assert "not written in UTF-8" in refused(table(root, "path,label\na.jpg,Bär\nb.jpg,dog", encoding="latin-1"))
    assert "not written in UTF-8" in refused(table(root, "path,label\na.jpg,cat\nb.jpg,dog", encoding="utf-16"))


def test_a_table_that_is_not_there(tmp_path):
    assert "cannot be opened (No such file" in refused(str(tmp_path / "pets.csv"))
    assert "cannot be opened (Is a directory" in refused(str(tmp_path))


@pytest.mark.parametrize(
    "line, problem",
    [
        ("{", "row 2: no JSON"),
        ("[" * 100_000, "row 2: no JSON"),
        ("[1]", "row 2: not a JSON object"),
        ('{"label": "dog"}', "row 2: no path"),
        ('{"path": "b.jpg"}', "row 2: no label"),
        ('{"path": 7, "label": "dog"}', "row 2: the path 7 is not text"),
        ('{"path": "b.jpg", "label": {"a": 1}}', "row 2: the label is neither text nor a number"),
    ],
)
def test_mistakes_in_json_lines(root, line, problem):
    assert problem in refused(table(root, f'{{"path": "a.jpg", "label": "cat"}}\n{line}\n', "x.jsonl"))


CELLS = st.text(st.sampled_from(',;\t"\n\r|\\/ab.\0é'), max_size=12)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(CELLS, max_size=4), max_size=6), ending=st.sampled_from([".csv", ".tsv", ".jsonl"]))
def test_any_text_is_a_table_or_an_error_for_users(tmp_path_factory, rows, ending):
    path = tmp_path_factory.mktemp("table") / f"x{ending}"
    lines = ["path,label,split" if ending != ".jsonl" else '{"path": "a", "label": "b"}', *map(",".join, rows)]
    path.write_text("\n".join(lines), newline="")
    with pytest.raises(NetwrightError):
        listing(str(path))


# Parquet


def parquet(root, columns, name="pets.parquet"):
    arrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    writer.write_table(arrow.table(columns), root / name, row_group_size=2)
    return str(root / name)


def test_parquet(root):
    columns = {"label": [10, 9, 10], "file_name": ["a.jpg", "b.jpg", "c.jpg"], "split": ["train", "train", "test"]}
    data = listing(parquet(root, columns))
    assert labels(data) == {"a.jpg": "10", "b.jpg": "9", "c.jpg": "10"} and data.classes == ("9", "10")
    assert data.sides.tolist() == [0, 0, 2]


def test_parquet_of_floats_that_are_class_numbers(root):
    assert listing(parquet(root, {"path": ["a.jpg", "b.jpg"], "label": [1.0, 0.0]})).classes == ("0", "1")


def test_parquet_with_labels_in_lists(root):
    data = listing(parquet(root, {"path": ["a.jpg", "b.jpg"], "label": [["cat", "dog"], []]}))
    assert labels(data) == {"a.jpg": ["cat", "dog"], "b.jpg": []}


@pytest.mark.parametrize("label, row", [([1.0, None, 2.0], 2), ([1.0, 2.0, float("nan")], 3), (["x", "y", ""], 3)])
def test_parquet_without_a_label(root, label, row):
    source = parquet(root, {"path": ["a.jpg", "b.jpg", "c.jpg"], "label": label})
    assert f"row {row}: no label" in refused(source)


def test_parquet_with_pictures_inside(root):
    columns = {"image": [{"bytes": b"1", "path": "a.jpg"}], "label": [1]}
    message = refused(parquet(root, columns))
    assert "has pictures inside, in its column 'image', not paths" in message and f"hf:{root}" in message


def test_parquet_with_paths_beside_pictures(root):
    columns = {"image": [{"bytes": b"1", "path": "x"}] * 2, "path": ["a.jpg", "b.jpg"], "label": ["cat", "dog"]}
    assert labels(listing(parquet(root, columns))) == BOTH


def test_what_is_no_parquet(root):
    pytest.importorskip("pyarrow")
    (root / "pets.parquet").write_bytes(b"PAR1 or not")
    assert "not a Parquet file that can be read" in refused(str(root / "pets.parquet"))


def test_parquet_without_pyarrow(root, monkeypatch):
    (root / "pets.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install 'netwright[parquet]'" in refused(str(root / "pets.parquet"))


def test_a_large_table_needs_little_memory(tmp_path, monkeypatch):
    """Per picture at most 200 bytes at any time, the name included."""
    count = 20_000
    rows = (f"images/{n:07d}.jpg,class {n % 100},{'train' if n // 100 % 5 else 'val'}\n" for n in range(count))
    source = table(tmp_path, HEAD + "".join(rows))
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    listing(source)  # modules are imported
    found = []
    for _ in range(3):  # Python's table of interned names may grow in one of them
        tracemalloc.start()
        data = listing(source)
        found.append(tracemalloc.get_traced_memory())
        tracemalloc.stop()
        assert len(data) == count and len(data.classes) == 100
    held, peak = map(min, zip(*found, strict=True))
    assert held / count < 110 and peak / count < 200


def test_real_pictures(tmp_path):
    """Down to the pixels, with a side for each."""
    for number, colour in enumerate([(200, 0, 0), (0, 0, 200), (210, 0, 0), (0, 0, 210)]):
        photo(tmp_path / "images" / f"{number}.png", colour, number, (8, 8))
    lines = (f"images/{n}.png,{('red', 'blue')[n % 2]},{('train', 'val')[n // 2]}" for n in range(4))
    data = listing(table(tmp_path, HEAD + "\n".join(lines)))
    assert data.classes == ("blue", "red") and data.labels.tolist() == [1, 0, 1, 0]
    assert data.sides.tolist() == [0, 0, 1, 1]
    assert [data.blobs.read(n)[:4] for n in range(4)] == [b"\x89PNG"] * 4
