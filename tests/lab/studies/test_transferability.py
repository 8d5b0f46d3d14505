"""Copied stages are those of the base network to the bit, halves are halves, and sentences say what is resolved."""

from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.lab.studies import STUDIES
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._study import Setting, opened, study
from netwright.lab.studies.transferability import ARMS, Replicate, _found, begun_with, drawn, halves
from netwright.lab.trial import Trials, measured
from netwright.nn.depth import depths
from netwright.recipes._recipe import Recipe


def setting(protocol: Recipe, folder: Path) -> Setting:
    return Setting(protocol, opened(protocol), Trials(folder), Networks(folder), lambda words: None)


def test_it_is_listed() -> None:
    assert {"transferability", "continual"} <= set(STUDIES.names())
    assert all(STUDIES.summary(name).endswith(".") or STUDIES.summary(name).endswith(")") for name in STUDIES.names())


def test_halves_share_no_class() -> None:
    classes = [*"abcdefg"]
    for seed in range(5):
        found = halves(classes, seed)
        assert len(found["A"]) == len(found["B"]) == 3
        assert not set(found["A"]) & set(found["B"])
        assert found == halves(classes, seed)
    assert len({tuple(halves(classes, seed)["A"]) for seed in range(5)}) > 1


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_first_stages_are_copied_with_their_statistics(protocol: Recipe, n: int) -> None:
    base, fresh = drawn(protocol, 3, 1), drawn(protocol.changed(seed=5), 3, 1)
    with torch.no_grad():
        base(torch.randn(8, 1, 16, 16))  # moves the norms' statistics
    found = begun_with(drawn(protocol.changed(seed=5), 3, 1), base.state_dict(), n).state_dict()
    depth = depths(base).of
    assert {depth[name] for name in found} == {0, 1, 2, 3}
    for name, tensor in found.items():
        source = base if depth[name] < n else fresh
        assert torch.equal(tensor, source.state_dict()[name]), name


def test_frozen_stages_are_those_of_the_base_after_training(protocol: Recipe, tmp_path: Path) -> None:
    replicate = Replicate(setting(protocol, tmp_path), protocol, 3)
    base, n = replicate.bases["A"], 2
    recipe = replicate.again.with_("freeze(last=1)")
    _, parts = measured(recipe, replicate.data["B"], network=lambda: replicate._network(base, n))
    state, depth = parts.run.model.state_dict(), depths(parts.run.model).of
    kept = [torch.equal(tensor, base.state()[name]) for name, tensor in state.items() if depth[name] < n]
    trained = [name for name, tensor in state.items() if depth[name] >= n and tensor.dim()]
    moved = [torch.equal(state[name], base.state()[name]) for name in trained]
    assert all(kept) and len(kept) > 10 and not any(moved)


def test_random_stages_have_the_statistics_of_the_pictures(protocol: Recipe, tmp_path: Path) -> None:
    replicate = Replicate(setting(protocol, tmp_path), protocol, 3)
    network = replicate._network(None, 2)
    plain = drawn(replicate.again, 3, 1)
    assert torch.equal(network.conv1.weight, plain.conv1.weight)
    assert not torch.equal(network.bn1.running_mean, plain.bn1.running_mean)


def test_the_study_is_written_and_not_repeated(protocol: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    protocol = protocol.changed(epochs=1)
    first = study("transferability(seeds=1)", protocol, per_class=6, output=tmp_path / "out", told=told.append)
    assert len(told) == 2 + 5 * 3 and told[-1].startswith("17 of 17: random, n = 3, seed 0:")
    for name in ("study.json", "study.html", "study.md", "study.png"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trials").iterdir()}
    assert len(files) == 17
    again = study("transferability(seeds=1)", protocol, per_class=6, output=tmp_path / "out")
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trials").iterdir()} == files
    assert "<h1>How transferable" in (tmp_path / "out" / "study.html").read_text("utf-8")


def test_what_cannot_be_split_or_carried_is_refused(protocol: Recipe, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="trains the networks that it takes stages from"):
        study("transferability", protocol.changed(weights="imagenet"), output=tmp_path)
    with pytest.raises(NetwrightError, match="norm changes the network"):
        study("transferability", protocol.with_("norm(kind='group')"), output=tmp_path)
    with pytest.raises(NetwrightError, match="init draws weights anew"):
        study("transferability", protocol.with_("init"), output=tmp_path)
    with pytest.raises(NetwrightError) as error:
        study("transferabilty", protocol, output=tmp_path)
    assert "did you mean 'transferability'" in error.value.fix
    with pytest.raises(NetwrightError) as error:
        study("transferability(memory=3)", protocol, output=tmp_path)
    assert "seeds" in error.value.fix
    arrays = dict(np.load(protocol.data))
    few = {name: arrays[name][arrays[f"y_{name[2:]}"] < 3] for name in arrays}
    np.savez(tmp_path / "few.npz", **few)
    with pytest.raises(NetwrightError, match="3 classes cannot be split"):
        study("transferability", protocol.changed(data=str(tmp_path / "few.npz")), output=tmp_path)


def test_sentences_follow_from_the_intervals(protocol: Recipe, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)

    def right(share: float) -> list[np.ndarray]:
        return [(draw.permutation(2000) < 2000 * share).astype(float) for _ in range(4)]

    shares = {"BnB": (0.8, 0.7), "BnB+": (0.8, 0.8), "AnB": (0.8, 0.6), "AnB+": (0.8, 0.85), "random": (0.7, 0.3)}
    reached = {arm.name: [right(share) for share in shares[arm.name]] for arm in ARMS}
    found = _found(setting(protocol, tmp_path), right(0.8), reached, [])
    assert found["said"][0].startswith("A linear probe on features learnt on other classes beats random")
    dip, special, start, _ = found["said"][1:]
    assert "resolved at n = 2 (-10.0" in dip and "not at n = 1" in dip
    assert "resolved at n = 2 (-10.0" in special
    assert "resolved at n = 2 (+5.0" in start
    reached["random"][-1] = reached["AnB"][-1]
    useless = _found(setting(protocol, tmp_path), right(0.8), reached, [])["said"]
    assert "nothing can be said about transfer" in useless[0]
    assert not any("special to A" in sentence for sentence in useless)
