"""`netwright show`: whatever has a name is shown, and a damaged run says what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from netwright.cli.main import code_of
from netwright.data import summaries
from netwright.records.folder import RunFolder
from tests.report.synthetic import write_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path, ["cat", "dog"])


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert code_of(["show", *arguments]) == 0
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert code_of(["show", *arguments]) == 2
    errors = capsys.readouterr().err
    assert "fix: " in errors
    return errors


def test_a_run_is_shown_with_its_metrics(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = run.record()["result"]["splits"]["test"]["accuracy"]
    text = shown(capsys, str(run.path))
    assert f"{accuracy['value']:.4f} [{accuracy['low']:.4f}, {accuracy['high']:.4f}]" in text
    assert text.startswith("run photos-resnet18 (done)")


def test_an_interval_that_is_not_known_is_a_dash(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    record = run.record()
    record["result"]["splits"]["test"] = {
        "loss": {"value": 0.25, "low": None, "high": None, "n": 1, "method": "bootstrap"},
        "ece": {"value": None, "low": None, "high": None, "n": 0, "method": "bootstrap"},
    }
    run.write_record(record)
    rows = {row["name"]: row["value"] for row in json.loads(shown(capsys, str(run.path), "--json"))["values"]}
    assert rows["test loss"] == "0.2500 [–, –]"
    assert rows["test ece"] == "– [–, –]"


def test_a_run_without_results_is_shown(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_record(run.record() | {"result": None, "status": "running"})
    assert "(running)" in shown(capsys, str(run.path))


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "\x00", "{}", '{"recipe": 3, "sources": {}}'])
def test_a_damaged_record_is_told(run: RunFolder, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    run.record_file.write_text(damage)
    assert "record.json" in told(capsys, str(run.path))


@pytest.mark.parametrize("field", ["recipe", "sources", "device", "name", "status"])
@pytest.mark.parametrize("value", [None, 3])
def test_a_changed_record_is_told_or_shown(
    run: RunFolder, capsys: pytest.CaptureFixture[str], field: str, value: Any
) -> None:
    run.write_record(run.record() | {field: value})
    assert code_of(["show", str(run.path)]) == (0 if field in ("name", "status") else 2)
    assert "record.json" in capsys.readouterr().err or field in ("name", "status")


@pytest.mark.parametrize("kind", ["arrays", "folder"])
def test_a_kind_of_data_is_shown(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, kind) == f"data {kind}: {summaries()[kind]}\n"


def test_a_recipe_wins_over_data_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "digits").startswith("recipe digits: ")


@pytest.mark.parametrize("name", ["timm/resnet10t", "timm/resnet10t.c3_in1k"])
def test_a_timm_model_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, name)
    assert text.startswith(f"model {name}: ")
    assert "timm.create_model" in text


def test_an_unknown_timm_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'timm/resnet10t'" in told(capsys, "timm/resnet10tt")


def test_a_model_is_shown_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "resnet20(norm='group')", "--image-size", "64")
    lines = [line.split() for line in text.splitlines()]
    assert ["1/4", "64x16x16", "203,520", "51.90", "M", "0.85", "MB", "81", "px"] in lines
    assert ["in", "all", "269,722", "162.20", "M", "6.23", "MB"] in lines
    assert any(line[:2] == ["norm", "'group'"] for line in lines)


def test_a_models_stages_come_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(shown(capsys, "resnet20", "--classes", "0", "--json"))
    assert [stage["name"] for stage in told["stages"]] == ["1/1", "1/2", "1/4", "head"]
    assert told["stages"][-1]["params"] == 0


def test_a_model_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["show", "resnet50", "--image-size", "16"]) == 2
    assert "--image-size 32" in capsys.readouterr().err
