"""Steps and strategies: what stands still does so to the bit, and memory holds what it should."""

from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.data.subset import of_classes
from netwright.lab.studies._growing import GrowingHead, begun, features_of, grown, herded
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._study import Setting, opened, study
from netwright.lab.studies.continual import Continual, Order, Start
from netwright.lab.trial import Trials, measured
from netwright.recipes._recipe import Recipe


def order(protocol: Recipe, folder: Path, **options: object) -> Order:
    chosen = Continual(base=2, step=2, seeds=1, **options)
    setting = Setting(protocol, opened(protocol), Trials(folder), Networks(folder), lambda words: None)
    return Order(chosen, Start.of(setting), 0, ["3", "1", "0", "5", "2", "4"], chosen.ends(6))


@pytest.mark.parametrize(
    ("base", "step", "ends"),
    [
        (5, 1, [5, 6, 7, 8, 9, 10]),
        (0.5, 0.25, [5, 7, 9, 10]),
        (4, 3, [4, 7, 10]),
        (2, 100, [2, 10]),
        (9, 1, [9, 10]),
    ],
)
def test_classes_come_in_steps(base: float, step: float, ends: list[int]) -> None:
    found = Continual(base=base, step=step).ends(10)
    # a quarter of ten is two: Python rounds halves to the even number
    assert found == ends


@pytest.mark.parametrize(
    "options", [{"base": 10}, {"base": 1}, {"base": -1}, {"step": 0}, {"base": 2.5}, {"base": 0.01}]
)
def test_nonsense_steps_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(NetwrightError) as error:
        Continual(**options).ends(10)
    assert "give" in error.value.fix


def test_unknown_strategies_are_refused() -> None:
    with pytest.raises(NetwrightError) as error:
        Continual(strategies=("distiled",))
    assert "did you mean 'distilled'" in error.value.fix
    for wrong in ((), ("joint", "joint")):
        with pytest.raises(NetwrightError, match="strategies cannot be"):
            Continual(strategies=wrong)


def test_a_grown_head_keeps_its_older_scores_to_the_bit() -> None:
    small = begun("resnet20(width=4, blocks=1)", 1, [3], seed=0).eval()
    large = grown(begun("resnet20(width=4, blocks=1)", 1, [3, 2], seed=1), small.state_dict()).eval()
    image = torch.randn(5, 1, 16, 16)
    assert large(image).shape == (5, 5)
    assert torch.equal(large(image)[:, :3], small(image))


def test_frozen_leaves_older_scores_as_they_were(protocol: Recipe, tmp_path: Path) -> None:
    """Through training, evaluation and the file that it is kept in."""
    one = order(protocol, tmp_path)
    before = one.base
    after = one._step("frozen", 1, [before])
    image = torch.randn(40, 1, 16, 16)
    small = grown(begun(protocol.model, 1, [2], seed=7), before.state()).eval()
    large = grown(begun(protocol.model, 1, [2, 2], seed=8), after.state()).eval()
    assert torch.equal(large(image)[:, :2], small(image))
    fresh = one.start.network([2, 2], 0).state_dict()["head.parts.1.weight"]
    assert not torch.equal(after.state()["head.parts.1.weight"], fresh), "the new part trains"
    third = one._step("frozen", 2, [before, after])
    larger = grown(begun(protocol.model, 1, [2, 2, 2], seed=9), third.state()).eval()
    assert torch.equal(larger(image)[:, :4], large(image))


def test_finetune_and_distilled_change_them(protocol: Recipe, tmp_path: Path) -> None:
    one = order(protocol, tmp_path)
    for strategy in ("finetune", "distilled"):
        after = one._step(strategy, 1, [one.base]).state()
        assert not torch.equal(after["head.parts.0.weight"], one.base.state()["head.parts.0.weight"])


def test_distillation_holds_the_older_answers(protocol: Recipe, tmp_path: Path) -> None:
    """With a heavy weight, scores of older classes for the new pictures move less than without."""
    one = order(protocol.changed(epochs=5), tmp_path, weight=10.0)
    data = one._new_pictures(1, [one.base])
    pictures = torch.from_numpy(np.asarray(data.splits["train"].images)).permute(0, 3, 1, 2) / 255.0
    pictures = (pictures - data.preprocess.mean[0]) / data.preprocess.std[0]

    def answers(state: dict[str, torch.Tensor], sizes: list[int]) -> torch.Tensor:
        network = grown(begun(protocol.model, 1, sizes, seed=3), state).eval()
        with torch.no_grad():
            return network(pictures)[:, :2].softmax(1)

    was = answers(one.base.state(), [2])
    first, after = {}, [one.base]
    for strategy in ("finetune", "distilled"):
        first[strategy] = (answers(one._step(strategy, 1, after).state(), [2, 2]) - was).abs().mean()
    assert first["distilled"] < first["finetune"]


def test_a_step_sees_new_pictures_and_memory_only(protocol: Recipe, tmp_path: Path) -> None:
    plain = order(protocol, tmp_path)
    assert set(plain._new_pictures(1, [plain.base]).splits["train"].labels.tolist()) == {2, 3}
    for choose in ("random", "herding"):
        one = order(protocol, tmp_path, memory=3, choose=choose)
        assert one.base.key == plain.base.key, "what is kept later does not change the base network"
        after = one._step("finetune", 1, [one.base])
        labels = one._new_pictures(2, [one.base, after]).splits["train"].labels
        assert np.bincount(labels).tolist() == [3, 3, 3, 3, 16, 16]
        assert one.data[2].splits["test"].labels.max() == 5
    assert one._first(1) == 0 and plain._first(1) == 2


def test_exemplars_are_the_same_pictures_at_every_step(protocol: Recipe, tmp_path: Path) -> None:
    one = order(protocol, tmp_path, memory=2)
    first = one._new_pictures(1, [one.base]).splits["train"]
    after = one._step("finetune", 1, [one.base])
    second = one._new_pictures(2, [one.base, after]).splits["train"]
    assert set(first.ids[first.labels < 2].tolist()) == set(second.ids[second.labels < 2].tolist())


def test_herding_keeps_the_mean() -> None:
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)) + torch.arange(8) / 4
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    chosen = herded(features, 10)
    assert len(set(chosen.tolist())) == 10
    # Greedily: the first is nearest to the mean, the second brings the mean of the two nearest.
    assert chosen[0] == (unit - unit.mean(0)).norm(dim=1).argmin()
    pairs = (unit[chosen[0]] + unit) / 2 - unit.mean(0)
    pairs[chosen[0]] = torch.inf
    assert chosen[1] == pairs.norm(dim=1).argmin()
    herd = (unit[chosen].mean(0) - unit.mean(0)).norm()
    draws = [(unit[torch.randperm(60)[:10]].mean(0) - unit.mean(0)).norm() for _ in range(50)]
    assert herd < min(draws)
    assert len(herded(features[:4], 10)) == 4


def test_features_are_what_the_head_sees(protocol: Recipe) -> None:
    data = of_classes(opened(protocol), ["0", "1", "2"])
    network = begun(protocol.model, data.preprocess.channels, [3], seed=0)
    split = data.splits["test"]
    found = features_of(network, data, split)
    assert isinstance(network.head, GrowingHead)
    assert found.shape == (len(split), network.head.parts[0].in_features)


def test_the_study_is_written_and_not_repeated(protocol: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    spec, protocol = "continual(base=2, step=3, seeds=1)", protocol.changed(epochs=1)
    first = study(spec, protocol, output=tmp_path / "out", told=told.append)
    assert len(told) == 1 + 4 * 2
    assert first["measured"]["classes_after"] == [2, 5, 6]
    assert [len(row) for row in first["measured"]["strategies"]["joint"]["by_seed"][0]] == [1, 2, 3]
    assert first["measured"]["strategies"]["joint"]["by_seed"][0][0][0]["method"] == "wilson"
    folder = tmp_path / "out" / "trials"
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(files) == 9
    assert study(spec, protocol, output=tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files
    with_networks = [path for path in folder.glob("network-*") if path.stat().st_size > 20_000]
    assert len(with_networks) == 1, "only base networks are gone on with"


def test_a_lost_file_is_made_again(protocol: Recipe, tmp_path: Path) -> None:
    spec, protocol = "continual(base=2, step=2, seeds=1, strategies=('finetune',))", protocol.changed(epochs=1)
    first = study(spec, protocol, output=tmp_path / "out")
    for path in (tmp_path / "out" / "trials").glob("network-*"):
        if path.stat().st_size < 20_000:
            path.write_bytes(b"damaged")
    assert study(spec, protocol, output=tmp_path / "out") == first


def test_learnt_weights_are_begun_with(protocol: Recipe, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from netwright.models import create_model

    learnt = create_model(protocol.model, classes=11, in_channels=1)
    save_file(learnt.state_dict(), tmp_path / "learnt.safetensors")
    one = order(protocol.changed(weights=str(tmp_path / "learnt.safetensors")), tmp_path)
    network = one.start.network([2], 0)
    assert torch.equal(network.backbone.state_dict()["conv1.weight"], learnt.state_dict()["conv1.weight"])
    assert one.recipe.weights is None
    assert one.base.key != order(protocol, tmp_path).base.key
    trial, _ = measured(one.recipe, one.data[0], network=lambda: network)
    assert len(trial.correct) == 16


def test_tricks_that_write_targets_are_refused_where_answers_are_kept(protocol: Recipe, tmp_path: Path) -> None:
    for trick in ("label_smoothing", "mixup", "focal"):
        with pytest.raises(NetwrightError, match=f"{trick} changes targets") as error:
            study("continual", protocol.with_(trick), output=tmp_path)
        assert f"--without {trick}" in error.value.fix
