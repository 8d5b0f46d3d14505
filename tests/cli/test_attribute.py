"""`netwright attribute`: arithmetic with mean codes of classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.bundle.autoencoder import load_autoencoder
from netwright.cli.main import code_of
from tests.bundle._saved import CONDITIONAL, pictures, read, saved
from tests.cli.test_denoise import told


def test_the_difference_of_means_is_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data, out = saved(tmp_path / "run"), pictures(tmp_path / "data", 11), tmp_path / "out"
    given = pictures(tmp_path / "in", 1, seed=5) / "dark" / "000.png"
    arguments = ["attribute", run, str(given), "--data", str(data), "--to", "light"]
    arguments += ["--strength", "0.5", "--device", "cpu"]
    assert code_of([*arguments, "--from", "dark", "-o", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == {"from": 6, "to": 5}
    bundle = load_autoencoder(run, device="cpu")
    dark, light = (bundle.encode(sorted((data / name).iterdir()))[0].mean(0) for name in ("dark", "light"))
    step = light - dark
    torch.testing.assert_close(torch.tensor(found["direction"]), step, atol=1e-5, rtol=1e-5)
    made = bundle.decode(bundle.encode([given])[0] + 0.5 * step)[0, 0].numpy()
    assert np.abs(read(out / "000.png") - 255 * made).max() <= 0.52
    sheet = str(tmp_path / "s.png")
    assert code_of([*arguments, "--strength", "2", "-o", sheet]) == 0
    assert "not light → light: mean codes of 6 and 5 pictures" in capsys.readouterr().out


def test_a_conditional_network_reads_the_classes_of_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = saved(tmp_path / "run", CONDITIONAL), pictures(tmp_path / "data")
    arguments = ["attribute", run, str(data / "dark"), "--data", str(data), "--to", "light", "-o"]
    assert "--class NAME" in told(capsys, *arguments, tmp_path / "s.png")
    assert code_of([*arguments, str(tmp_path / "s.png"), "--class", "dark"]) == 0


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = saved(tmp_path / "run"), pictures(tmp_path / "data")
    out = ["-o", tmp_path / "s.png"]
    start = ["attribute", run, data]
    assert "did you mean 'light'" in told(capsys, *start, "--data", data, "--to", "ligth", *out)
    assert "has no classes" in told(capsys, *start, "--data", data / "dark", "--to", "light", *out)
    assert "neither a PNG nor a folder" in told(capsys, *start, "--data", data, "--to", "light", "-o", "a.gif")
    data_to = ["--data", data, "--to", "light"]
    assert "without a dot" in told(capsys, *start, *data_to, "-o", tmp_path / "f.v2")
    assert "are one class" in told(capsys, *start, *data_to, "--from", "light", *out)
    assert "no finite number" in told(capsys, *start, *data_to, "--strength", "nan", *out)
    new = tmp_path / "new"
    assert "no run or bundle" in told(capsys, "attribute", tmp_path, data, *data_to, "-o", new)
    assert not new.exists()


def test_a_sheet_counts_what_it_does_not_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = saved(tmp_path / "run"), pictures(tmp_path / "data", 70)
    arguments = ["attribute", run, str(data), "--data", str(data), "--to", "light", "--device", "cpu", "--json"]
    assert code_of([*arguments, "-o", str(tmp_path / "s.png")]) == 0
    assert len(json.loads(capsys.readouterr().out)["written"]) == 1
    assert code_of([*arguments, "-o", str(tmp_path / "out")]) == 0
    assert len(json.loads(capsys.readouterr().out)["written"]) == 70
