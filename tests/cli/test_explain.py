"""`netwright explain` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from netwright.cli import main
from netwright.cli.explain import explain
from netwright.cli.main import code_of
from tests.conftest import COLOURS, photo

if not [each for each in main.app.registered_commands if each.callback is explain]:
    main.app.command()(explain)

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
