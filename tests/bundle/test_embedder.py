"""Pictures as vectors: the network without its head, the same for a query as for a gallery, and what made them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netwright import NetwrightError, fit, recipe
from netwright.bundle import embedder as module
from netwright.bundle.embed import blobs_of, embed, listed_pictures
from netwright.bundle.embedder import Embedder, headless, make_embedder, remade
from netwright.models import create_model
from netwright.nn.digest import digest
from netwright.nn.headed import Headed, pooled
from netwright.records.vectors import Vectors, read_vectors, write_vectors
from netwright.tricks.test_time_augmentation import Views
from tests.conftest import COLOURS, photo

SMALL = "resnet20(width=4)"
HEADS = (
    "lenet5", SMALL, "squeezenet1_0", "densenet40_k12(layers=(2, 2, 2))", "mobilenet_v2", "mlp(image_size=32)",
    "googlenet", "convnext_tiny(layers=(1, 1, 1, 1))",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose bundle wraps its network in test-time augmentation; its pictures lie beside it."""
    root = tmp_path_factory.mktemp("embedder")
    for side, n in (("train", 12), ("val", 4), ("test", 5)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(n):
                photo(root / "photos" / side / name / f"{i}.png", colour, seed=1000 * place + 100 * len(side) + i)
    chosen = recipe("modern", model=SMALL, epochs=2, batch_size=12, device="cpu", image_size=32, lr=0.01)
    return fit(chosen.with_("test_time_augmentation"), data=str(root / "photos"), output=root / "runs").path


def pictures(run: Path) -> str:
    return str(run.parents[1] / "photos")


def made(**options: Any) -> Embedder:
    return make_embedder(SMALL, weights="random", device="cpu", **options)


def values(n: int = 2, side: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", HEADS)
@torch.inference_mode()
def test_without_its_head_a_network_gives_what_one_built_without_gives(name: str) -> None:
    torch.manual_seed(0)
    whole = create_model(name, classes=7).eval()
    bare = create_model(name, classes=0).eval()
    held = bare.state_dict()
    bare.load_state_dict({**held, **{key: value for key, value in whole.state_dict().items() if key in held}})
    channels = next(p for p in whole.parameters() if p.dim() > 1).shape[1] if name == "lenet5" else 3
    x = values(1, 32 if "20" in name or name.startswith(("lenet", "mlp", "densenet40")) else 64, channels)
    assert torch.equal(headless(whole)(x).flatten(1), bare(x).flatten(1))


@torch.inference_mode()
def test_a_head_of_its_own_is_left_out_and_views_are_taken_off() -> None:
    backbone = create_model(SMALL, classes=0)
    for headed in (Headed(backbone, nn.Linear(16, 3)), Headed(backbone, nn.Linear(8, 3), stage=1, pool="max")):
        wrapped = Views(headed, flip=True, shift=0).eval()
        assert headless(wrapped) is headed
    with pytest.raises(NetwrightError, match="says which part is its head"):
        headless(nn.Linear(2, 2))


@torch.inference_mode()
def test_a_stage_is_pooled() -> None:
    x = values(2, 32)
    network: Any = create_model(SMALL, classes=0).eval()
    maps = network.stages(x)
    embedder = made(image_size=32)
    embedder.features.network.load_state_dict(network.state_dict())
    for stage, kind in ((0, "avg"), (-1, "max"), (1, "avg_max")):
        features = replace_stage(embedder, stage, kind)
        assert torch.equal(features(x), pooled(maps[stage], kind))


def replace_stage(embedder: Embedder, stage: int, kind: Any) -> nn.Module:
    embedder.features.stage, embedder.features.pool = stage, kind
    return embedder.features


def test_a_runs_vectors_are_its_networks_own(run: Path, tmp_path: Path) -> None:
    embedder = make_embedder(str(run), device="cpu")
    vectors, _ = embed(embedder, [pictures(run)], batch_size=7)
    assert len(vectors) == 63
    assert vectors.dimension == 16
    assert sorted(set(vectors.splits)) == ["test", "train", "val"]
    assert sorted(set(vectors.labels)) == sorted(COLOURS)
    assert len(set(vectors.ids)) == 63
    assert all(len(each) == 64 for each in vectors.ids)
    place = list(vectors.names).index("test/red/3.png")
    one = embedder.of_file(Path(pictures(run)) / "test/red/3.png")
    # Batches of other sizes may sum in another order.
    np.testing.assert_allclose(one, vectors.matrix[place], rtol=1e-4, atol=1e-5)
    write_vectors(tmp_path / "v.npz", vectors)
    again = remade(read_vectors(tmp_path / "v.npz"), device="cpu")
    assert (again.of_file(Path(pictures(run)) / "test/red/3.png") == one).all()
    assert again.meta["precision"] == vectors.meta["precision"]


def test_the_file_says_what_made_it(run: Path) -> None:
    vectors, _ = embed(make_embedder(str(run), device="cpu", stage=1, pool="avg_max"), [pictures(run)])
    meta: Mapping[str, Any] = vectors.meta
    assert (meta["stage"], meta["pool"], meta["weights"]) == (1, "avg_max", None)
    assert meta["preprocess"]["image_size"] == 32
    assert meta["classes"] == sorted(COLOURS)
    assert meta["data"] == {"name": "photos", "source": pictures(run), "classes": sorted(COLOURS)}
    assert len(meta["digest"]) == 64


def test_the_digest_is_of_the_weights(run: Path) -> None:
    one, other = made(), made()
    assert one.meta["digest"] == other.meta["digest"]  # random, and the same each time
    with torch.no_grad():
        next(other.features.parameters()).view(-1)[0] += 1
    assert digest(other.features.network.state_dict()) != one.meta["digest"]


def test_random_weights_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    made()
    assert torch.equal(torch.rand(3), before)


def test_a_network_that_is_another_one_is_refused(run: Path, tmp_path: Path) -> None:
    vectors, _ = embed(made(image_size=32), [pictures(run)])
    for model in (str(run), None):
        forged = replace(vectors, meta={**vectors.meta, "digest": "0" * 64})
        with pytest.raises(NetwrightError, match="is not the one that made these vectors") as told:
            remade(forged, model=model, device="cpu")
        assert "--model RUN" in told.value.fix


def test_a_run_that_has_moved_is_asked_for(run: Path, tmp_path: Path) -> None:
    vectors, _ = embed(make_embedder(str(run), device="cpu"), [pictures(run)])
    moved = replace(vectors, meta={**vectors.meta, "model": str(tmp_path / "gone")})
    with pytest.raises(NetwrightError, match="is not at"):
        remade(moved, device="cpu")
    assert remade(moved, model=str(run), device="cpu").meta["digest"] == vectors.meta["digest"]


def test_weights_that_have_moved_are_taken_from_where_they_are(run: Path, tmp_path: Path) -> None:
    torch.save(create_model(SMALL, classes=4).state_dict(), tmp_path / "w.pth")
    vectors, _ = embed(
        make_embedder(SMALL, weights=str(tmp_path / "w.pth"), device="cpu", image_size=32), [pictures(run)]
    )
    (tmp_path / "w.pth").rename(tmp_path / "moved.pth")
    with pytest.raises(NetwrightError, match="no weights file"):
        remade(vectors, device="cpu")
    assert remade(vectors, model=str(tmp_path / "moved.pth"), device="cpu").meta["digest"] == vectors.meta["digest"]


@pytest.mark.parametrize("lost", ["model", "weights", "stage", "pool", "preprocess", "precision", "digest", "data"])
@pytest.mark.parametrize("value", [7.5, ["x"], {"a": 1}])
def test_forged_facts_are_told(lost: str, value: Any) -> None:
    vectors = Vectors(["a"], np.ones((1, 16), np.float32), [""], [""], [""], {**made().meta, lost: value})
    with pytest.raises(NetwrightError) as told:
        remade(vectors, device="cpu")
    assert told.value.fix


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"precision": "fp4"}, "precision cannot be 'fp4'"),
        ({"precision": "auto"}, "precision cannot be 'auto'"),
        ({"pool": "mean"}, "pool cannot be 'mean'"),
        ({"stage": True}, "stage cannot be True"),
        ({"image_size": 2_000_000, "stored_size": 2_000_000}, "image_size cannot be 2000000"),
        ({"stored_size": 2_000_000}, "stored_size cannot be 2000000"),
        ({"std": [0.0, 1.0, 1.0]}, "std cannot be"),
        ({"fit": "bend"}, "bend"),
        ({"channels": 1, "mean": [0.5], "std": [0.5]}, "3 channels"),
        ({"data": {"name": 3}}, "data.lacks"),
        ({"data": {"name": 3, "source": "x", "classes": []}}, "data.name cannot be 3"),
    ],
)
def test_facts_that_no_file_of_ours_has_are_told(facts: dict[str, Any], says: str) -> None:
    meta = made(image_size=32).meta
    prepared = {name: value for name, value in facts.items() if name in meta["preprocess"]}
    rest = {name: value for name, value in facts.items() if name not in prepared}
    forged = {**meta, **rest, "preprocess": {**meta["preprocess"], **prepared}}
    with pytest.raises(NetwrightError) as told:
        remade(Vectors(["a"], np.ones((1, 16), np.float32), [""], [""], [""], forged), device="cpu")
    assert says in told.value.problem
    assert "damaged or forged" in told.value.fix


def test_only_a_user_may_ask_for_weights_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetched(network: nn.Module, weights: str) -> Any:
        asked.append(weights)
        raise NetwrightError("no network", "none")

    monkeypatch.setattr(module, "load_weights", fetched)
    meta = {**made().meta, "weights": "hf-hub:nobody/none"}
    vectors = Vectors(["a"], np.ones((1, 16), np.float32), [""], [""], [""], meta)
    with pytest.raises(NetwrightError, match="anybody may have made") as told:
        remade(vectors, device="cpu")
    assert "--model hf-hub:nobody/none" in told.value.fix
    assert asked == []
    with pytest.raises(NetwrightError, match="no network"):
        remade(vectors, model="hf-hub:nobody/none", device="cpu")
    assert asked == ["hf-hub:nobody/none"]


def test_a_place_longer_than_any_path_is_nowhere() -> None:
    far = {"name": "a", "source": "x" * 5000, "classes": []}
    assert blobs_of(Vectors(["a"], np.ones((1, 2), np.float32), [""], [""], [""], {"data": far}), None) is None
    meta = {**made().meta, "model": "x" * 5000, "weights": None}
    with pytest.raises(NetwrightError):
        remade(Vectors(["a"], np.ones((1, 2), np.float32), [""], [""], [""], meta), device="cpu")


def test_a_precision_and_a_size_that_no_file_may_have_are_refused_at_once() -> None:
    for wrong in ({"precision": "fp4"}, {"image_size": 2_000_000}, {"image_size": 0}):
        with pytest.raises(NetwrightError, match="cannot be"):
            made(**wrong)


def test_splits_are_those_that_the_data_has(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        for i in range(12):
            photo(tmp_path / "plain" / name / f"{i}.png", colour, seed=i)
            photo(tmp_path / "divided" / ("test" if i % 4 == 0 else "train") / name / f"{i}.png", colour, seed=i)
    vectors, notes = embed(made(image_size=32), [str(tmp_path / "plain")])
    assert set(vectors.splits) == {""}
    assert sorted(set(vectors.labels)) == sorted(COLOURS)
    assert not any("split" in note for note in notes)
    vectors, notes = embed(made(image_size=32), [str(tmp_path / "divided")])
    assert [name.split("/")[0] for name in vectors.names] == list(vectors.splits)
    assert not any("held out" in note for note in notes)


def test_a_file_cannot_ask_for_a_network_that_fills_the_memory() -> None:
    forged = {**made().meta, "model": "resnet20(width=40000)"}
    with pytest.raises(NetwrightError):
        remade(Vectors(["a"], np.ones((1, 16), np.float32), [""], [""], [""], forged), device="cpu")


def test_others_vectors_need_the_network_to_be_named(run: Path) -> None:
    vectors = Vectors(["a"], np.ones((1, 16), np.float32), [""], [""], [""])
    with pytest.raises(NetwrightError, match="do not say which network"):
        remade(vectors)
    assert remade(vectors, model=str(run), device="cpu").of_file(Path(pictures(run)) / "test/red/3.png").shape == (16,)


@pytest.mark.parametrize(
    ("options", "says", "fix"),
    [
        ({"model": SMALL}, "nothing says which weights", "--weights random"),
        ({"model": "resnt20", "weights": "random"}, "unknown model", "resnet20"),
        ({"model": "no/such/run"}, "no run or bundle", "run folder"),
        ({"model": SMALL, "weights": "none.pth"}, "no weights file", "imagenet"),
        ({"model": SMALL, "weights": "random", "pool": "max"}, "nothing to pool", "--stage -1"),
        ({"model": SMALL, "weights": "random", "stage": 1, "pool": "mean"}, "unknown pooling", "avg"),
        ({"model": "resnet20(in_channels=4)", "weights": "random"}, "4 channels", "in_channels=1"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], says: str, fix: str) -> None:
    with pytest.raises(NetwrightError) as told:
        make_embedder(**options, device="cpu")
    assert says in told.value.problem
    assert fix in told.value.fix


def test_a_folder_and_weights_are_one_too_many(run: Path) -> None:
    with pytest.raises(NetwrightError, match="weights of its own"):
        make_embedder(str(run), weights="imagenet")


def test_a_stage_that_is_not_there_and_pictures_that_are_too_small(run: Path) -> None:
    with pytest.raises(NetwrightError, match="no stage 9"):
        embed(made(image_size=32, stage=9), [pictures(run)])
    with pytest.raises(NetwrightError, match="at least"):
        embed(make_embedder("squeezenet1_0", weights="random", device="cpu", image_size=8), [pictures(run)])


def test_a_network_that_gives_no_numbers_is_told(run: Path) -> None:
    embedder = made(image_size=32)
    with torch.no_grad():
        next(embedder.features.parameters()).fill_(float("inf"))
    with pytest.raises(NetwrightError, match="not numbers"):
        embed(embedder, [pictures(run)])


def test_pictures_without_labels_one_by_one_and_damaged_ones(tmp_path: Path) -> None:
    for number, colour in enumerate(COLOURS.values()):
        photo(tmp_path / "here" / f"{number}.png", colour, seed=number)
    (tmp_path / "here" / "bad.jpg").write_bytes(b"no picture")
    embedder = made(image_size=32)
    vectors, notes = embed(embedder, [str(tmp_path / "here")])
    assert list(vectors.names) == ["0.png", "1.png", "2.png"]
    assert set(vectors.labels) == set(vectors.splits) == {""}
    assert any("bad.jpg" in note for note in notes)
    two, _ = embed(embedder, [str(tmp_path / "here" / f"{n}.png") for n in (2, 0)])
    assert list(two.names) == ["0.png", "2.png"]
    np.testing.assert_allclose(two.matrix, vectors.matrix[[0, 2]], rtol=1e-4, atol=1e-5)
    with pytest.raises(NetwrightError, match="none of the 1 pictures"):
        embed(embedder, [str(tmp_path / "here" / "bad.jpg")])
    with pytest.raises(NetwrightError, match="does not exist"):
        embed(embedder, [str(tmp_path / "here" / "0.png"), str(tmp_path / "nowhere.png")])
    with pytest.raises(NetwrightError, match="no such file"):
        embedder.of_file(tmp_path / "nowhere.png")
    with pytest.raises(NetwrightError, match="no pictures are named"):
        listed_pictures([])


def test_folders_that_are_no_classes(run: Path) -> None:
    vectors, _ = embed(made(image_size=32), [pictures(run)], plain=True)
    assert len(vectors) == 63
    assert set(vectors.labels) == {""}


def test_the_pictures_are_found_again_where_they_are(run: Path, tmp_path: Path) -> None:
    vectors, _ = embed(made(image_size=32), [pictures(run)])
    found = blobs_of(vectors, None)
    assert found is not None
    blobs, places = found
    assert blobs.read(places["test/red/3.png"]) == (Path(pictures(run)) / "test/red/3.png").read_bytes()
    away = replace(vectors, meta={**vectors.meta, "data": {"source": str(tmp_path / "gone"), "classes": []}})
    assert blobs_of(away, None) is None
    assert blobs_of(away, pictures(run)) is not None
    assert blobs_of(replace(vectors, meta={"data": {"source": "hf:somebody/something"}}), None) is None
    photo(tmp_path / "other" / "a" / "x.png", COLOURS["red"], seed=1)
    with pytest.raises(NetwrightError, match="none of the pictures that were embedded"):
        blobs_of(vectors, str(tmp_path / "other"))


@pytest.mark.data
def test_published_weights_give_vectors_that_know_the_classes(real_data: Path) -> None:
    """The network's own vectors, beside torch's: the last map of its features, averaged."""
    from torchvision.models import squeezenet1_0

    file = real_data / "weights" / "squeezenet1_0-imagenet-dc.pth"
    embedder = make_embedder("squeezenet1_0", weights=str(file), device="cpu", precision="fp32")
    reference = squeezenet1_0()
    reference.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    paths = sorted((real_data / "clothing" / "test" / "hat").iterdir())[:3]
    prepared = embedder.preprocess
    with torch.inference_mode():
        for path in paths:
            stored = prepared.centre(prepared.stored(path))
            x = torch.from_numpy(stored).permute(2, 0, 1)[None].float() / 255
            mean, std = (torch.tensor(each).view(3, 1, 1) for each in (prepared.mean, prepared.std))
            theirs = reference.eval().features((x - mean) / std).mean((2, 3))[0].numpy()
            np.testing.assert_allclose(embedder.of_file(path), theirs, rtol=1e-3, atol=1e-3)
