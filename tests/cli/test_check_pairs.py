"""`netwright check` on pictures with masks as a user types it: what is printed, the page, the list, the exit code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from netwright.cli.main import code_of
from netwright.data import open_data
from netwright.data.gate.check import check
from netwright.data.gate.quarantine import read_quarantine
from tests.data.synthetic_pairs import pairs, read, save

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs(tmp_path_factory.mktemp("good") / "cells")


@pytest.fixture
def cells(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(good, tmp_path / "cells"))


@pytest.fixture
def faulty(cells: Path) -> Path:
    """A mask of another size, one cut short, and one flipped."""
    save(cells / "train/masks/3.png", read(cells / "train/masks/3.png")[:40, :40])
    (cells / "train/masks/4.png").write_bytes((cells / "train/masks/4.png").read_bytes()[:90])
    save(cells / "val/masks/1.png", read(cells / "val/masks/1.png")[::-1])
    return cells


def test_good_pairs_pass_and_say_how_masks_are_read(cells: Path, capsys: Captured) -> None:
    assert code_of(["check", str(cells)]) == 0
    printed = capsys.readouterr().out
    share = np.mean([read(path) > 0 for path in (cells / "train/masks").iterdir()])
    assert "cells: 24 pictures, 2 classes, training 14, validation 5, test 5" in printed
    assert "masks: 0 and 255: background and foreground" in printed
    assert f"  foreground  training {100 * share:.1f} %, in 14 pictures; validation " in printed
    assert "fit for training" in printed and "to mend" not in printed and "no classes" not in printed


def test_faults_are_named_with_the_picture_and_its_mask(faulty: Path, capsys: Captured) -> None:
    assert code_of(["check", str(faulty)]) == 2
    printed = capsys.readouterr().out
    for line in (
        "masks of another size than their picture: 1 of 24",
        "    train/images/3.png ↔ train/masks/3.png (40×40 px, the picture 64×64 px)",
        "masks that cannot be used, cut short: 1 file",
        "    val/images/1.png ↔ val/masks/1.png (fits flipped upside down: ",
        f"to leave 2 pictures out: netwright check {faulty} --fix",
    ):
        assert line in printed, line


def test_json_has_the_pixels_of_each_class(faulty: Path, capsys: Captured) -> None:
    assert code_of(["check", str(faulty), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert {finding["kind"] for finding in found["findings"]} == {"mask_size", "mask_file_truncated", "mask_turned"}
    assert found["masks"]["pictures"]["train"] == {"background": 12, "foreground": 12}, "as training divides them"
    assert found["masks"]["pixels"]["test"]["foreground"] == pytest.approx(
        np.mean([read(path) > 0 for path in (faulty / "test/masks").iterdir()]), abs=1e-6
    )
    assert found["masks"]["empty"] == {"train": 0, "val": 0, "test": 0}


def test_fix_leaves_out_the_pictures_of_broken_pairs(faulty: Path, capsys: Captured) -> None:
    assert code_of(["check", str(faulty), "--fix"]) == 2
    assert [*read_quarantine(Path("quarantine.txt"))] == ["train/images/3.png", "train/images/4.png"]
    assert code_of(["check", str(faulty), "--quarantine", "quarantine.txt"]) == 0
    assert "left out by you: 2 pictures" in capsys.readouterr().out


def test_the_page_has_pictures_and_masks_side_by_side(faulty: Path) -> None:
    assert code_of(["check", str(faulty), "--page", "check.html"]) == 2
    page = Path("check.html").read_text("utf-8")
    assert page.count("data:image/png") == 2, "the masks that can be drawn"
    assert "train/masks/3.png" in page and "Share of the pixels by class" in page
    assert "Masks: 0 and 255: background and foreground." in page


def test_a_legend_that_is_given_names_the_classes(cells: Path, capsys: Captured) -> None:
    Path("names.csv").write_text("0,glass\n1,cell\n")
    assert code_of(["check", str(cells), "--legend", "names.csv"]) == 0
    assert "  cell   training " in capsys.readouterr().out
    assert code_of(["check", str(cells), "--legend", "name.csv"]) == 2
    assert "did you mean names.csv?" in capsys.readouterr().out


def test_training_hears_the_same(faulty: Path) -> None:
    data = open_data(str(faulty))
    assert data.examined is not None
    verdict = check(data.examined)
    assert {each.kind for each in verdict.findings} == {"mask_size", "mask_file_truncated", "mask_turned"}
    assert verdict.splits["train"] == 12


def test_the_next_step_is_one_that_training_takes(faulty: Path, capsys: Captured) -> None:
    Path("names.csv").write_text("0,glass\n1,cell\n")
    assert code_of(["check", str(faulty), "--legend", "names.csv", "--ignore", "9", "--fix"]) == 2
    printed = capsys.readouterr().out
    assert (
        f"next: netwright train {faulty} --set legend=names.csv --set ignore=9 --quarantine quarantine.txt" in printed
    )
    assert "--legend" not in printed.split("next: ")[1].split("\n")[0]
    assert f"netwright check {faulty} --legend names.csv --ignore 9 --page check.html" in printed


def test_masks_can_be_looked_at_as_training_will_read_them(faulty: Path, capsys: Captured) -> None:
    assert code_of(["check", str(faulty), "--masks", "border", "--fix"]) == 2
    printed = capsys.readouterr().out
    assert "  interior  " in printed and f"next: netwright train {faulty} --set masks=border " in printed
    assert code_of(["check", str(faulty), "--masks", "bordr"]) == 2
    assert "did you mean 'border'?" in capsys.readouterr().err
