"""`netwright generate`: pictures of the prior, and how far they lie from real ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from netwright.bundle.autoencoder import load_autoencoder
from netwright.bundle.embedder import make_embedder
from netwright.bundle.gathered import gathered
from netwright.bundle.realism import caveats, realism
from netwright.cli.main import code_of
from netwright.core.errors import NetwrightError
from netwright.report.sheet import check_room
from tests.bundle._saved import CONDITIONAL, PLAIN, RANDOM, kept, pictures, read, saved
from tests.cli.test_denoise import told


def test_a_sheet_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(tmp_path / "run"), tmp_path / "out"
    assert code_of(["generate", run, "-n", "5", "-o", str(tmp_path / "sheet.png")]) == 0
    assert "5 pictures of codes from the prior N(0, I)" in capsys.readouterr().out
    for seed in ("1", "1", "2"):
        assert code_of(["generate", run, "-n", "5", "--seed", seed, "-o", str(out / seed), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(found["written"]) == 5
    bundle = load_autoencoder(run, device="cpu")
    made = bundle.decode(bundle.sample(5, 1))
    assert np.abs(read(out / "1" / "00003.png") - 255 * made[3, 0].numpy()).max() <= 0.51
    assert (read(out / "1" / "00003.png") != read(out / "2" / "00003.png")).any()


def test_codes_that_are_not_drawn_have_no_prior(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path / "run", PLAIN, latent=kept(4))
    said = told(capsys, "generate", run, "-o", tmp_path / "out.png")
    assert "--model vae" in said
    assert "--fitted" in said
    assert code_of(["generate", run, "-n", "2", "--fitted", "-o", str(tmp_path / "out.png")]) == 0
    assert "a Gaussian fitted to the codes of training" in capsys.readouterr().out


def test_a_prior_that_training_never_met_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path / "run", latent=kept(3, mean=[0.0, 4.0, 0.0]))
    assert code_of(["generate", run, "-n", "2", "-o", str(tmp_path / "out.png")]) == 0
    assert "dimension 1: mean 4.00" in capsys.readouterr().out


def test_classes_of_a_conditional_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path / "run", CONDITIONAL)
    assert code_of(["generate", run, "-n", "5", "-o", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["dark"] * 3 + ["light"] * 2
    assert Path(found["written"][3]).name == "light_00003.png"
    assert code_of(["generate", run, "-n", "2", "--class", "light", "-o", str(tmp_path / "s.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["light"] * 2


def test_distances_from_real_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = saved(tmp_path / "run"), pictures(tmp_path / "data", 24)
    arguments = ["generate", run, "-n", "2", "-o", str(tmp_path / "s.png"), "--frechet", str(data)]
    assert code_of([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frechet"]["n"] == 12
    assert set(found["frechet"]["distances"]) == {"samples", "reconstructions", "real"}
    assert any("only 12 pictures for 3 features" in note for note in found["notes"])
    assert code_of(arguments) == 0
    printed = capsys.readouterr().out
    assert "Fréchet distance from 12 real pictures, in 3 features" in printed
    assert "--features RUN" in printed
    assert "nothing says which pictures of data are new to the network" in printed


def test_test_pictures_are_measured_where_there_are_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = saved(tmp_path / "run"), tmp_path / "data"
    pictures(data / "train", 8)
    pictures(data / "test", 16, seed=1)
    arguments = ["generate", run, "-n", "2", "-o", str(tmp_path / "s.png"), "--frechet", str(data), "--json"]
    assert code_of(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frechet"]["n"] == 8
    assert "measured on the test pictures of data" in found["notes"]


def test_features_of_another_network(tmp_path: Path) -> None:
    bundle = load_autoencoder(saved(tmp_path / "run"), device="cpu")
    data = gathered(bundle.preprocess_or_error(), str(pictures(tmp_path / "data", 24)))
    embedder = make_embedder("resnet20(width=2)", weights="random", image_size=8, device="cpu")
    found = realism(bundle, data, embedder=embedder)
    assert found["dimensions"] == 8
    assert found["features"] == "resnet20(width=2)"
    assert caveats(found, own=False) == ["only 12 pictures for 8 features: too few for a distance to trust"]
    with pytest.raises(NetwrightError, match="cannot be halved"):
        realism(bundle, gathered(bundle.preprocess_or_error(), str(pictures(tmp_path / "few", 3))))


def test_real_pictures_of_one_class(tmp_path: Path) -> None:
    bundle = load_autoencoder(saved(tmp_path / "run", CONDITIONAL), device="cpu")
    data = gathered(bundle.preprocess_or_error(), str(pictures(tmp_path / "data", 24)))
    assert realism(bundle, data)["n"] == 12
    assert realism(bundle, data, label="light")["n"] == 6


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path / "run", RANDOM)
    assert "add --frechet DATA" in told(capsys, "generate", run, "--features", "resnet18")
    assert "--features MODEL" in told(capsys, "generate", run, "--frechet", "x", "--weights", "random")
    assert "neither a PNG" in told(capsys, "generate", run, "-o", tmp_path / "a.jpg")
    assert "too many for one sheet" in told(capsys, "generate", run, "-n", 2000, "-o", tmp_path / "a.png")
    assert "no run or bundle" in told(capsys, "generate", tmp_path, "-o", tmp_path / "a.png")
    out = tmp_path / "new"
    assert "does not exist" in told(capsys, "generate", run, "--frechet", tmp_path / "none", "-o", out)
    few = pictures(tmp_path / "few", 2)
    assert "cannot be halved" in told(capsys, "generate", run, "--frechet", few, "-o", out)
    assert not out.exists()
    (tmp_path / "mine.png").write_bytes(b"mine")
    assert "did not write it" in told(capsys, "generate", run, "-o", tmp_path / "mine.png")


def test_a_sheet_that_would_be_too_large_is_refused_before_it_is_made() -> None:
    check_room(12, 12, (1000, 1000))
    with pytest.raises(NetwrightError, match="cannot be read again"):
        check_room(14, 14, (1000, 1000))
