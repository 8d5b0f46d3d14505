"""`netwright swap`: the encoder of one, the decoder of another."""

import json
from pathlib import Path

import numpy as np
import pytest

from netwright.bundle.alignment import align
from netwright.bundle.autoencoder import load_autoencoder
from netwright.cli.main import code_of
from tests.bundle._saved import CONDITIONAL, PLAIN, PLANE, pictures, read, saved
from tests.cli.test_denoise import told


def test_without_alignment_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b", seed=1)
    given, out = pictures(tmp_path / "in"), tmp_path / "out"
    assert code_of(["swap", first, second, str(given), "-o", str(out), "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "only if they are aligned" in found["notes"][0]
    assert found["align"] is None
    one, other = (load_autoencoder(each, device="cpu") for each in (first, second))
    file = given / "dark" / "000.png"
    made = other.decode(one.encode([file])[0])[0, 0].numpy()
    assert np.abs(read(out / "000.png") - 255 * made).max() <= 0.51


def test_aligned_codes_may_have_another_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, given = saved(tmp_path / "a"), saved(tmp_path / "b", PLAIN), pictures(tmp_path / "in", 30)
    sheet = str(tmp_path / "s.png")
    assert "3 numbers, and the other decodes 4" in told(capsys, "swap", first, second, given, "-o", sheet)
    assert code_of(["swap", first, second, str(given), "--align", str(given), "-o", sheet]) == 0
    printed = capsys.readouterr().out
    assert "6 pictures held out of 30" in printed
    assert "R²" in printed
    assert "(PSNR, mean of 30)" in printed


def test_a_class_is_for_the_one_that_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = saved(tmp_path / "a", CONDITIONAL), saved(tmp_path / "b", PLANE)
    given, sheet = pictures(tmp_path / "in"), str(tmp_path / "s.png")
    assert "--class NAME" in told(capsys, "swap", first, second, given, "-o", sheet)
    assert "takes no classes" in told(capsys, "swap", second, second, given, "--class", "dark", "-o", sheet)
    assert code_of(["swap", first, second, str(given), "--class", "dark", "-o", sheet]) == 0


def test_codes_are_aligned_by_the_classes_of_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = saved(tmp_path / "a", CONDITIONAL), saved(tmp_path / "b", PLANE)
    given = pictures(tmp_path / "in", 24)
    (given / "dark" / "bad.png").write_bytes(b"no picture")
    arguments = ["swap", first, second, str(given / "light"), "--class", "light", "--device", "cpu", "--json"]
    assert code_of([*arguments, "--align", str(given), "-o", str(tmp_path / "s.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    files = sorted(given.rglob("[0-9]*.png"))
    one, other = (load_autoencoder(each, device="cpu") for each in (first, second))
    expected = align(one.encode(files, [path.parent.name for path in files])[0], other.encode(files)[0])
    assert found["align"]["r2"] == pytest.approx(expected.r2, abs=1e-4)
    assert sum("bad.png" in note for note in found["notes"]) == 1
