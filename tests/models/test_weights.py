"""Loading weights: what fits is loaded, what does not is said, and code is never run."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._family import Family
from netwright.models._weights import load_weights

NAME = "resnet20(width=4)"


@pytest.fixture
def donor() -> Family:
    torch.manual_seed(1)
    return create_model(NAME)


def assert_same(model: Family, donor: Family, but: str = "-") -> None:
    for name, tensor in donor.state_dict().items():
        assert name.startswith(but) or torch.equal(model.state_dict()[name], tensor), name


def test_safetensors(donor: Family, tmp_path: Path) -> None:
    save_file(donor.state_dict(), tmp_path / "weights.safetensors")
    model = create_model(NAME)
    result = load_weights(model, tmp_path / "weights.safetensors")
    assert_same(model, donor)
    assert result.loaded == list(model.state_dict())
    assert result.missing == result.left_over == result.adapted == []


@pytest.mark.parametrize("wrap", ["state_dict", "model", "state_dict_ema", None])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".th", ".pth", ".pt"])
def test_wrapped_files(donor: Family, tmp_path: Path, wrap: str | None, prefix: str, suffix: str) -> None:
    state = {prefix + name: tensor for name, tensor in donor.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    torch.save({wrap: state, "best": 92.3} if wrap else state, path)
    assert_same(create_model(NAME, weights=path), donor)


def test_files_from_before_batch_counters(donor: Family, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in donor.state_dict().items() if "num_batches" not in name}
    torch.save(dict(state), tmp_path / "old.th")
    model = create_model(NAME)
    result = load_weights(model, tmp_path / "old.th")
    assert_same(model, donor)
    assert result.loaded == list(state)


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_pickle_is_refused(tmp_path: Path) -> None:
    path, mark = tmp_path / "trap.pt", tmp_path / "ran"
    torch.save({"state_dict": Trap(mark)}, path)
    with pytest.raises(NetwrightError, match="more than tensors") as caught:
        create_model(NAME, weights=path)
    assert "safetensors" in caught.value.fix
    assert not mark.exists()


def test_another_number_of_classes_keeps_the_head_fresh(donor: Family, tmp_path: Path) -> None:
    torch.save(donor.state_dict(), tmp_path / "ten.pt")
    model = create_model(NAME, classes=3)
    head = {name: tensor.clone() for name, tensor in model.get_head().state_dict().items()}
    result = load_weights(model, tmp_path / "ten.pt")
    assert result.missing == ["linear.weight", "linear.bias"]
    assert set(result.loaded) | set(result.missing) == set(model.state_dict())
    assert "2 missing and drawn afresh (linear.weight, linear.bias)" in str(result)
    assert_same(model, donor, but="linear")
    assert all(torch.equal(tensor, head[name]) for name, tensor in model.get_head().state_dict().items())


def test_grey_images_get_the_answer_of_the_coloured_model(donor: Family, tmp_path: Path) -> None:
    torch.save(donor.state_dict(), tmp_path / "rgb.pt")
    grey = create_model(NAME, in_channels=1, weights=tmp_path / "rgb.pt").eval()
    x = torch.rand(2, 1, 32, 32)
    assert torch.allclose(grey(x), donor.eval()(x.expand(-1, 3, -1, -1)), atol=1e-4)


def test_more_channels_take_the_colours_in_turn(donor: Family, tmp_path: Path) -> None:
    torch.save(donor.state_dict(), tmp_path / "rgb.pt")
    model = create_model(NAME, in_channels=5)
    result = load_weights(model, tmp_path / "rgb.pt")
    assert result.adapted == ["conv1.weight"]
    assert "1 adapted (conv1.weight)" in str(result)
    kernel = donor.state_dict()["conv1.weight"]
    wanted = torch.cat([kernel, kernel[:, :2]], 1) * 3 / 5
    assert torch.allclose(model.state_dict()["conv1.weight"], wanted)


def test_embeddings_leave_the_head_over(donor: Family, tmp_path: Path) -> None:
    torch.save(donor.state_dict(), tmp_path / "ten.pt")
    model = create_model(NAME, classes=0)
    result = load_weights(model, tmp_path / "ten.pt")
    assert result.left_over == ["linear.weight", "linear.bias"]
    assert_same(model, donor, but="linear")


def test_weights_without_a_head_fit(donor: Family, tmp_path: Path) -> None:
    torch.save(create_model(NAME, classes=0).state_dict(), tmp_path / "headless.pt")
    assert load_weights(create_model(NAME), tmp_path / "headless.pt").missing == ["linear.weight", "linear.bias"]


def test_what_fits_is_taken_when_asked(donor: Family, tmp_path: Path) -> None:
    state = donor.state_dict()
    state["extra.weight"] = state.pop("conv1.weight")
    state["bn1.weight"] = torch.ones(5)
    torch.save(dict(state), tmp_path / "odd.pt")
    model = create_model(NAME)
    result = load_weights(model, tmp_path / "odd.pt", strict=False)
    assert result.missing == ["conv1.weight", "bn1.weight"]
    assert result.left_over == ["extra.weight"]
    assert torch.equal(model.state_dict()["linear.weight"], state["linear.weight"])


@pytest.mark.parametrize("strict", [True, False])
def test_weights_that_share_nothing_are_refused(tmp_path: Path, strict: bool) -> None:
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(NetwrightError, match=r"nothing in .* fits ResNetCifar") as caught:
        create_model(NAME, weights=tmp_path / "other.pt", strict=strict)
    assert "a.weight" in caught.value.problem
    assert "conv1.weight, bn1.weight" in caught.value.problem


@pytest.mark.parametrize("place", [".", "bundle"])
def test_a_bundle_or_run_gives_its_weights_and_moments(donor: Family, tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    save_file(donor.state_dict(), folder / "model.safetensors")
    (folder / "bundle.json").write_text('{"preprocess": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}')
    model = create_model(NAME)
    result = load_weights(model, tmp_path)
    assert_same(model, donor)
    assert result.moments == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "the bundle's")


def test_weights_of_another_model_are_refused_and_nothing_changes(donor: Family, tmp_path: Path) -> None:
    state = donor.state_dict()
    state["extra.weight"] = state.pop("conv1.weight")
    state["bn1.weight"] = torch.ones(5)
    torch.save(dict(state), tmp_path / "odd.pt")
    model = create_model(NAME)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(NetwrightError) as caught:
        load_weights(model, tmp_path / "odd.pt")
    for said in (
        "1 missing (conv1.weight)",
        "1 unexpected (extra.weight)",
        "1 of another shape (bn1.weight: 5, not 4)",
    ):
        assert said in caught.value.problem
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_long_lists_of_names_are_cut(donor: Family, tmp_path: Path) -> None:
    torch.save(donor.state_dict(), tmp_path / "shallow.pt")
    with pytest.raises(NetwrightError, match=r"missing \(.*more\)"):
        create_model("resnet32(width=4)", weights=tmp_path / "shallow.pt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="no weights file") as caught:
        create_model(NAME, weights=tmp_path / "none.pt")
    assert "imagenet" in caught.value.fix


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".th"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short", bytes(64)])
def test_a_damaged_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(NetwrightError) as caught:
        create_model(NAME, weights=path)
    assert caught.value.fix


def test_other_kinds_of_file(tmp_path: Path) -> None:
    (tmp_path / "weights.dat").write_bytes(bytes(9))
    with pytest.raises(NetwrightError, match="cannot tell what"):
        create_model(NAME, weights=tmp_path / "weights.dat")
    for content in ({}, [1, 2], {"epoch": 3}):
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(NetwrightError, match="no state_dict"):
            create_model(NAME, weights=tmp_path / "weights.pt")


def test_models_without_a_reference_have_no_imagenet_weights() -> None:
    with pytest.raises(NetwrightError, match="nobody publishes"):
        create_model("resnet20", weights="imagenet")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's cache, in a folder of the test's own."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def published_file(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, torch.nn.Module]:
    """A file as torchvision would have fetched it, with random weights and the checksum of its content in its name."""
    torch.manual_seed(2)
    donor = torchvision.models.get_model(name)
    torch.save(donor.state_dict(), folder / "made.pth")
    digest = hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()[:8]
    path = (folder / "made.pth").rename(folder / f"{name}-{digest}.pth")
    weights = torchvision.models.get_model_weights(name)["DEFAULT"]
    monkeypatch.setattr(weights, "_value_", replace(weights.value, url=f"https://published.invalid/{path.name}"))
    return path, donor


def test_imagenet_weights_are_the_references_published_file(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, donor = published_file(hub, "resnet18", monkeypatch)
    model = create_model("resnet18", classes=5)
    result = load_weights(model, "imagenet")
    assert torch.equal(model.state_dict()["layer4.1.conv2.weight"], donor.layer4[1].conv2.weight)
    assert result.missing == ["fc.weight", "fc.bias"]
    assert result.moments == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet's")


def test_a_published_file_that_was_changed_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = published_file(hub, "resnet18", monkeypatch)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(NetwrightError, match="not what was published") as caught:
        create_model("resnet18", weights="imagenet")
    assert "delete it" in caught.value.fix


def test_without_a_network_it_says_which_file_to_place_where(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(NetwrightError, match=r"torchvision/resnet18.*no network") as caught:
        create_model("resnet18", weights="imagenet")
    weights = torchvision.models.get_model_weights("resnet18")["DEFAULT"]
    assert weights.url in caught.value.fix
    assert str(hub / Path(weights.url).name) in caught.value.fix


def test_the_hub_is_asked_for_safetensors_and_moments(
    donor: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(donor.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}}')
    asked: list[tuple[str, str, str | None]] = []

    def fetch(repository: str, file: str, revision: str | None = None) -> str:
        asked.append((repository, file, revision))
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    model = create_model(NAME)
    result = load_weights(model, "hf-hub:somebody/resnet20@v2")
    assert_same(model, donor)
    assert result.moments[:2] == ((0.5,) * 3, (0.2,) * 3)
    assert asked[0] == ("somebody/resnet20", "model.safetensors", "v2")


def test_an_unreachable_hub_says_which_file_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(NetwrightError, match="cannot download hf-hub:somebody/resnet20") as caught:
        create_model(NAME, weights="hf-hub:somebody/resnet20")
    assert "somebody/resnet20/resolve/main/model.safetensors" in caught.value.fix


@pytest.mark.data
def test_resnet20_reaches_its_accuracy_on_cifar10() -> None:
    folder = os.environ.get("NETWRIGHT_DATA")
    if folder is None:
        pytest.skip("NETWRIGHT_DATA names no data folder")
    model = create_model("resnet20", weights=Path(folder) / "weights" / "resnet20-12fca82f.th").eval()
    data = np.load(Path(folder) / "cifar10_12k" / "cifar10_12k.npz")
    x = torch.from_numpy(data["x_test"]).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        guesses = torch.cat([model(part).argmax(1) for part in x.split(250)])
    accuracy = (guesses == torch.from_numpy(data["y_test"])).float().mean().item()
    assert accuracy >= 0.92
