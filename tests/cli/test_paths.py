"""Folders with any name a disk allows: trained into, gone on with, predicted from."""

import json
import os
import shutil
from pathlib import Path

import pytest

from netwright.cli.main import code_of
from netwright.records.folder import RunFolder
from netwright.records.store import RunStore
from tests.cli.test_verbs import QUICK, netwright

NAMES = {
    "blank": " a b ",
    "percent": "100%s%20",
    "quotes": 'it\'s "so"',
    "backslash": "a\\b",
    "shell": "$HOME;`ls`&|",
    "web": "#a?b=c&d",
    "brackets": "a[0]{x}(1)*",
    "emoji": "\N{GRINNING FACE}",
    "composed": "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "decomposed": "cafe\N{COMBINING ACUTE ACCENT}",
    "trailing dot": "runs.",
    "hidden": ".runs",
    "dash": "-runs",
    "newline": "a\nb",
    "255 bytes": "a" * 255,
}


@pytest.mark.fault(33, "a folder may have any name that the disk allows: train, resume and predict work in it")
@pytest.mark.usefixtures("brief_reports")
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_any_name(
    name: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path(shutil.copytree(photos, tmp_path / NAMES[name] / "photos"))
    output = tmp_path / NAMES[name] / NAMES[name]
    quick = ["--json", "--epochs", "1", *QUICK[:2], *QUICK[4:]]
    assert code_of(["train", str(data), "--output", str(output), *quick]) == 0, capsys.readouterr().err
    (run,) = (path for path in output.iterdir() if (path / "record.json").is_file())
    capsys.readouterr()
    run = run.rename(output / f"renamed {name}")
    assert code_of(["train", "--resume", str(run), "--json"]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["status"] == "done"
    assert len(RunFolder.open(run).metrics()) == 1
    picture = data / "test" / "red" / "0.jpg"
    assert code_of(["predict", str(run), str(picture), "--json"]) == 0, capsys.readouterr().err
    assert len(json.loads(capsys.readouterr().out)["predictions"]) == 1
    assert (run / "report.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"photos", NAMES[name]})


@pytest.mark.fault(33, "a run may be in a folder whose name is not even text")
def test_a_folder_whose_name_is_no_text(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / os.fsdecode(b"caf\xe9")
    done = netwright("train", str(photos), "--output", str(output), *QUICK)
    assert done.returncode == 0, done.stderr
    assert "caf\\udce9" in done.stdout
    run = RunFolder.newest(output)
    assert run.record()["status"] == "done"
    assert run.report_file.is_file()
    (row,) = RunStore.beside(output).list()
    assert row.status == "done"
    assert row.path.endswith(f"caf\\xe9/{run.name}")


@pytest.mark.fault(33, "a name that the disk does not allow is told, with what to do about it")
def test_a_name_that_is_too_long_is_told(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["train", str(photos), "--output", str(tmp_path / ("a" * 256)), *QUICK]) == 2
    told = capsys.readouterr().err
    assert "too long" in told
    assert "Traceback" not in told
