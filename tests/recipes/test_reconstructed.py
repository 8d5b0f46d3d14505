"""What a run keeps of its codes and reconstructions, and what the bundle's card says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netwright import fit, recipe
from netwright.recipes import _codes, _reconstructed
from netwright.recipes._assemble import assemble
from netwright.recipes._codes import apart, flattened, from_standard, keep_traversals, of_codes
from netwright.recipes._recipe import Recipe
from netwright.recipes._reconstructed import keep_reconstructions
from netwright.recipes._sight import Looked, Sight
from netwright.records.folder import RunFolder

NETWORK = "vae(encoder='mlp(widths=(24,))', latent=3)"
PALE = torch.full((11, 1, 4, 4), 0.5)


def planned(model: str) -> Recipe:
    return recipe("autoencode", model=model, epochs=1, threads=1, device="cpu", image_size=8)


def kept(tmp: Path, model: str) -> tuple[RunFolder, dict[str, Any]]:
    """What is kept of a network that was not trained, and what its card would say."""
    parts = assemble(planned(model))
    folder = RunFolder.create(tmp, "run")
    latent = keep_reconstructions(parts, folder, parts.run.model, "test")
    assert latent is not None
    return folder, latent


@pytest.fixture(scope="module")
def variational(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    plan = planned(NETWORK).with_("denoise(kind='mask', amount=0.3)")
    return RunFolder.open(fit(plan, output=tmp_path_factory.mktemp("vae")).path)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    """One part of what is kept fails."""

    def broken(*args: Any) -> Any:
        raise RuntimeError("of no use\nat all")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_reconstructed, "ssim", broken)
        return kept(tmp_path_factory.mktemp("ae"), "mlp_autoencoder(hidden=(24,), latent=2)")


@pytest.fixture
def plain(untrained: tuple[RunFolder, dict[str, Any]]) -> RunFolder:
    return untrained[0]


def test_a_failing_part_costs_no_other(plain: RunFolder) -> None:
    found = document(plain)
    assert found["left_out"] == [{"what": "SSIM", "why": "RuntimeError: of no use"}]
    assert found["pair"] and found["map"] and "ssim" not in found


def document(run: RunFolder) -> dict[str, Any]:
    return json.loads((run.samples / "reconstruction.json").read_bytes())


def files(found: Any) -> list[str]:
    """Every picture that a document names."""
    if isinstance(found, dict):
        return [file for value in found.values() for file in files(value)]
    if isinstance(found, list):
        return [file for value in found for file in files(value)]
    return [found] if isinstance(found, str) and found.startswith("reconstruction/") else []


def test_nothing_is_left_out_and_every_picture_is_there(variational: RunFolder, plain: RunFolder) -> None:
    for run in (variational, plain):
        found = document(run)
        assert [each["what"] for each in found["left_out"] if each["what"] != "SSIM"] == []
        named = files(found)
        assert len(named) > 40 and all((run.samples / name).is_file() for name in named)
        kept = {f"reconstruction/{path.name}" for path in (run.samples / "reconstruction").iterdir()}
        assert kept == set(named)


def test_the_worst_come_first_and_are_the_worst(variational: RunFolder) -> None:
    rows = document(variational)["shown"]
    worst = [row["psnr"] for row in rows if row["worst"]]
    assert worst == sorted(worst) and max(worst) <= min(row["psnr"] for row in rows if not row["worst"])
    assert all(set(row["files"]) == {"picture", "again", "corrupted", "restored"} for row in rows)


def test_numbers_are_those_of_the_evaluation(variational: RunFolder) -> None:
    """Of digits all test pictures are looked at, so that both ways of measuring are of the same."""
    found, result = document(variational), variational.record()["result"]
    own = result["splits"]["test"]
    assert found["looked"] == own["psnr"]["n"]
    assert found["quality"]["psnr"]["value"] == pytest.approx(own["psnr"]["value"], rel=1e-4)
    said = result["latent"]["test"]
    for name in ("mean", "deviation", "spread", "divergence"):
        np.testing.assert_allclose(found["codes"][name], said[name], rtol=2e-3, atol=2e-5)


def test_bounds_are_ordered_and_of_the_size_of_the_evaluations(variational: RunFolder) -> None:
    said = document(variational)["bounds"]
    assert said["weighted"]["value"] >= said["elbo"]["value"]
    assert said["gap"]["value"] == pytest.approx(said["weighted"]["value"] - said["elbo"]["value"])
    assert said["elbo"]["value"] == pytest.approx(-said["distortion"]["value"] - said["rate"]["value"])
    assert said["n"] == 256 and said["draws"] == 64


def test_other_data_are_measured_too(variational: RunFolder) -> None:
    rows = {row["kind"]: row for row in document(variational)["pair"]}
    assert set(rows) == {"held-out", "inverted", "shuffled", "generated"}
    assert rows["held-out"]["flat"]["value"] == pytest.approx(rows["shuffled"]["flat"]["value"], rel=1e-5)
    assert rows["held-out"]["psnr"]["low"] > rows["inverted"]["psnr"]["high"]


def test_the_card_describes_codes_of_training(variational: RunFolder, untrained: tuple[Any, dict[str, Any]]) -> None:
    trained = json.loads((variational.bundle / "bundle.json").read_bytes())["latent"]
    for card, dimensions in ((trained, 3), (untrained[1], 2)):
        assert len(card["mean"]) == dimensions and np.shape(card["covariance"]) == (dimensions, dimensions)
        np.testing.assert_allclose(np.sqrt(np.diag(card["covariance"])), card["deviation"], rtol=1e-4)
        assert ("divergence" in card) == (card is trained)


def test_a_plain_autoencoder_has_no_prior_and_no_bounds(plain: RunFolder) -> None:
    found = document(plain)
    assert not found["samples"]["prior"] and "bounds" not in found and "divergence" not in found["codes"]
    assert found["map"]["explained"] is None  # of two numbers the map is the codes themselves
    assert len(found["map"]["labels"]) == found["map"]["n"]


def test_a_costly_network_is_asked_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be afforded the fewest of everything are looked at, and that is told."""
    monkeypatch.setattr(_reconstructed, "BUDGET", 1)
    decoded: list[int] = []
    whole = Sight.decoded

    def counted(self: Sight, code: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        decoded.append(len(code))
        return whole(self, code, label)

    monkeypatch.setattr(Sight, "decoded", counted)
    folder, latent = kept(tmp_path, NETWORK)
    found = document(folder)
    assert latent["n"] == 32 and found["looked"] == 8
    assert (found["bounds"]["n"], found["bounds"]["draws"]) == (8, 8)
    assert sum(decoded) == 8 + 4 * 8 + 12 + 2 * 11  # pictures, other data, new ones, two traversals
    told = {each["what"]: each["why"] for each in found["left_out"]}
    assert told["codes of training pictures"].startswith("32 in the place of 1")
    assert told["draws for the bounds of the likelihood"].startswith("8 in the place of 64")
    assert {"pictures of the split", "dimensions that are traversed"} <= set(told)


def test_traversals_are_centred_on_codes_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the verb has them, also where there is a prior."""
    seen: list[torch.Tensor] = []

    class Noting:
        def decoded(self, code: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            seen.append(code)
            return PALE

    sight: Any = Noting()

    def named(*_: Any) -> str:
        return "x"

    monkeypatch.setattr(_codes, "_sheet", named)
    monkeypatch.setattr(_codes, "keep_picture", named)
    looked: Any = looked_like(torch.tensor([[7.0, 8.0]]))
    latent = {"mean": [1.0, -1.0], "deviation": [0.5, 2.0], "divergence": [0.1, 3.0]}
    found = keep_traversals(RunFolder.create(tmp_path, "x"), sight, looked, latent, 1)
    assert [row["dimension"] for row in found["traversals"]["rows"]] == [1]
    np.testing.assert_allclose(seen[0][:, 1], np.linspace(-7, 5, 11), rtol=1e-6)
    assert (seen[0][:, 0] == 7).all()


def test_many_dimensions_are_counted_and_not_listed() -> None:
    looked: Any = looked_like(torch.randn(20, 1000, generator=torch.Generator().manual_seed(0)))
    rows = of_codes(looked)["codes"]
    assert rows["dimensions"] == 1000 and rows["active"] == 1000 and "aggregated" not in rows
    assert {len(rows[name]) for name in ("mean", "deviation", "spread", "divergence")} == {256}
    assert rows["rate"] > sum(rows["divergence"])


def looked_like(mean: torch.Tensor) -> Looked:
    n, places = len(mean), np.arange(len(mean))
    return Looked("test", places, ["x"] * n, PALE, torch.zeros(n), mean, torch.full_like(mean, -1), PALE, np.ones(n))


def test_other_networks_are_passed_over(tmp_path: Path) -> None:
    parts: Any = None
    assert keep_reconstructions(parts, RunFolder.create(tmp_path, "x"), torch.nn.Identity(), "test") is None


def test_thumbnails_keep_their_distance() -> None:
    places = np.random.default_rng(0).random((300, 2))
    chosen = places[apart(places, 0.1, 1000)]
    near = np.abs(chosen[:, None] - chosen[None]).max(2) + np.eye(len(chosen))
    assert near.min() >= 0.1 and len(chosen) > 30
    assert len(apart(places, 0.0, 7)) == 7


def test_more_than_two_numbers_become_their_principal_components() -> None:
    codes = np.random.default_rng(0).normal(size=(200, 5)) * [1, 5, 0.1, 3, 0.1]
    places, shares = flattened(codes)
    values = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    np.testing.assert_allclose(places.var(0, ddof=1), values[:2], rtol=1e-9)
    assert shares is not None
    np.testing.assert_allclose(shares, values[:2] / values.sum(), rtol=1e-9)
    assert flattened(codes[:, :2])[1] is None and flattened(codes[:, :1])[0].shape == (200, 2)
    assert np.isfinite(flattened(np.ones((4, 3)))[0]).all()


def test_the_distance_from_the_prior_is_that_of_normals() -> None:
    from torch.distributions import MultivariateNormal, kl_divergence

    mean, root = torch.tensor([0.5, -1.0]).double(), torch.tensor([[1.0, 0.0], [0.4, 0.3]]).double()
    covariance = root @ root.T
    standard = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    expected = kl_divergence(MultivariateNormal(mean, covariance), standard)
    assert from_standard(mean, covariance) == pytest.approx(float(expected))
