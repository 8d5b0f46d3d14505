"""`netwright interpolate`: a sheet from one picture to another."""

import json
from pathlib import Path

import pytest

from netwright.cli.main import code_of
from tests.bundle._saved import pictures, read, saved
from tests.cli.test_denoise import told


@pytest.mark.parametrize("way", [[], ["--spherical"]])
def test_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str], way: list[str]) -> None:
    run, given = saved(tmp_path / "run"), pictures(tmp_path / "in")
    first, second = given / "dark" / "000.png", given / "light" / "001.png"
    out = tmp_path / "way.png"
    assert code_of(["interpolate", run, str(first), str(second), "--steps", "4", "-o", str(out), "--json", *way]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["codes"]) == 4
    assert found["distance"] > 0
    height, width = read(out).shape[:2]
    assert width > height
    assert code_of(["interpolate", run, str(first), str(second), "-o", str(out), *way]) == 0
    assert "in 3 numbers" in capsys.readouterr().out


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, given = saved(tmp_path / "run"), pictures(tmp_path / "in")
    first = given / "dark" / "000.png"
    assert "does not exist" in told(capsys, "interpolate", run, first, given / "dark" / "00.png")
    assert "written over" in told(capsys, "interpolate", run, first, first, "-o", first)
    (tmp_path / "file").write_bytes(b"mine")
    assert "is a file" in told(capsys, "interpolate", run, first, first, "-o", tmp_path / "file" / "way.png")
    assert "name one picture of it" in told(capsys, "interpolate", run, first, given, "-o", tmp_path / "way.png")
    assert code_of(["interpolate", run, str(first), str(first), "-o", str(tmp_path / "new" / "way.png")]) == 0
