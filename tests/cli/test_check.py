"""`netwright check` as a user types it: what is printed, what is written, and the exit code."""

import json
from pathlib import Path

import pytest
from PIL import Image

from netwright.cli.main import code_of
from netwright.data.gate.quarantine import read_quarantine
from tests.conftest import photo

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def faulty(photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Photos with a file cut short, one that is on two sides, one with two labels, and a flipped one."""
    cut = photos / "train/blue/cut.jpg"
    cut.write_bytes((photos / "train/blue/0.jpg").read_bytes()[:900])
    (photos / "train/green/leak.jpg").write_bytes((photos / "test/green/0.jpg").read_bytes())
    (photos / "train/red/wrong.jpg").write_bytes((photos / "train/blue/1.jpg").read_bytes())
    Image.radial_gradient("L").crop((0, 60, 200, 200)).save(photos / "train/red/shape.png")
    Image.radial_gradient("L").crop((0, 60, 200, 200)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        photos / "val/red/shape.jpg"
    )
    monkeypatch.chdir(tmp_path)
    return photos


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_clean_photos_pass(photos: Path, capsys: Captured) -> None:
    assert code_of(["check", str(photos)]) == 0
    printed = capsys.readouterr().out
    assert "photos: 63 pictures, 3 classes, training 36, validation 12, test 15, " in printed
    assert "images/s" in printed and "to mend" not in printed


def test_what_is_wrong_is_named_the_worst_first(faulty: Path, capsys: Captured) -> None:
    assert code_of(["check", str(faulty)]) == 2
    printed = capsys.readouterr().out
    for line in (
        "cut short: 1 file",
        "    train/blue/cut.jpg: truncated JPEG",
        "test pictures that are also in training: 1 of 15",
        "    train/green/leak.jpg (green) ↔ test/green/0.jpg (green)",
        "    train/blue/1.jpg (blue) ↔ train/red/wrong.jpg (red)",
        "    train/red/shape.png (red) ↔ val/red/shape.jpg (red, flipped)",
        f"to leave 4 pictures out: netwright check {faulty} --fix",
    ):
        assert line in printed, line
    heads = [printed.index(head) for head in ("to mend", "to look at", "3 things to mend before training")]
    assert heads == sorted(heads)


def test_json_and_nothing_else(faulty: Path, capsys: Captured) -> None:
    assert code_of(["check", str(faulty), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    kinds = {finding["kind"]: finding for finding in found["findings"]}
    assert found["passed"] is False and found["pictures"] == 68 and found["splits"]["train"] == 39
    assert kinds["truncated"]["examples"][0][0]["name"] == "train/blue/cut.jpg"
    assert [item["side"] for item in kinds["exact_across"]["examples"][0]] == ["train", "test"]
    assert found["images_per_second"] > 0


def test_strict_makes_warnings_errors(photos: Path, capsys: Captured) -> None:
    photo(photos / "train/blue/small.png", (9, 9, 99), 0, size=(2, 2))
    assert code_of(["check", str(photos)]) == 0
    assert code_of(["check", str(photos), "--strict"]) == 2
    assert "tiny" in capsys.readouterr().out


@pytest.mark.fault(
    44, "`--fix` writes a list and never touches a picture; what is on the list is left out from then on"
)
def test_fix_writes_a_list_and_nothing_else(faulty: Path, capsys: Captured, tmp_path: Path) -> None:
    before = contents(faulty)
    assert code_of(["check", str(faulty), "--fix"]) == 2
    assert "--quarantine quarantine.txt" in capsys.readouterr().out
    assert contents(faulty) == before
    listed = read_quarantine(tmp_path / "quarantine.txt")
    assert set(listed) == {"train/blue/cut.jpg", "train/green/leak.jpg", "train/blue/1.jpg", "train/red/wrong.jpg"}
    assert listed["train/green/leak.jpg"] == "the same picture as test/green/0.jpg (test)"
    assert code_of(["check", str(faulty), "--quarantine", "quarantine.txt"]) == 0
    assert "left out by you: 4 pictures" in capsys.readouterr().out
    assert code_of(["check", str(faulty), "--fix"]) == 0, "the list is known, and nothing is left to add"
    assert read_quarantine(tmp_path / "quarantine.txt") == listed


def test_the_list_may_lie_elsewhere(faulty: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    assert code_of(["check", str(faulty), "--fix", "--quarantine", "lists/bad.txt"]) == 2
    assert len(read_quarantine(tmp_path / "lists/bad.txt")) == 4 and not (tmp_path / "quarantine.txt").exists()


def test_the_page_shows_the_pictures(faulty: Path, capsys: Captured, tmp_path: Path) -> None:
    assert code_of(["check", str(faulty), "--page", "check.html"]) == 2
    page = (tmp_path / "check.html").read_text("utf-8")
    assert "page: check.html" in capsys.readouterr().out
    # The leak, the two labels, the flipped one: three pairs, and no more than what is in them.
    assert page.count("data:image/jpeg;base64,") >= 6 and "train/green/leak.jpg" in page


@pytest.mark.fault(61, "`--group` ends with exit code 2 when a group is on two sides")
def test_groups(photos: Path, capsys: Captured) -> None:
    assert code_of(["check", str(photos), "--group", r"(\d+)\.jpg$"]) == 2
    assert "groups on more than one side: 5 of 12" in capsys.readouterr().out


@pytest.mark.fault(61, "where netwright splits the data, `--group` keeps every group on one side")
def test_groups_decide_where_nobody_has_split(photos: Path, capsys: Captured) -> None:
    assert code_of(["check", str(photos / "train"), "--group", r"(\d+)\.jpg$", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["title"] for each in found["findings"] if each["kind"] == "groups"] == [
        "12 groups of 3.0 pictures on average"
    ]
    assert len(found["splits"]) >= 2


def test_pictures_without_classes(tmp_path: Path, capsys: Captured) -> None:
    for seed in range(4):
        photo(tmp_path / "shots" / f"{seed}.jpg", (50 * seed, 90, 200 - 50 * seed), seed)
    assert code_of(["check", str(tmp_path / "shots")]) == 0
    assert "these pictures have no classes" in capsys.readouterr().out


@pytest.mark.fault(56, "`netwright check` refuses a layout that training would refuse, and still checks the pictures")
def test_a_layout_that_cannot_be_trained_on(photos: Path, capsys: Captured) -> None:
    (photos / "val").rename(photos / "valid")
    (photos / "test").rename(photos / "validation")
    (photos / "valid/red/0.jpg").write_bytes(b"")
    assert code_of(["check", str(photos), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["findings"]
    assert "has two folders for val: valid and validation" in found[0]["title"] and "`--plain`" in found[0]["fix"]
    assert "empty" in [finding["kind"] for finding in found]


@pytest.mark.fault(56, "a class folder of validation that training has not is named with the nearest")
@pytest.mark.fault(57, "`netwright check` names hidden folders, which are no classes")
def test_folders_that_do_not_agree(photos: Path, capsys: Captured) -> None:
    (photos / "train/.ipynb_checkpoints").mkdir()
    assert code_of(["check", str(photos)]) == 0
    assert "ignored folders: train/.ipynb_checkpoints" in capsys.readouterr().out
    (photos / "val/red").rename(photos / "val/rde")
    assert code_of(["check", str(photos)]) == 2
    assert "'rde' (close to 'red')" in capsys.readouterr().out


def test_folders_that_are_no_classes(photos: Path, capsys: Captured) -> None:
    assert code_of(["check", str(photos / "train"), "--plain"]) == 0
    printed = capsys.readouterr().out
    assert "train: 36 pictures, " in printed and "these pictures have no classes" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([""], "no data is named"),
        (["~nobody-of-this-name/x"], "cannot be looked up"),
        (["x" * 300], "cannot be looked up"),
        (["hf:" + "x" * 300], "cannot be looked up"),
        (["photos", "--page", "photos"], "--page photos is a folder"),
        (["photos", "--fix", "--quarantine", "no/folder/list.txt"], "there is no folder no/folder for the quarantine"),
        (["photos", "--group", "("], "is no regular expression"),
        (["photos", "--quarantine", "list.txt"], "there is no quarantine list list.txt"),
        (["photos", "--page", "no/folder/check.html"], "there is no folder no/folder for the page"),
        (["photos", "--fix", "--quarantine", "photos/train/blue/0.jpg"], "cannot be read"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: list[str], says: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(photos.parent)
    assert code_of(["check", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told and "report" not in told


def test_groups_of_files_that_cannot_be_read(tmp_path: Path, capsys: Captured) -> None:
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    assert code_of(["check", str(tmp_path), "--group", r"(\d)\.jpg"]) == 2
    assert "empty: 2 files" in capsys.readouterr().out


def test_the_working_folder_has_a_name(photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(photos)
    assert code_of(["check", "."]) == 0
    assert capsys.readouterr().out.startswith("photos: 63 pictures")


def test_the_next_steps_repeat_the_options(faulty: Path, capsys: Captured) -> None:
    group = "(r.d|blue|green)/[^/]*$"
    code_of(["check", str(faulty), "--plain", "--group", group])
    assert f"netwright check {faulty} --group '{group}' --plain --fix" in capsys.readouterr().out
    code_of(["check", str(faulty), "--plain", "--group", group, "--fix"])
    printed = capsys.readouterr().out
    assert f"netwright train {faulty} --group '{group}' --quarantine quarantine.txt" in printed
    assert f"netwright check {faulty} --group '{group}' --plain --page check.html" in printed


@pytest.mark.fault(59, "`--fix` never adds to the list of other data, whose names may be the same")
def test_a_list_of_other_data_is_refused(faulty: Path, capsys: Captured, tmp_path: Path) -> None:
    assert code_of(["check", str(faulty), "--fix"]) == 2
    written = (tmp_path / "quarantine.txt").read_bytes()
    capsys.readouterr()
    assert code_of(["check", str(faulty / "train"), "--fix"]) == 2
    told = capsys.readouterr().err
    assert f"is the quarantine list of other data: {faulty}" in told and "--quarantine FILE" in told
    assert (tmp_path / "quarantine.txt").read_bytes() == written


def test_a_table_for_testing_alone_is_looked_at_and_refused(photos: Path, capsys: Captured) -> None:
    table = photos / "test/red/new.csv"
    table.write_text("path,label,split\n0.jpg,red,test\n1.jpg,blue,test\n")
    assert code_of(["check", str(table), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 2 and "has no row for train" in found["findings"][0]["title"]
