"""`netwright denoise`: files in, files of the same names out, and nothing of the user's written over."""

import json
from pathlib import Path

import numpy as np
import pytest

from netwright.bundle.autoencoder import load_autoencoder
from netwright.cli.main import code_of
from tests.bundle._saved import CONDITIONAL, PLAIN, SIDE, pictures, read, saved


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is said of a user's mistake."""
    assert code_of([str(each) for each in arguments]) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert "fix:" in printed.err
    return printed.err


def test_what_is_written_is_what_the_network_makes_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, given, out = saved(tmp_path / "run", PLAIN), pictures(tmp_path / "in"), tmp_path / "out"
    assert code_of(["denoise", run, str(given), "-o", str(out), "--sheet", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert f"4 pictures in {out}: {SIDE}x{SIDE} px, the network's size" in printed
    assert "was not trained to take noise away" in printed
    files = sorted(given.rglob("*.png"))
    made = load_autoencoder(run, device="cpu").reconstruct(files)
    for path, pixels in zip(files, made, strict=True):
        assert np.abs(read(out / path.name) - 255 * pixels[0].numpy()).max() <= 0.51
    assert (out / "before-and-after.png").is_file()
    assert code_of(["denoise", run, str(given), "-o", str(out), "--sheet", "--device", "cpu"]) == 0  # ours may go


@pytest.mark.parametrize(("fit", "size"), [("crop", (20, 20)), ("pad", (32, 20)), ("squash", (32, 20))])
def test_original_size(tmp_path: Path, capsys: pytest.CaptureFixture[str], fit: str, size: tuple[int, int]) -> None:
    run = saved(tmp_path / "run", PLAIN, fit=fit)
    given = pictures(tmp_path / "in", 1, size=(32, 20))
    assert code_of(["denoise", run, str(given), "-o", str(tmp_path / "out"), "--size", "original"]) == 0
    assert read(tmp_path / "out" / "000.png").shape[::-1] == size
    said = "the square that the network saw, at its own size" if fit == "crop" else "resized to what they were"
    assert said in capsys.readouterr().out


def test_only_the_part_that_the_network_saw_is_resized(tmp_path: Path) -> None:
    run, given = saved(tmp_path / "run", PLAIN, stored=10), pictures(tmp_path / "in", 1, size=(50, 40))
    assert code_of(["denoise", run, str(given), "-o", str(tmp_path / "out"), "--size", "original"]) == 0
    assert read(tmp_path / "out" / "000.png").shape == (32, 32)  # 8 of 10 of the middle 40


def test_what_cannot_be_read_is_named_and_the_others_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, given = saved(tmp_path / "run", PLAIN, tricks=("denoise(amount=0.3)",)), pictures(tmp_path / "in")
    (given / "bad.png").write_bytes(b"no picture")
    assert code_of(["denoise", run, str(given), "-o", str(tmp_path / "out"), "--json"]) == 2
    printed = capsys.readouterr()
    assert "bad.png" in printed.err
    found = json.loads(printed.out)
    assert [len(found["pictures"]), len(found["unreadable"])] == [4, 1]
    assert found["pictures"][0]["size"] == [SIDE, SIDE]
    assert "learned to take away denoise(amount=0.3)" in found["notes"][0]
    assert "none of the 1 pictures" in told(capsys, "denoise", run, given / "bad.png", "-o", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_of_the_users_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, given = saved(tmp_path / "run", PLAIN), pictures(tmp_path / "in")
    before = read(given / "dark" / "000.png")
    assert "would be written over" in told(capsys, "denoise", run, given / "dark", "-o", given / "dark")
    pictures(tmp_path / "other")
    said = told(capsys, "denoise", run, given / "dark", "-o", tmp_path / "other" / "dark")
    assert "netwright did not write it" in said
    assert (read(given / "dark" / "000.png") == before).all()


def test_equal_names_get_their_folders(tmp_path: Path) -> None:
    run, given = saved(tmp_path / "run", PLAIN), pictures(tmp_path / "in", 2)
    (given / "light" / "001.png").rename(given / "light" / "000.png")
    assert code_of(["denoise", run, str(given), "-o", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dark-000.png", "light-000.png"]


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, given = saved(tmp_path / "run", PLAIN), pictures(tmp_path / "in")
    assert "does not exist" in told(capsys, "denoise", run, tmp_path / "inn", "-o", tmp_path / "out")
    (tmp_path / "file").write_bytes(b"mine")
    assert "is a file" in told(capsys, "denoise", run, given, "-o", tmp_path / "file" / "out")
    assert "takes no classes" in told(capsys, "denoise", run, given, "--class", "dark", "-o", tmp_path / "out")
    conditional = saved(tmp_path / "conditional", CONDITIONAL)
    assert "--class NAME" in told(capsys, "denoise", conditional, given, "-o", tmp_path / "out")
    assert "did you mean 'dark'" in told(capsys, "denoise", conditional, given, "--class", "drak", "-o", tmp_path / "o")
    assert code_of(["denoise", conditional, str(given), "--class", "dark", "-o", str(tmp_path / "out")]) == 0
