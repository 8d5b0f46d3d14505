"""What a model looks at in files: of runs, bundles, and models by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from netwright import NetwrightError, fit, load, recipe
from netwright.bundle import seeing
from netwright.bundle.predictor import Predictor
from netwright.models import create_model
from netwright.recipes._samples import keep_picture
from netwright.records.folder import RunFolder
from tests.conftest import COLOURS, photo

NAME = "resnet20(width=4)"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seeing")
    for side, n in (("train", 12), ("val", 4), ("test", 5)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(n):
                photo(root / "photos" / side / name / f"{i}.png", colour, seed=1000 * place + 100 * len(side) + i)
    chosen = recipe("modern", model=NAME, epochs=4, batch_size=12, device="cpu", image_size=32, lr=0.01)
    return fit(chosen, data=str(root / "photos"), output=root / "runs").path


@pytest.fixture
def predictor(run: Path) -> Predictor:
    return load(run, device="cpu")


@pytest.fixture
def red(tmp_path: Path) -> str:
    return str(photo(tmp_path / "red.png", COLOURS["red"], seed=7))


class TestReportOfARun:
    def test_a_run_keeps_what_its_network_sees(self, run: Path) -> None:
        kept = json.loads((run / "samples" / "seeing.json").read_text())
        assert kept["left_out"] == []
        assert len(kept["stages"]) == 3
        files = [kept["kernels"]["file"], kept["example"]["file"], *kept["heats"]]
        files += [each["file"] for each in kept["stages"]]
        files += [each[key] for each in kept["right"] for key in ("file", "heat")]
        assert all((run / "samples" / file).is_file() for file in files)
        saved = np.load(run / "evaluation.npz", allow_pickle=False)
        right = saved["probabilities"].argmax(1) == saved["labels"]
        assert len(kept["right"]) == len(set(saved["labels"][right].tolist()))
        assert len(kept["heats"]) == int((~right).sum())
        text = (run / "report.html").read_text()
        assert "could not be drawn" not in text
        assert "Where it looked when it was right" in text

    def test_occlusion_dreams_and_a_test_of_a_map_are_kept(self, run: Path) -> None:
        kept = json.loads((run / "samples" / "seeing.json").read_text())
        saved = np.load(run / "evaluation.npz", allow_pickle=False)
        guess = saved["probabilities"].argmax(1)
        wrong = int((guess != saved["labels"]).sum())
        occlusion, dreams, tested = kept["occlusion"], kept["dreams"], kept["faithful"]
        assert occlusion["wrong"] == bool(wrong)
        assert occlusion["size"] == occlusion["side"] // 4 == 8
        assert 1 <= len(occlusion["rows"]) <= 4
        files = [row[key] for row in occlusion["rows"] for key in ("file", "heat")] + [
            r["file"] for r in dreams["rows"]
        ]
        assert all((run / "samples" / file).is_file() for file in files)
        assert all(row["fall"] <= row["confidence"] + 1e-5 for row in occlusion["rows"])
        assert [row["class"] for row in dreams["rows"]] == list(COLOURS)[:3] or wrong
        assert all(row["steps"] == 24 for row in dreams["rows"])
        assert len(tested["moved_deletion"]) == 19
        sure = int(np.flatnonzero(saved["names"] == tested["name"])[0])
        right = saved["probabilities"].max(1)[guess == saved["labels"]]
        assert saved["probabilities"][sure].max() == right.max()
        text = (run / "report.html").read_text()
        for told in ("What covering a place costs", "What it looks for", "19 random places"):
            assert told in text

    def test_what_costs_too_much_is_left_to_the_command_line(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("netwright.recipes._seeing.BUDGET", 1)
        monkeypatch.setattr("netwright.recipes._seeing.COVERING", 1)
        chosen = recipe("modern", model=NAME, epochs=1, batch_size=12, device="cpu", image_size=32, lr=0.01)
        made = fit(chosen, data=str(photos), output=tmp_path / "runs").path
        kept = json.loads((made / "samples" / "seeing.json").read_text())
        assert [each["what"] for each in kept["left_out"]] == ["a test of a map", "occlusion", "feature visualisation"]
        assert all("netwright explain does it" in each["why"] for each in kept["left_out"])
        assert not {"occlusion", "dreams", "faithful"} & set(kept)
        assert kept["right"]

    def test_right_pictures_are_those_it_was_surest_of(self, run: Path) -> None:
        kept = json.loads((run / "samples" / "seeing.json").read_text())
        saved = np.load(run / "evaluation.npz", allow_pickle=False)
        classes = json.loads((run / "bundle" / "bundle.json").read_text())["classes"]
        for entry in kept["right"]:
            k = classes.index(entry["truth"])
            mine = (saved["labels"] == k) & (saved["probabilities"].argmax(1) == k)
            assert entry["confidence"] == pytest.approx(saved["probabilities"][mine, k].max())

    def test_mistakes_by_class_are_counted(self, tmp_path: Path, photos: Path) -> None:
        """A network that has learned nothing takes everything for one class."""
        chosen = recipe("modern", model=NAME, epochs=1, batch_size=12, device="cpu", image_size=32, lr=1e-9)
        made = fit(chosen, data=str(photos), output=tmp_path / "runs").path
        rows = json.loads((made / "samples" / "by_class.json").read_text())
        saved = np.load(made / "evaluation.npz", allow_pickle=False)
        wrong = saved["probabilities"].argmax(1) != saved["labels"]
        assert sum(row["wrong"] for row in rows) == wrong.sum() > 0
        assert all(row["n"] == 5 and 1 <= len(row["mistakes"]) <= 3 for row in rows)
        for row in rows:
            sure = [each["confidence"] for each in row["mistakes"]]
            assert sure == sorted(sure, reverse=True)
            assert {each["truth"] for each in row["mistakes"]} == {row["class"]}

    def test_a_network_without_maps_is_trained_and_told(self, photos: Path, tmp_path: Path) -> None:
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
        chosen = recipe("modern", epochs=1, batch_size=12, device="cpu", image_size=16, lr=0.01)
        made = fit(chosen, model=network, data=str(photos), output=tmp_path / "runs").path
        kept = json.loads((made / "samples" / "seeing.json").read_text())
        assert {each["what"] for each in kept["left_out"]} == {"activation maps", "Grad-CAM"}
        text = (made / "report.html").read_text()
        assert "Activation maps and Grad-CAM were left out: Sequential has no feature maps" in text

    def test_nothing_here_ends_a_run(self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*given: Any) -> None:
            raise RuntimeError("out of something\nand more")

        monkeypatch.setattr("netwright.recipes._seeing.Gradcam.heat", broken)
        chosen = recipe("modern", model=NAME, epochs=1, batch_size=12, device="cpu", image_size=32, lr=0.01)
        made = fit(chosen, data=str(photos), output=tmp_path / "runs")
        assert made.record["status"] == "done"
        kept = json.loads((made.path / "samples" / "seeing.json").read_text())
        assert kept["left_out"] == [{"what": "Grad-CAM", "why": "RuntimeError: out of something"}]

    def test_a_users_own_arrays_are_seen_as_well(self, tmp_path: Path) -> None:
        draw = np.random.default_rng(0)
        labels = np.arange(24) % 2
        pictures = (draw.normal(0, 1, (24, 3, 32, 32)) + 2 * labels[:, None, None, None]).astype(np.float32)
        pairs = [(torch.from_numpy(x), int(y)) for x, y in zip(pictures, labels, strict=True)]
        chosen = recipe("modern", model=NAME, epochs=1, batch_size=8, device="cpu", lr=0.01)
        bare = replace_tricks(chosen)
        made = fit(bare, data=(pairs[:16], pairs[16:]), classes=["dark", "light"], output=tmp_path / "runs").path
        kept = json.loads((made / "samples" / "seeing.json").read_text())
        assert kept["left_out"] == []
        with pytest.raises(NetwrightError, match="your own dataset"):
            seeing.explain(load(made, device="cpu"), ["x.png"])


def replace_tricks(chosen: Any) -> Any:
    """Without those that want values in [0, 1]."""
    return chosen.without(*[str(spec).split("(")[0] for spec in chosen.tricks])


def test_the_map_is_on_the_networks_own_view(predictor: Predictor, red: str) -> None:
    (found,) = seeing.explain(predictor, [red]).explanations
    preprocess = predictor.preprocess_or_error()
    assert found.heat is not None
    assert found.heat.shape == found.picture.shape[:2] == (preprocess.image_size,) * 2
    assert np.array_equal(found.picture, preprocess.centre(preprocess.stored(red)))


def test_probabilities_are_those_of_predict(predictor: Predictor, red: str) -> None:
    (found,) = seeing.explain(predictor, [red]).explanations
    (predicted,) = predictor.predict([red])
    assert found.label == predicted.label
    assert found.probability == pytest.approx(predicted.confidence, abs=1e-5)  # fp32 on the same pixels
    other = next(name for name in predictor.classes if name != found.label)
    (asked,) = seeing.explain(predictor, [red], label=other).explanations
    assert asked.probability == pytest.approx(dict(predicted.top)[other], abs=1e-5)
    assert f"most probable: {found.label}" in asked.title


def test_the_checks_are_said_and_saved(predictor: Predictor, red: str, tmp_path: Path) -> None:
    seen = seeing.explain(predictor, [red, red], "occlusion(size=8)", orders=3, shuffled=True)
    document = json.loads(json.dumps(seen.to_json()))
    assert document["method"] == "occlusion(size=8)"
    for each in document["explanations"]:
        assert len(each["faithful"]["moved_deletion"]) == 3
        assert -1 <= each["randomised"]["whole"]["value"] <= 1
    one = seeing.explain(predictor, [red]).save(tmp_path / "one.png")
    both = seen.save(tmp_path / "two.png")
    with Image.open(both) as two, Image.open(one) as single:
        assert two.height > 1.7 * single.height


def test_sheets_of_every_method(predictor: Predictor, red: str, tmp_path: Path) -> None:
    for method, files, label in (
        ("filters", [], None),
        ("activations(channels=2)", [red], None),
        ("dream(steps=2)", [], "red"),
    ):
        seen = seeing.explain(predictor, files, method, label=label)
        assert seen.save(tmp_path / "sheet.png").stat().st_size > 1000
        json.dumps(seen.to_json())
    assert "What class red looks for" in seeing.explain(predictor, [], "dream(steps=2)", label="red").sheets[0].title


@pytest.mark.parametrize(
    ("files", "method", "label", "words"),
    [
        ([], "gradcam", None, "looks at pictures, and none was named"),
        (["RED"], "filters", None, "shows the network itself"),
        (["RED"], "gradcam", "rde", "did you mean 'red'"),
        (["RED"], "gradcan", None, "did you mean 'gradcam'"),
        (["RED"], "gradcam(stage=9)", None, "there is no 9"),
        (["none.png"], "gradcam", None, "none of the pictures could be read"),
        ([], "dream", None, "something to look for"),
        ([], "filters", "red", "the same for every class"),
        ([], "dream(channel=0)", "red", "the same for every class"),
    ],
)
def test_mistakes(predictor: Predictor, red: str, files: list[str], method: str, label: str | None, words: str) -> None:
    with pytest.raises(NetwrightError) as told:
        seeing.explain(predictor, [red if file == "RED" else file for file in files], method, label=label)
    assert words in str(told.value)


def test_one_bad_picture_does_not_cost_the_others(predictor: Predictor, red: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a picture")
    seen = seeing.explain(predictor, [str(bad), red])
    assert [each.name for each in seen.explanations] == [red]
    assert str(bad) in seen.unreadable[0]["name"]


class TestByName:
    def test_a_model_with_weights(self, tmp_path: Path, red: str) -> None:
        network = create_model("resnet20", classes=10)
        save_file(network.state_dict(), tmp_path / "w.safetensors")
        predictor = seeing.opened("resnet20", tmp_path / "w.safetensors", "cpu")
        assert predictor.classes == tuple(map(str, range(10)))
        (found,) = seeing.explain(predictor, [red], label="3").explanations
        assert found.label == "3"

    def test_weights_without_a_head(self, tmp_path: Path) -> None:
        save_file(create_model("resnet20", classes=4).state_dict(), tmp_path / "w.safetensors")
        with pytest.raises(NetwrightError, match="has no head for resnet20"):
            seeing.opened("resnet20", tmp_path / "w.safetensors", "cpu")

    def test_what_is_neither(self, run: Path, tmp_path: Path) -> None:
        for what, weights, words in (
            ("resnet20", None, "model without weights"),
            ("resnet2O", None, "did you mean the model resnet"),
            ("resnet2O", tmp_path / "w.safetensors", "unknown model"),
            (str(tmp_path), None, "no run or bundle"),
            (str(run), tmp_path / "w.safetensors", "has weights of its own"),
        ):
            with pytest.raises(NetwrightError) as told:
                seeing.opened(what, weights, "cpu")
            assert words in str(told.value)


def test_a_wrapped_network_of_several_labels(predictor: Predictor, red: str) -> None:
    subject = replace(seeing.subject_of(predictor), several=True)
    probabilities = subject.probabilities(torch.randn(2, 3, 32, 32))
    assert float(probabilities.sum(1).max()) != pytest.approx(1)


@pytest.mark.data
def test_published_weights_look_at_the_animal(real_data: Path) -> None:
    """The lynx's head is at the right of the middle, the coot in the middle of the lower half."""
    weights = real_data / "weights" / "squeezenet1_0-imagenet-dc.pth"
    predictor = seeing.opened("squeezenet1_0", weights, "cpu")
    names = {"0137_n02018207_American_coot.JPEG": (112, 135), "0287_n02127052_lynx.JPEG": (120, 140)}
    seen = seeing.explain(predictor, [real_data / "imagenet40" / name for name in names])
    for found, (x, y) in zip(seen.explanations, names.values(), strict=True):
        assert found.heat is not None
        assert found.label == Path(found.name).name[:4].lstrip("0")
        row, column = np.unravel_index(int(found.heat.argmax()), found.heat.shape)
        assert abs(int(column) - x) < 32
        assert abs(int(row) - y) < 32


@pytest.mark.parametrize(("side", "kind"), [(32, "png"), (160, "jpg"), (300, "jpg")])
def test_only_small_pictures_are_kept_to_the_pixel(tmp_path: Path, side: int, kind: str) -> None:
    """A report of sixty photos as wide as a thumbnail would take five megabytes as PNG."""
    folder = RunFolder.create(tmp_path, "one")
    file = keep_picture(folder, "one", np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8))
    assert file == f"one.{kind}"
    with Image.open(folder.samples / file) as kept:
        assert kept.size == (160, 160)
