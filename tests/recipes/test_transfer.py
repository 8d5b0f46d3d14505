"""Transfer, end to end: what stands still stands still to the last bit, and kept features give the live ones' run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from netwright.core.errors import NetwrightError
from netwright.data import from_arrays
from netwright.data.features import FeatureSource
from netwright.models import create_model
from netwright.recipes._assemble import assemble
from netwright.recipes._fit import fit
from netwright.recipes._recipe import Recipe, recipe
from netwright.recipes._transfer import WAYS, transfer_recipe
from tests.support import untimed

CLASSES = ("ant", "bee", "cat")


def pictures(n: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    images = draw.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    images[..., 0] = images[..., 0] // 4 + 60 * labels[:, None, None]
    return images, labels


def data(size: int = 32) -> Any:
    return from_arrays(
        train=pictures(40, 0, size), val=pictures(20, 1, size), test=pictures(20, 2, size), classes=CLASSES
    )


def weights(folder: Path, name: str) -> Path:
    """A file of weights with norm statistics that were never those of a fresh network."""
    torch.manual_seed(3)
    network = create_model(name, classes=7)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.add_(0.1 * torch.rand_like(tensor))
    path = folder / f"{name}.pt"
    torch.save(network.state_dict(), path)
    return path


def chosen(way: str, path: Path, name: str, **changes: Any) -> Recipe:
    fast = {"epochs": 3, "batch_size": 8, "precision": "fp32", "threads": 1} | changes
    return transfer_recipe(way, str(path)).changed(model=name, **fast)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["resnet20", "squeezenet1_1", "mobilenet_v2", "convnext_tiny", "googlenet"])
def test_kept_features_give_the_run_that_live_ones_give(name: str, precision: str, tmp_path: Path) -> None:
    path = weights(tmp_path, name)
    plan = chosen("features", path, name, precision=precision, epochs=2)
    kept = fit(plan, data=data(), output=tmp_path / "kept")
    live = fit(plan.with_("freeze(cache=False)"), data=data(), output=tmp_path / "live")
    one, other = (load_file(run.path / "bundle" / "model.safetensors") for run in (kept, live))
    assert one.keys() == other.keys()
    for tensor in one:
        assert torch.equal(one[tensor], other[tensor]), tensor
    own = ("train_loss", "train_accuracy", "gradient_norm", "lr")
    rows, others = untimed(read(kept)), untimed(read(live))
    assert [[row[field] for field in own] for row in rows] == [[row[field] for field in own] for row in others]
    assert kept.splits == live.splits


def read(run: Any) -> list[dict[str, Any]]:
    from netwright.records.folder import RunFolder

    return RunFolder.open(run.path).metrics()


@pytest.mark.parametrize("with_", [(), ("ema",), ("swa",), ("flip", "mixup"), ("sam", "accumulate(parts=2)")])
def test_a_frozen_backbone_is_bit_identical_afterwards(with_: tuple[str, ...], tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    before = create_model("resnet20", classes=7, weights=path).state_dict()
    run = fit(chosen("features", path, "resnet20").with_(*with_), data=data(), output=tmp_path)
    after = load_file(run.path / "bundle" / "model.safetensors")
    held = {name: tensor for name, tensor in before.items() if not name.startswith("linear.")}
    assert len(held) > 100
    for name, tensor in held.items():
        assert torch.equal(after[f"backbone.{name}"], tensor), name
    assert run.record["model"]["trained"] == sum(after[f"head.{i}"].numel() for i in ("2.weight", "2.bias"))


def test_partial_trains_the_last_stages_and_no_others(tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    before = create_model("resnet20", classes=7, weights=path).state_dict()
    run = fit(chosen("partial(last=1)", path, "resnet20", epochs=2), data=data(), output=tmp_path)
    after = load_file(run.path / "bundle" / "model.safetensors")
    moved = {name for name, tensor in before.items() if not name.startswith("linear.")
             and not torch.equal(after[f"backbone.{name}"], tensor)}  # fmt: skip
    last = {name for name in before if name.startswith("layer3.")}
    assert moved == last


def test_features_are_kept_only_where_pictures_stay_as_they_are(tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    plan = chosen("features", path, "resnet20")

    def keeps(asked: Recipe) -> bool:
        return isinstance(assemble(asked, data=data()).run.loader.plan.train, FeatureSource)

    assert keeps(plan)
    assert keeps(plan.with_("label_smoothing(smoothing=0.2)", "ema", "balanced_sampling"))
    assert not keeps(plan.with_("flip"))
    assert not keeps(plan.with_("brightness"))
    assert not keeps(plan.with_("blur"))
    assert not keeps(plan.with_("mixup"))
    assert not keeps(plan.with_("freeze(last=1)"))
    assert not keeps(transfer_recipe("random_features").changed(model="resnet20", batch_size=8).with_("init"))
    assert not keeps(chosen("finetune", path, "resnet20"))


def test_a_predictor_that_looks_at_pictures_in_its_own_way_gets_pictures(tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    plan = chosen("features", path, "resnet20", epochs=1).with_("test_time_augmentation")
    run = fit(plan, data=data(), output=tmp_path)
    mean = np.float32(run.splits["val"]["accuracy"]["value"])  # the same mean, of float32 values
    assert read(run)[-1]["val_accuracy"] == float(mean)


def test_a_run_of_kept_features_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    plan = chosen("features", path, "resnet20", epochs=4)
    whole = fit(plan, data=data(), output=tmp_path / "whole")
    half = fit(plan.changed(epochs=2), data=data(), output=tmp_path / "half")
    longer = fit(resume=half.path, extend=4, data=data())
    again = fit(resume=fit(plan.changed(epochs=2), data=data(), output=tmp_path / "again").path, extend=4, data=data())
    one, other, third = (load_file(r.path / "bundle" / "model.safetensors") for r in (longer, again, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(one[name], third[name]) for name in one if name.startswith("backbone."))


@pytest.mark.parametrize("way", ["features(kind='mlp', hidden=16)", "features(stage=1, pool='avg_max')"])
def test_a_head_of_another_kind_or_stage_is_bundled(way: str, tmp_path: Path) -> None:
    from netwright.bundle.predictor import load

    path = weights(tmp_path, "resnet20")
    run = fit(chosen(way, path, "resnet20"), data=data(), output=tmp_path)
    predictor = load(run.path)
    images, _ = pictures(4, 9)
    assert len(predictor.predict(list(images))) == 4


def test_ways_are_recipes_with_their_tricks() -> None:
    assert transfer_recipe("features", "w.pt").tricks == ("freeze", "head(norm='batch', power=0.5)", "label_smoothing")
    assert transfer_recipe("features(kind='mlp')", "w.pt").tricks[1] == "head(kind='mlp', norm='batch', power=0.5)"
    assert "freeze(last=2)" in transfer_recipe("partial(last=2)", "w.pt").tricks
    assert "layer_decay(decay=0.5)" in transfer_recipe("finetune(decay=0.5)", "w.pt").tricks
    assert "gradual_unfreeze" in transfer_recipe("gradual_unfreeze", "w.pt").tricks
    assert transfer_recipe("random_features").weights is None
    assert transfer_recipe("scratch").tricks == recipe("modern").tricks
    for way in WAYS:
        given = None if way in ("random_features", "scratch") else "w.pt"
        assert transfer_recipe(way, given).name == way


def test_mistakes_say_what_to_do() -> None:
    with pytest.raises(NetwrightError, match="unknown way to transfer 'featurs'") as error:
        transfer_recipe("featurs", "w.pt")
    assert "'features'" in error.value.fix
    with pytest.raises(NetwrightError, match="finetune has nothing to transfer") as error:
        transfer_recipe("finetune")
    assert "--weights" in error.value.fix
    with pytest.raises(NetwrightError, match="takes no weights"):
        transfer_recipe("random_features", "w.pt")
    with pytest.raises(NetwrightError, match="lst"):
        transfer_recipe("partial(lst=2)", "w.pt")
    with pytest.raises(NetwrightError, match="unknown option of scratch 'x'"):
        transfer_recipe("scratch(x=1)")
