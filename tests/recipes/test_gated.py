"""Training makes the data gate's check of its own accord: told, refused, or left out."""

import shutil
from pathlib import Path

import pytest

from netwright.core.errors import NetwrightError
from netwright.data.gate import check as gate
from netwright.data.gate.quarantine import read_quarantine
from netwright.recipes._fit import fit
from netwright.recipes._recipe import Recipe
from tests.conftest import photo


@pytest.fixture
def leaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two of six validation pictures are in training too."""
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "photos"
    for side, count in (("train", 8), ("val", 3)):
        for label, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
            for number in range(count):
                photo(root / side / label / f"{number}.png", colour, len(side) * 100 + number, (32, 32))
    for label in ("red", "blue"):
        shutil.copy(root / "train" / label / "0.png", root / "val" / label / "0.png")
    return root


def plan(root: Path, **changes: object) -> Recipe:
    return Recipe(data=str(root), model="lenet5", epochs=1, batch_size=4, threads=1).changed(**changes)


def test_findings_are_among_the_notes(leaking: Path, tmp_path: Path) -> None:
    record = fit(plan(leaking), output=tmp_path / "runs").record["data"]
    assert record["gate"]["errors"] == 1
    assert any("data check" in note and "in training" in note for note in record["notes"])
    assert any(f"netwright check {leaking}" in note for note in record["notes"])


def test_errors_are_refused_where_that_is_asked_for(leaking: Path, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="does not pass the gate"):
        fit(plan(leaking, gate="error"), output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_off_is_off(leaking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "check", lambda *_, **__: pytest.fail("it was called"))
    assert "gate" not in fit(plan(leaking, gate="off"), output=tmp_path / "runs").record["data"]


@pytest.mark.fault(59, "copies in the quarantine list are left out of training, and the files stay as they are")
def test_the_list_is_left_out(leaking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.cli.main import code_of

    monkeypatch.chdir(tmp_path)
    before = sorted(leaking.rglob("*"))
    assert code_of(["check", str(leaking), "--fix"]) == 2
    assert set(read_quarantine(tmp_path / "quarantine.txt")) == {"train/red/0.png", "train/blue/0.png"}
    data = fit(plan(leaking, quarantine="quarantine.txt", gate="error"), output=tmp_path / "runs").record["data"]
    assert data["splits"]["train"]["n"] == 14 and len(data["quarantined"]) == 2
    assert sorted(leaking.rglob("*")) == before


def test_a_list_that_is_not_there_is_told(leaking: Path, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match=r"nowhere\.txt"):
        fit(plan(leaking, quarantine=str(tmp_path / "nowhere.txt")), output=tmp_path / "runs")
