"""`netwright explain` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from netwright.cli.main import code_of
from tests.conftest import COLOURS, photo

QUICK = ["--model", "resnet20(width=4)", "--epochs", "2", "--batch-size", "12", "--image-size", "32", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explain")
    for side, n in (("train", 8), ("val", 3), ("test", 3)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(n):
                photo(root / "photos" / side / name / f"{i}.png", colour, seed=1000 * place + 100 * len(side) + i)
    assert code_of(["train", str(root / "photos"), "--output", str(root / "runs"), *QUICK]) == 0
    return next(path for path in (root / "runs").iterdir() if path.is_dir())


@pytest.fixture
def red(tmp_path: Path) -> str:
    return str(photo(tmp_path / "red.png", COLOURS["red"], seed=7))


def test_a_map_of_a_picture(run: Path, red: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.png"
    assert code_of(["explain", str(run), red, "-o", str(out), "--device", "cpu", "--orders", "3", "--shuffled"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{red}: ")
    assert "random places: deletion" in printed
    assert "with its head shuffled" in printed
    assert printed.rstrip().endswith(f"drawn in {out}")
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"


def test_json_and_nothing_else(run: Path, red: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.webp"
    arguments = ["--method", "gradcam", "--stage", "0", "--class", "blue", "--orders", "0", "--json", "--device", "cpu"]
    assert code_of(["explain", str(run), red, red, "-o", str(out), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "gradcam(stage=0)"
    assert [each["label"] for each in found["explanations"]] == ["blue", "blue"]
    assert found["written"] == str(out)


def test_what_needs_no_picture(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method, more in (("filters", []), ("dream(steps=2)", ["--class", "red"])):
        assert code_of(["explain", str(run), "--method", method, "-o", str(tmp_path / "sheet.pdf"), *more]) == 0
    printed = capsys.readouterr().out
    assert "First layer" in printed
    assert "What class red looks for" in printed


def test_a_picture_that_cannot_be_read(run: Path, red: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jpg").write_text("not a picture")
    out = str(tmp_path / "map.png")
    assert code_of(["explain", str(run), str(tmp_path / "bad.jpg"), red, "-o", out, "--orders", "0"]) == 2
    assert "bad.jpg" in capsys.readouterr().err
    assert Path(out).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN", "RED", "-o", "map.gif"], "let it end in one of .png"),
        (["RUN", "RED", "--method", "gradcan"], "did you mean 'gradcam'"),
        (["RUN", "RED", "--method", "occlusion", "--stage", "1"], "unknown option of occlusion 'stage'"),
        (["RUN", "RED", "--method", "gradcam(stage='a')"], "stage cannot be 'a'"),
        (["RUN", "RED", "--class", "gren"], "did you mean 'green'"),
        (["RUN", "nowhere.png"], "nowhere.png does not exist"),
        (["RUN"], "none was named"),
        (["RUN", "RED", "--method", "filters"], "leave the files out"),
        (["RUN", "RED", "--orders", "-1"], "--orders"),
        (["nowhere", "RED"], "no run or bundle"),
        (["resnet20", "RED"], "--weights FILE"),
        (["resnet20", "RED", "--weights", "none.pth"], "there is no weights file"),
        (["RUN", "RED", "-o", "no/such/folder/map.png"], "no/such/folder"),
        (["RUN", "--method", "filters", "--class", "red"], "leave out the class 'red'"),
        (["RUN", "--method", "dream(channel=0)", "--class", "red"], "leave out the class 'red'"),
        (["RUN", "--method", "dream", "--stage", "1", "--class", "red"], "stage 1 is that of a channel"),
        (["RUN", "--method", "filters", "--shuffled"], "leave out --shuffled"),
        (["RUN", "RED", "--method", "occlusion(size=1, stride=2)"], "give stride=1"),
    ],
)
def test_mistakes(
    run: Path,
    red: str,
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [{"RUN": str(run), "RED": red}.get(each, each) for each in arguments]
    assert code_of(["explain", *given]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.gif"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["MANY", "-o", "sheet.webp"], "45 pictures do not fit in one .webp file"),
        (["MANY", "-o", "no/such/folder/sheet.png"], "there is no folder no/such/folder"),
        (["MANY", "-o", "."], "is a folder"),
        (["MANY", "-o", "sheet.png", "--method", "activations"], "sheets of 45 pictures do not fit"),
        (["MANY", "-o", "sheet.png", "--method", "filters"], "leave the files out"),
        (["-o", "sheet.png", "--method", "filters", "--class", "red"], "the same for every class"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_opened(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run does not even exist: were it opened first, that would be the complaint."""
    monkeypatch.chdir(tmp_path)
    for n in range(45):
        photo(tmp_path / "many" / f"{n}.png", COLOURS["red"], seed=n)
    given = ["many" if each == "MANY" else each for each in arguments]
    assert code_of(["explain", "no-run-here", *given]) == 2
    assert words in capsys.readouterr().err
