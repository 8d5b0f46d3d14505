"""What comes in a file is data: it runs no code, takes no memory out of proportion, and names nothing but what we list.

Every evil file would leave a mark if it were believed, and every door that reads such files is tried with it.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from netwright import NetwrightError, fit, load, recipe
from netwright.cli.main import code_of
from netwright.data import open_data
from netwright.engine.checkpoint import read_checkpoint
from netwright.models import create_model
from netwright.recipes._recipe import read_recipe
from tests.conftest import COLOURS, photo

MODEL = "mlp(widths=(8,))"


class Trap:
    """Its pickle, once believed, makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


class EvalTrap(Trap):
    """The same by Python's own means."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.mark)!r}, 'w').close()",)


def in_a_tar(trap: Trap) -> bytes:
    """As torch wrote weights before version 0.1.10."""
    buffer, content = io.BytesIO(), pickle.dumps(trap, 2)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def by_torch(content: Any, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WEIGHTS: dict[str, Callable[[Path], bytes]] = {
    "zip.pt": lambda mark: by_torch({"state_dict": Trap(mark)}, zipped=True),
    "among_tensors.pth": lambda mark: by_torch({"w": torch.ones(2), "epoch": EvalTrap(mark)}, zipped=True),
    "legacy.pth": lambda mark: by_torch({"model": Trap(mark)}, zipped=False),
    "plain.pt": lambda mark: pickle.dumps(Trap(mark), 2),
    "newest_protocol.th": lambda mark: pickle.dumps({"state_dict": EvalTrap(mark)}, 5),
    "tar.pt": lambda mark: in_a_tar(Trap(mark)),
    "hub.bin": lambda mark: by_torch(Trap(mark), zipped=True),
    "lightning.ckpt": lambda mark: by_torch({"hyper_parameters": Trap(mark)}, zipped=True),
    "disguised.safetensors": lambda mark: pickle.dumps(Trap(mark)),
    "zip_disguised.safetensors": lambda mark: by_torch(Trap(mark), zipped=True),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a bundle and checkpoints, to be copied before it is spoilt."""
    root = tmp_path_factory.mktemp("loading")
    os.environ["NETWRIGHT_CACHE"], before = str(root / "cache"), os.environ.get("NETWRIGHT_CACHE", "")
    chosen = recipe("digits", model=MODEL, epochs=1, device="cpu", threads=1, precision="fp32")
    run = fit(chosen, output=root / "runs").path
    os.environ["NETWRIGHT_CACHE"] = before
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return photo(tmp_path / "pictures" / "0" / "a.png", COLOURS["red"], seed=1)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a call says that must end as a user's mistake does."""
    code = code_of([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert code == 2, said
    assert said.startswith(("error: ", "left out: "))
    assert "Traceback" not in said
    return said


def test_the_traps_work(mark: Path) -> None:
    """Else the tests below would prove nothing."""
    for trap in (Trap, EvalTrap):
        pickle.loads(pickle.dumps(trap(mark)))
        assert mark.exists()
        mark.unlink()
    torch.load(io.BytesIO(WEIGHTS["zip.pt"](mark)), weights_only=False)
    assert mark.exists()


@pytest.mark.fault(64, "ten kinds of weights files with code inside run none of it, and are refused with a fix")
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_run_no_code(name: str, mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_bytes(WEIGHTS[name](mark))
    said = refused(capsys, "train", "digits", "--model", MODEL, "--weights", path, "--output", tmp_path / "runs")
    assert "fix: " in said
    with pytest.raises(NetwrightError) as caught:
        create_model(MODEL, weights=path)
    assert caught.value.fix
    assert not mark.exists()


@pytest.mark.fault(64, "a bundle whose weights are a pickle is refused by load, predict and evaluate")
@pytest.mark.parametrize("name", WEIGHTS)
def test_bundles_run_no_code(
    name: str, run: Path, mark: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "bundle" / "model.safetensors").write_bytes(WEIGHTS[name](mark))
    with pytest.raises(NetwrightError) as caught:
        load(run)
    assert caught.value.fix
    refused(capsys, "predict", run / "bundle", picture)
    refused(capsys, "evaluate", run, picture.parent.parent)
    assert not mark.exists()


@pytest.mark.fault(64, "pickles beside a bundle's own files, or under their names, are not run")
def test_pickles_in_a_run_folder_are_not_run(
    run: Path, mark: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = WEIGHTS["zip.pt"](mark)
    for name in ("model.pt", "model.pth", "pytorch_model.bin", "model.pkl"):
        (run / "bundle" / name).write_bytes(evil)
    assert code_of(["predict", str(run), str(picture)]) == 0
    (run / "bundle" / "bundle.json").write_bytes(pickle.dumps(Trap(mark)))
    refused(capsys, "predict", run, picture)
    np.savez(run / "evaluation.npz", probabilities=np.array([Trap(mark)], object))
    assert code_of(["report", str(run)]) == 0
    (run / "metrics.jsonl").write_bytes(pickle.dumps(Trap(mark)))
    (run / "record.json").write_bytes(pickle.dumps(Trap(mark)))
    for arguments in (["train", "--resume", run], ["verify", run, "--resume"], ["show", run]):
        refused(capsys, *arguments)
    assert code_of(["report", str(run)]) == 0  # of what is left
    assert not mark.exists()


@pytest.mark.fault(64, "a pickle among the checkpoints of a run is left out, even where its checksum is right")
@pytest.mark.parametrize("name", ["zip.pt", "legacy.pth", "plain.pt", "tar.pt"])
def test_checkpoints_run_no_code(name: str, run: Path, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, evil = run / "checkpoints", WEIGHTS[name](mark)
    (state,) = list(folder.glob("step-*.json"))[-1:]
    for path in folder.glob("step-*"):
        path.unlink()
    sealed(state, evil, {"step": 1})
    (folder / name).write_bytes(evil)
    assert "damaged" in refused(capsys, "train", "--resume", run)
    state.write_bytes(evil)
    assert "damaged" in refused(capsys, "train", "--resume", run)
    assert not mark.exists()


def sealed(state: Path, tensors: bytes, tree: Any) -> None:
    """A checkpoint of our own making, all of whose checksums are right."""
    digest = hashlib.sha256(tensors).hexdigest()
    owner = json.loads((state.parent.parent / "record.json").read_bytes())["id"]
    text = json.dumps({"format": 2, "owner": owner, "tensors": digest, "tree": tree})[:-1]
    seal = hashlib.sha256(text.encode()).hexdigest()
    state.write_text(f'{text}, "seal": "{seal}"}}')
    state.with_name(f"{state.stem}-{digest[:8]}.safetensors").write_bytes(tensors)


def test_a_sealed_checkpoint_is_read(tmp_path: Path) -> None:
    """Else `sealed` would be refused for another reason than its tensors."""
    (tmp_path / "record.json").write_text('{"id": "us"}')
    state = tmp_path / "checkpoints" / "step-00000001.json"
    state.parent.mkdir()
    sealed(state, save({"/w": torch.ones(2)}), {"step": 1, "w": {"__tensor__": "/w"}})
    memory, skipped = read_checkpoint(state.parent, owner="us")
    assert torch.equal(memory["w"], torch.ones(2)) and not skipped


ARRAYS: dict[str, Callable[[Path, Path], object]] = {
    "objects.npz": lambda path, mark: np.savez(path, x_train=np.array([Trap(mark)], object), y_train=np.zeros(1, int)),
    "labels.npz": lambda path, mark: np.savez(
        path, x_train=np.zeros((1, 8, 8), np.uint8), y_train=np.array([EvalTrap(mark)], object)
    ),
    "pickle.npz": lambda path, mark: path.write_bytes(pickle.dumps(Trap(mark))),
    "weights.npz": lambda path, mark: path.write_bytes(WEIGHTS["zip.pt"](mark)),
    "x_train.npy": lambda path, mark: np.save(path, np.array([Trap(mark)], object)),
    "y_train.npy": lambda path, mark: path.write_bytes(pickle.dumps(Trap(mark))),
}


@pytest.mark.fault(64, "arrays with objects inside, or pickles under the name of arrays, run no code")
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_run_no_code(name: str, mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(tmp_path / "x_train.npy", np.zeros((1, 8, 8), np.uint8))
        np.save(tmp_path / "y_train.npy", np.zeros(1, int))
    ARRAYS[name](path, mark)
    with pytest.raises(NetwrightError) as caught:
        open_data(str(path))
    assert caught.value.fix
    refused(capsys, "train", path, "--output", tmp_path / "runs")
    assert not mark.exists()


@pytest.mark.fault(64, "a recipe that is a pickle runs no code")
def test_recipes_run_no_code(mark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, evil in enumerate(WEIGHTS.values()):
        path = tmp_path / f"{number}.json"
        path.write_bytes(evil(mark))
        with pytest.raises(NetwrightError):
            read_recipe(path)
        refused(capsys, "train", "digits", "--recipe", path)
    assert not mark.exists()


CANARY = "canary_that_nobody_imports"
NAMES = {
    "a function of a module": "os.system('true')",
    "a built-in": "builtins.eval('1')",
    "a class of torch": "torch.nn.Linear(in_features=1, out_features=1)",
    "a module": CANARY,
    "a thing in a module": f"{CANARY}.Thing",
    "a thing as an entry point": f"{CANARY}:Thing",
    "a path": f"../../{CANARY}",
    "a path below": f"sgd/../../{CANARY}",
    "a package's own file": "__init__",
    "a file that is no entry": "_timm",
    "an attribute": "sgd.__class__",
    "an absolute path": f"/tmp/{CANARY}",
    "a dunder": "__import__",
    "a call as an option": "sgd(lr=__import__('os').getpid())",
}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: Path) -> str:
    """A module that could be imported, and leaves a mark when it is."""
    (tmp_path / f"{CANARY}.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return CANARY


@pytest.mark.fault(66, "a name in a recipe that is none of ours imports and calls nothing; what is allowed is said")
@pytest.mark.parametrize("field", ["model", "optimizer", "schedule", "task", "tricks"])
@pytest.mark.parametrize("kind", NAMES)
def test_names_in_a_recipe(field: str, kind: str, canary: str, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = [NAMES[kind]] if field == "tricks" else NAMES[kind]
    path = Path("evil.json")
    for content in ({field: value}, {"recipe": {field: value}, "sources": {field: "user"}}):
        path.write_text(json.dumps(content))
        assert "fix: " in refused(capsys, "train", "digits", "--recipe", path, "--output", "runs")
    assert canary not in sys.modules and not mark.exists()
    assert not Path("runs").exists()


@pytest.mark.fault(66, "`_target_` and other fields that would name a class are no fields of a recipe")
@pytest.mark.parametrize("key", ["_target_", "_partial_", "class_name", "hparams", "__class__", "py/object"])
def test_fields_that_name_a_class(key: str, canary: str, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("evil.json")
    path.write_text(json.dumps({"model": "lenet5", key: f"{canary}.Thing"}))
    assert f"unknown recipe field '{key}'" in refused(capsys, "train", "digits", "--recipe", path)
    for field in ("model", "optimizer", "tricks", "data"):
        path.write_text(json.dumps({field: {key: f"{canary}.Thing"}}))
        refused(capsys, "train", "--recipe", path, "--output", "runs")
    assert canary not in sys.modules and not mark.exists()


@pytest.mark.fault(66, "a bundle, record or checkpoint cannot name a class of its own either")
@pytest.mark.parametrize("kind", NAMES)
def test_names_in_a_run_folder(
    kind: str, run: Path, canary: str, mark: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, record = (json.loads((run / name).read_text()) for name in ("bundle/bundle.json", "record.json"))
    for field, value in (("spec", NAMES[kind]), ("structure", [NAMES[kind]])):
        forged = {**card, "model": {**card["model"], field: value}}
        (run / "bundle" / "bundle.json").write_text(json.dumps(forged))
        assert "fix: " in refused(capsys, "predict", run, picture)
    for field, value in (("model", NAMES[kind]), ("tricks", [NAMES[kind]]), ("optimizer", NAMES[kind])):
        forged = {**record, "recipe": {**record["recipe"], field: value}}
        (run / "record.json").write_text(json.dumps(forged))
        assert "fix: " in refused(capsys, "train", "--resume", run)
    assert canary not in sys.modules and not mark.exists()


@pytest.mark.fault(66, "a timm model's options cannot make timm load a file, and a hub's name is no model")
@pytest.mark.parametrize(
    "spec",
    [
        "timm/resnet10t(checkpoint_path='evil.pt')",
        "timm/resnet10t(pretrained=True)",
        "timm/resnet10t(pretrained_cfg={'file': 'evil.pt'})",
        "timm/resnet10t(pretrained_cfg_overlay={'file': 'evil.pt'}, pretrained=True)",
        "timm/hf-hub:somebody/model",
        "timm/hf-hub",
        f"timm/../{CANARY}",
        f"timm/{CANARY}.Thing",
    ],
)
def test_timm_is_given_no_file(spec: str, canary: str, mark: Path) -> None:
    Path("evil.pt").write_bytes(WEIGHTS["zip.pt"](mark))
    with pytest.raises(NetwrightError) as caught:
        create_model(spec)
    assert caught.value.fix
    assert canary not in sys.modules and not mark.exists()
