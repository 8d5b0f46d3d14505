"""Transfer, end to end: what stands still stands still to the last bit, and kept features give the live ones' run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from netwright.core.errors import NetwrightError
from netwright.data import from_arrays
from netwright.data.features import FeatureSource
from netwright.models import create_model
from netwright.nn.headed import Headed
from netwright.recipes import _assemble, _room
from netwright.recipes._assemble import assemble
from netwright.recipes._fit import fit
from netwright.recipes._recipe import Recipe, recipe
from netwright.recipes._transfer import WAYS, transfer_recipe
from tests.support import untimed

CLASSES = ("ant", "bee", "cat")

pytestmark = pytest.mark.usefixtures("no_reports")


def pictures(n: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    images = draw.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    images[..., 0] = images[..., 0] // 4 + 60 * labels[:, None, None]
    return images, labels


def data(size: int = 32, n: int = 40) -> Any:
    return from_arrays(
        train=pictures(n, 0, size), val=pictures(n // 2, 1, size), test=pictures(n // 2, 2, size), classes=CLASSES
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


FAMILIES = ("resnet20", "squeezenet1_1", "mobilenet_v2", "convnext_tiny", "googlenet")


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "fp32") for name in FAMILIES), *((name, "bf16") for name in FAMILIES[:2])]
)
def test_kept_features_give_the_run_that_live_ones_give(name: str, precision: str, tmp_path: Path) -> None:
    path = weights(tmp_path, name)
    plan = chosen("features", path, name, precision=precision, epochs=1)
    few = data(n=16)
    kept = fit(plan, data=few, output=tmp_path / "kept")
    live = fit(plan.with_("freeze(cache=False)"), data=few, output=tmp_path / "live")
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


class Own(Dataset[Any]):
    """A user's own floats C H W, perhaps mirrored at random as torchvision's transforms do it."""

    classes = CLASSES

    def __init__(self, n: int, *, mirrored: float = 0.0) -> None:
        images, self.targets = pictures(n, n)
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        self.mirrored = mirrored

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        image = self.images[place]
        return image.flip(2) if torch.rand(()) < self.mirrored else image, int(self.targets[place])


def test_a_dataset_that_draws_its_pictures_is_seen_anew_in_every_epoch(tmp_path: Path) -> None:
    """Mirroring changes no mean: what is compared are the pictures themselves."""
    plan = chosen("features", weights(tmp_path, "resnet20"), "resnet20")
    # All of them mirrored is no chance either.
    found = {mirrored: assemble(plan, data=(Own(24, mirrored=mirrored), Own(12))) for mirrored in (0.0, 0.5, 1.0)}
    kept = {mirrored: isinstance(parts.run.loader.plan.train, FeatureSource) for mirrored, parts in found.items()}
    assert kept == {0.0: True, 0.5: False, 1.0: True}
    said = {mirrored: "computed anew" in str(parts.inputs.record["notes"]) for mirrored, parts in found.items()}
    assert said == {0.0: False, 0.5: True, 1.0: False}
    loader = found[0.5].run.loader
    first, second = (
        {int(i): x for raw in loader.epoch(e) for i, x in zip(raw.id, raw.image, strict=True)} for e in (0, 1)
    )
    assert any(not torch.equal(first[place], second[place]) for place in first)
    drawn = fit(plan, data=(Own(24, mirrored=0.5), Own(12)), output=tmp_path / "drawn")
    live = fit(plan.with_("freeze(cache=False)"), data=(Own(24, mirrored=0.5), Own(12)), output=tmp_path / "live")
    assert untimed(read(drawn)) == untimed(read(live))


def test_looking_whether_pictures_are_drawn_disturbs_no_run(tmp_path: Path) -> None:
    inputs = assemble(chosen("features", weights(tmp_path, "resnet20"), "resnet20"), data=(Own(24), Own(12))).inputs
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert inputs.stays("train")
    assert torch.equal(torch.rand(3), expected)


def kept_in(cache: Path) -> set[str]:
    return {path.name for path in (cache / "features").glob("*")}


def test_what_only_the_head_does_lets_kept_features_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    plan = chosen("features", weights(tmp_path, "resnet20"), "resnet20")
    opened = data()

    def features(asked: Recipe) -> torch.Tensor:
        return assemble(asked, data=opened).run.loader.plan.train.held.image

    first = features(plan)
    assert len(kept := kept_in(tmp_path / "cache")) == 1
    seen: list[int] = []
    through = Headed._seen
    monkeypatch.setattr(Headed, "_seen", lambda self, x: (seen.append(len(x)), through(self, x))[1])
    for other in (
        plan.with_("label_smoothing(smoothing=0.3)", "ema"),
        plan.with_("head(kind='mlp', hidden=8, dropout=0.2)"),
        plan.changed(optimizer="sgd(lr=0.1)", epochs=7),
    ):
        assert torch.equal(features(other), first)
    assert kept_in(tmp_path / "cache") == kept
    assert set(seen) == {1}  # to learn what pictures cost, and of the noise that tells one computer from another
    features(plan.changed(model="resnet20(activation='gelu')"))
    assert len(kept_in(tmp_path / "cache")) == 2


def test_the_largest_batch_is_found_without_features_of_whole_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    opened, seen = data(), []
    through = Headed._seen
    monkeypatch.setattr(Headed, "_seen", lambda self, x: (seen.append(len(x)), through(self, x))[1])
    plan = chosen("features", weights(tmp_path, "resnet20"), "resnet20", batch_size="largest")
    parts = assemble(plan, data=opened)
    size = int(parts.recipe.batch_size)
    assert size == 32
    trials = [1 << exponent for exponent in range(6)]
    assert sum(seen) <= 1 + sum(min(2 * each, 40) + min(2 * each, 20) for each in trials)
    assert not (tmp_path / "cache" / "features").exists()
    seen.clear()
    assert len(parts.run.loader.plan.train.held.image) == 40
    assert sum(seen) == 1 + 2 * size  # the probe, and one pass; the last batch is filled up
    assert len(kept_in(tmp_path / "cache")) == 1


def test_memory_is_asked_for_what_a_frozen_run_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Any]] = []
    monkeypatch.setattr(_assemble, "refuse_too_large", lambda *given, **named: asked.append((given, named)))
    path = weights(tmp_path, "resnet20")
    plan, opened = chosen("features", path, "resnet20"), data()
    for each in (plan, plan.with_("flip"), plan.with_("accumulate(parts=4)"), chosen("finetune", path, "resnet20")):
        assemble(each.changed(optimizer="sgd"), data=opened)
    (kept, live, parted, finetuned) = asked
    assert kept[0][0] == live[0][0] == 3 * 65  # the new head's alone
    assert finetuned[0][0] > 250_000
    assert kept[0][2] == live[0][2] < finetuned[0][2] / 4  # nothing is held for gradients
    assert kept[0][3] == parted[0][3] == 16  # a batch of evaluation, which is not taken in parts
    assert kept[1]["features"] == (40 + 20) * 64 * 4
    assert live[1]["features"] == 0
    assert "features" not in finetuned[1]


def test_what_is_advised_against_a_lack_of_memory_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    mega = 2**20
    monkeypatch.setattr(_room, "left", lambda: 50.0 * mega)
    with pytest.raises(NetwrightError, match="12 MB of it whatever the batch") as caught:
        _room.refuse_too_large(mega, {}, mega, 100, 1, features=4 * mega)
    assert caught.value.fix == "--batch-size 16"  # evaluation takes 32 of the 33 that fit
    _room.refuse_too_large(mega, {}, mega, 32, 1, features=4 * mega)
    with pytest.raises(NetwrightError) as caught:
        _room.refuse_too_large(mega, {}, 40 * mega, 2, 1, features=0)
    assert "smaller --image-size" in caught.value.fix


def test_a_predictor_that_looks_at_pictures_in_its_own_way_gets_pictures(tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    plan = chosen("features", path, "resnet20", epochs=1).with_("test_time_augmentation")
    run = fit(plan, data=data(), output=tmp_path)
    mean = np.float32(run.splits["val"]["accuracy"]["value"])  # the same mean, of float32 values
    assert read(run)[-1]["val_accuracy"] == float(mean)


def test_a_run_of_kept_features_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet20")
    # Of a schedule that does not go by how long the run is, the first half of a run is a run of half the length.
    plan = chosen("features", path, "resnet20", epochs=4, schedule="constant")
    whole = fit(plan, data=data(), output=tmp_path / "whole")
    half = fit(plan.changed(epochs=2), data=data(), output=tmp_path / "half")
    before = load_file(half.path / "bundle" / "model.safetensors")
    longer = fit(resume=half.path, extend=4, data=data())
    one, other = (load_file(run.path / "bundle" / "model.safetensors") for run in (longer, whole))
    assert one.keys() == other.keys() == before.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert {name for name in one if not torch.equal(one[name], before[name])} >= {"head.2.weight", "head.2.bias"}


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
    assert transfer_recipe("scratch").tricks == recipe("modern").with_("head(norm='batch', power=0.5)").tricks
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
    with pytest.raises(NetwrightError, match="unknown option of head 'x'"):
        transfer_recipe("scratch(x=1)")
