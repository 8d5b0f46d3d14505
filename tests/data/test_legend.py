"""Legends: every way to write one, and what is wrong with one by its line."""

import json

import pytest

from netwright.core.errors import NetwrightError
from netwright.data.legend import Entry, found, read_legend


def written(tmp_path, text, name="legend.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_legend(path)


SKY, ROAD = (128, 128, 128), (128, 64, 128)
COLOURS = (Entry("sky", None, SKY), Entry("road surface", None, ROAD))
NUMBERS = (Entry("sky", 0), Entry("road surface", 1))
BOTH = (Entry("sky", 0, SKY), Entry("road surface", 1, ROAD))


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("name,r,g,b\nsky,128,128,128\nroad surface,128,64,128\n", COLOURS),
        ("sky;128;128;128\nroad surface;128;64;128", COLOURS),
        ("128 128 128 sky\n128 64 128\troad surface\n", COLOURS),
        ("128 128 128\t\tsky\n\n128 64 128 road surface\n", COLOURS),
        ("sky 128 128 128\nroad surface 128 64 128\n", COLOURS),
        ("r,g,b,name\n128,128,128,sky\n128,64,128,road surface", COLOURS),
        ("# label:color_rgb:parts:actions\nsky:128,128,128::\nroad surface:128,64,128::\n", COLOURS),
        ("sky,#808080\nroad surface,#804080\n", COLOURS),
        ("#808080 sky\n#804080 road surface\n", COLOURS),
        ("id,name\n0,sky\n1,road surface\n", NUMBERS),
        ("name,id\nsky,0\nroad surface,1\n", NUMBERS),
        ("0 sky\n1 road surface", NUMBERS),
        ("\ufeff0: sky\n1: road surface", NUMBERS),
        ("id,name,r,g,b\n0,sky,128,128,128\n1,road surface,128,64,128", BOTH),
        ("name,id,r,g,b\nsky,0,128,128,128\nroad surface,1,128,64,128", BOTH),
        ("sky\nroad surface\n", (Entry("sky"), Entry("road surface"))),
        ("class 1\nclass 2\n", (Entry("class 1"), Entry("class 2"))),
        ("0 class 1\n3 class 2\n", (Entry("class 1", 0), Entry("class 2", 3))),
        ("1,7\n2,8\n", (Entry("7", 1), Entry("8", 2))),
    ],
)
def test_tables_and_text(tmp_path, text, entries):
    assert written(tmp_path, text).entries == entries


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        ({"sky": list(SKY), "road surface": list(ROAD)}, COLOURS),
        ({"sky": "#808080", "road surface": "#804080"}, COLOURS),
        ({"sky": 0, "road surface": 1}, NUMBERS),
        ({"0": "sky", "1": "road surface"}, NUMBERS),
        (["sky", "road surface"], NUMBERS),
        ({"labels": {"sky": 0, "road surface": 1}, "channel_names": {"0": "CT"}}, NUMBERS),
        ([{"id": 0, "name": "sky", "color": list(SKY)}, {"id": 1, "name": "road surface", "colour": "#804080"}], BOTH),
    ],
)
def test_json(tmp_path, content, entries):
    assert written(tmp_path, json.dumps(content), "legend.json").entries == entries


def test_background_comes_first_and_void_is_no_class(tmp_path):
    legend = written(tmp_path, "cell,255,0,0\nVoid,1,1,1\nbackground,0,0,0\n")
    assert [entry.name for entry in legend.classes] == ["background", "cell"] and legend.background
    assert legend.numbers == (0, 1, 2) and not legend.numbered and legend.coloured
    assert not written(tmp_path, "sky\nroad\n").background


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("sky,128,128\nroad,1,2,3", r"legend.csv, line 1: 'sky,128,128' is no class", "road,128,64,128"),
        ("name,r,g,b\nsky,128,128,128\nroad,128,64,300", r"line 3: the colour \(128, 64, 300\) of 'road'", "0 to 255"),
        ("0,sky\n-1,road", "line 2: the number -1 of 'road'", "from 0"),
        ("0,sky\n0,road", "line 2: the number 0 stands in line 1 already", "its own number"),
        ("0,sky\n1,sky", "line 2: the name sky stands in line 1", "its own name"),
        ("sky,1,2,3\nroad,1,2,3", "line 2: the colour", "its own colour"),
        ("0,sky\nroad", "line 2: no number", "1,road"),
        ("sky", "names 1 classes", "road,128,64,128"),
        ("", "names 0 classes", ""),
        ("\n".join(f"c{n}" for n in range(255)), "255 classes, more than 254", "merge"),
    ],
)
def test_what_is_wrong_by_line(tmp_path, text, problem, fix):
    with pytest.raises(NetwrightError, match=problem) as caught:
        written(tmp_path, text)
    assert fix in caught.value.fix


@pytest.mark.parametrize("text", ["{", "3", '{"a": [1, 2], "b": [1, 2, 3]}', '{"a": {"id": "x"}, "b": {"id": 1}}'])
def test_json_that_is_no_legend(tmp_path, text):
    with pytest.raises(NetwrightError, match=r"legend\.json"):
        written(tmp_path, text, "legend.json")


def test_a_legend_that_is_not_there_or_not_text(tmp_path):
    (tmp_path / "legend.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NetwrightError, match="UTF-8"):
        read_legend(tmp_path / "legend.csv")
    with pytest.raises(NetwrightError, match="cannot be opened") as caught:
        read_legend(tmp_path / "legends.csv")
    assert "did you mean" in caught.value.fix and "legend.csv" in caught.value.fix


def test_found_by_its_name(tmp_path):
    assert found(tmp_path) is None
    (tmp_path / "dataset.json").write_text('{"name": "mine"}')
    assert found(tmp_path) is None
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "cell": 1}}')
    assert found(tmp_path) == tmp_path / "dataset.json"
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert found(tmp_path) == tmp_path / "classes.txt"
