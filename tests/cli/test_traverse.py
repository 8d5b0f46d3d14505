"""`netwright traverse`: rows of dimensions, or a plane."""

import json
from pathlib import Path

import pytest

from netwright.cli.main import code_of
from tests.bundle._saved import PLANE, kept, pictures, saved
from tests.cli.test_denoise import told


def test_rows_named_with_their_nats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path / "run", latent=kept(3, divergence=[0.2, 2.0, 0.001]))
    image = pictures(tmp_path / "in") / "dark" / "000.png"
    out = str(tmp_path / "t.png")
    assert code_of(["traverse", run, str(image), "-o", out]) == 0
    printed = capsys.readouterr().out
    assert "dimension 1: 2.000 nats\ndimension 0: 0.200 nats\n1 of 3 dimensions are not shown" in printed
    assert code_of(["traverse", run, "--dim", "2", "--dim", "0", "--range", "2", "-o", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["dimension"] for each in found["dimensions"]] == [2, 0]
    assert code_of(["traverse", run, "--dim", "all", "-o", out, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["dimensions"]) == 3


def test_two_numbers_are_a_plane(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(tmp_path / "run", PLANE), str(tmp_path / "t.png")
    assert code_of(["traverse", run, "-o", out, "--steps", "4"]) == 0
    assert "4x4 pictures, each stands for 1/16 of the prior" in capsys.readouterr().out
    assert code_of(["traverse", run, "--grid", "--steps", "3", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grid"] == 3


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, given = saved(tmp_path / "run", latent=kept(3)), pictures(tmp_path / "in")
    out = ["-o", tmp_path / "t.png"]
    assert "'x' is no dimension" in told(capsys, "traverse", run, "--dim", "x", *out)
    assert "no dimension 7" in told(capsys, "traverse", run, "--dim", "7", *out)
    assert "in a plane" in told(capsys, "traverse", run, "--grid", *out)
    assert "needs no picture" in told(capsys, "traverse", run, given / "dark" / "000.png", "--grid", *out)
    assert "range of -1" in told(capsys, "traverse", run, "--range", "-1", *out)
    assert "no finite number" in told(capsys, "traverse", run, "--range", "inf", *out)
    assert "leave out one of them" in told(capsys, "traverse", run, "--grid", "--dim", "0", *out)
    assert "name one picture of it" in told(capsys, "traverse", run, given, *out)
    flat = saved(tmp_path / "flat", PLANE)
    assert "equal shares" in told(capsys, "traverse", flat, "--range", "2", *out)


def test_named_dimensions_of_a_bundle_that_measured_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(tmp_path / "run"), str(tmp_path / "t.png")
    assert "--dim 0" in told(capsys, "traverse", run, "-o", out)
    assert code_of(["traverse", run, "--dim", "0", "-o", out]) == 0
    assert "dimension 0: nobody measured what it says" in capsys.readouterr().out
    assert code_of(["traverse", run, "--dim", "0", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dimensions"] == [{"dimension": 0, "nats": None}]
