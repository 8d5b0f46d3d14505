"""Bad input: a message with a fix, exit code 2, no traceback, nothing lost."""

import json
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from netwright.cli.main import code_of
from tests.cli.test_verbs import QUICK
from tests.conftest import COLOURS, photo


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is printed on stderr by a call that must fail as a user's mistake does."""
    assert code_of(list(arguments)) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert "fix: " in errors
    assert "Traceback" not in errors
    return errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--with", "mixupp"], "did you mean 'mixup'"),
        (["train", "--with", "mixup(alfa=1)"], "did you mean 'alpha'"),
        (["train", "--with", "mixup(alpha=-1)"], "between 0 and 100"),
        (["train", "--with", "mixup(0.4)"], "name it"),
        (["train", "--with", "mixup(alpha=__import__('os'))"], "literals only"),
        (["train", "--model", "resnet19"], "did you mean 'resnet18'"),
        (["train", "--model", "lenet5(modem=True)"], "did you mean 'modern'"),
        (["train", "--optimizer", "sdg"], "did you mean 'sgd'"),
        (["train", "--optimizer", "sgd(momentum=2)"], "between 0 and 1"),
        (["train", "--schedule", "cosin"], "did you mean 'cosine'"),
        (["train", "--epochs", "0"], "epochs cannot be 0"),
        (["train", "--epochs", "many"], "--epochs"),
        (["train", "--set", "epoch=3"], "did you mean 'epochs'"),
        (["train", "--set", "epochs"], "--set field=value"),
        (["train", "--without", "mixup"], "has no trick mixup"),
        (["train", "--recipe", "modrn"], "did you mean 'modern'"),
        (["train", "--recipe", "modern"], "netwright train PATH"),
        (["train", "--device", "warp"], "--device auto"),
        (["train", "--epoch", "3"], "--epochs"),
        (["trian"], "did you mean 'train'"),
        (["list", "trick"], "tricks"),
        (["show", "resnet1"], "did you mean"),
        (["predict", "nowhere", "a.jpg"], "no run or bundle"),
        (["evaluate", "nowhere", "photos"], "no run or bundle"),
    ],
)
def test_mistakes_in_words(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in told(capsys, *arguments)
    assert not list(tmp_path.glob("runs/*/"))


def test_missing_path(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"did you mean {photos}" in told(capsys, "train", str(photos)[:-1])


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "is empty" in told(capsys, "train", str(tmp_path / "empty"))


def test_one_class_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo(tmp_path / "photos" / "cat" / "a.jpg", COLOURS["red"], seed=0)
    assert "only one class" in told(capsys, "train", str(tmp_path / "photos"))


def test_class_missing_from_training(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "train" / "red").rename(photos / "train" / "rde")
    errors = told(capsys, "train", str(photos))
    assert "val has the class 'red', which train has not" in errors
    assert "add " in errors


def bomb(path: Path, side: int = 20_000) -> None:
    """A picture whose header says side × side; a few kilobytes that would decode to 50 megabytes or more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_unreadable_files_are_named_counted_and_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red = photos / "train" / "red"
    (red / "text.jpg").write_text("hello")
    (red / "zero.jpg").touch()
    whole = (red / "0.jpg").read_bytes()
    (red / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    bomb(red / "bomb.png")
    assert code_of(["train", str(photos), "--output", str(tmp_path / "runs"), "--json", *QUICK]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    reasons = {row["name"]: row["reason"] for row in data["quarantined"]}
    assert set(reasons) == {f"train/red/{name}" for name in ("text.jpg", "zero.jpg", "cut.jpg", "bomb.png")}
    assert "not an image" in reasons["train/red/text.jpg"]
    assert "empty" in reasons["train/red/zero.jpg"]
    assert "truncated" in reasons["train/red/cut.jpg"]
    assert "20000×20000" in reasons["train/red/bomb.png"]
    assert data["splits"]["train"]["n"] == 36


def test_nan_stops_before_the_update_and_names_the_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = told(capsys, "train", "--lr", "1e30", "--epochs", "2", "--output", str(tmp_path), "--json")
    assert "epoch 1, step 2" in errors
    assert "the update was not made" in errors


def test_batches_of_one_under_batch_normalisation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = told(capsys, "train", "--model", "resnet18", "--batch-size", "1", "--output", str(tmp_path), "--json")
    assert "larger --batch-size" in errors


def test_pictures_too_small_for_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = told(capsys, "train", "--image-size", "4", "--model", "lenet5", "--output", str(tmp_path), "--json")
    assert "--image-size" in errors


def test_disk_full_while_writing(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: writing the weights fails half-way."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-m", "netwright", "train", "--epochs", "1", "--output", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "file size limit reached while writing" in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert not list(run.rglob(".*"))  # no part of a file is left behind
    assert json.loads((run / "record.json").read_text())["status"] == "failed"
