"""`netwright predict` and `evaluate` with a model that gives each pixel a class: what is printed and written."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from netwright.cli.main import code_of
from netwright.tasks._instances import split_touching
from tests.bundle.test_mask_predictor import COLOURS, bundle, noise, pairs
from tests.cli.test_bad_input import told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(bundle(tmp_path_factory.mktemp("masks") / "run"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    Image.fromarray(noise(40, 30)).save(tmp_path / "in" / "a.png")
    Image.fromarray(noise(21, 33)).save(tmp_path / "in" / "b.png")
    return tmp_path / "in"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert code_of([*arguments, "--device", "cpu"]) == code
    return capsys.readouterr().out


class TestWithoutFolder:
    def test_shares_are_printed_and_how_to_write_masks(
        self, run: str, pictures: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = said(capsys, "predict", run, str(pictures)).splitlines()
        assert lines[0].startswith(f"{pictures / 'a.png'}: ")
        assert " thing" in lines[0]
        assert "add -o FOLDER" in lines[-1]
        assert sorted(path.name for path in pictures.iterdir()) == ["a.png", "b.png"]

    @pytest.mark.parametrize("flags", [["--overlay"], ["--masks", "ids"], ["--probabilities"], ["--instances"]])
    def test_how_to_write_without_where_is_an_error(
        self, run: str, pictures: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "add -o FOLDER" in told(capsys, "predict", run, str(pictures), *flags)


class TestFolder:
    def test_ids_with_a_palette_and_overlays(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        found = json.loads(said(capsys, "predict", run, str(pictures), "-o", str(out), "--json"))
        assert sorted(path.name for path in out.iterdir()) == [
            "a_mask.png", "a_overlay.jpg", "b_mask.png", "b_overlay.jpg",
        ]  # fmt: skip
        with Image.open(out / "a_mask.png") as mask, Image.open(out / "b_overlay.jpg") as overlay:
            assert (mask.mode, mask.size, overlay.size) == ("P", (30, 40), (33, 21))
            assert mask.getpalette()[:6] == [*COLOURS[0], *COLOURS[1]]
            ids = np.asarray(mask)
        assert found["predictions"][0]["shares"]["foreground"] == pytest.approx((ids == 1).mean())
        assert found["predictions"][0]["files"] == [str(out / "a_mask.png"), str(out / "a_overlay.jpg")]

    def test_colours_without_overlays(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said(capsys, "predict", run, str(pictures), "-o", str(tmp_path / "ids"))
        said(capsys, "predict", run, str(pictures), "-o", str(tmp_path / "c"), "--masks", "colours", "--no-overlay")
        assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["a_mask.png", "b_mask.png"]
        ids, seen = (np.asarray(Image.open(tmp_path / name / "a_mask.png")) for name in ("ids", "c"))
        assert (seen == np.array(COLOURS, np.uint8)[ids]).all()

    def test_probabilities_are_those_of_the_mask(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said(capsys, "predict", run, str(pictures), "-o", str(tmp_path / "p"), "--probabilities")
        values = np.load(tmp_path / "p" / "a_probabilities.npy")
        assert (values.shape, values.dtype) == ((2, 40, 30), np.float16)
        np.testing.assert_allclose(values.astype(np.float32).sum(0), 1, atol=2e-3)
        ids = np.asarray(Image.open(tmp_path / "p" / "a_mask.png"))
        apart = np.abs(values[1].astype(np.float32) - 0.5) > 1e-3
        assert ((values[1] > 0.5) == ids)[apart].all()

    def test_numbered_things(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "n"
        found = json.loads(said(capsys, "predict", run, str(pictures), "-o", str(out), "--instances", "--json"))
        for row in found["predictions"]:
            assert row["files"][-1] == str(out / f"{Path(row['name']).stem}_instances.png")
            with Image.open(row["files"][-1]) as picture:
                assert picture.mode == "I;16"
                ids = np.asarray(picture)
            mask = np.asarray(Image.open(row["files"][0]))
            assert np.array_equal(ids, ndimage.label(mask)[0])
            assert row["things"] == ids.max()
        said(capsys, "predict", run, str(pictures), "-o", str(out), "--instances")  # our own are written anew
        Image.fromarray(ids).save(out / "a_instances.png")
        errors = told(capsys, "predict", run, str(pictures), "-o", str(out), "--instances")
        assert "a_instances.png is there already" in errors

    def test_more_things_than_16_bits_can_number(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("netwright.bundle.mask_files.DEEP", 0)
        out, picture = tmp_path / "n", str(pictures / "a.png")
        for _ in range(2):
            said(capsys, "predict", run, picture, "-o", str(out), "--instances", "--no-overlay")
        with Image.open(out / "a_instances.tif") as deep:
            assert deep.mode == "I"
            assert np.array_equal(np.asarray(deep), ndimage.label(np.asarray(Image.open(out / "a_mask.png")))[0])
        Image.fromarray(np.zeros((4, 4), np.int32)).save(out / "a_instances.tif")
        assert "netwright did not write it" in told(capsys, "predict", run, picture, "-o", str(out), "--instances")

    def test_layers_where_classes_overlap(
        self, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = bundle(tmp_path / "run", classes=("a cat", "dog"), several=True, background=False)
        said(capsys, "predict", str(run), str(pictures / "a.png"), "-o", str(tmp_path / "o"))
        names = sorted(path.name for path in (tmp_path / "o").iterdir())
        assert names == ["a_mask_a-cat.png", "a_mask_dog.png", "a_overlay.jpg"]
        assert set(np.unique(np.asarray(Image.open(tmp_path / "o" / "a_mask_dog.png")))) <= {0, 255}

    def test_equal_names_do_not_overwrite_one_another(
        self, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            Image.fromarray(noise(9, 9)).save(tmp_path / folder / "x.png")
        out = tmp_path / "out"
        said(capsys, "predict", run, str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(out), "--no-overlay")
        assert sorted(path.name for path in out.iterdir()) == ["one-x_mask.png", "two-x_mask.png"]

    def test_again_into_the_same_folder(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            said(capsys, "predict", run, str(pictures / "a.png"), "-o", str(tmp_path / "out"))

    def test_an_input_is_never_written_over(self, run: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Image.fromarray(noise(5, 5)).save(pictures / "a_mask.png")
        before = (pictures / "a_mask.png").read_bytes()
        assert "is one of the pictures" in told(capsys, "predict", run, str(pictures), "-o", str(pictures))
        assert (pictures / "a_mask.png").read_bytes() == before

    def test_a_mask_that_the_user_made_is_never_written_over(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        truth = tmp_path / "truth"
        truth.mkdir()
        Image.fromarray(noise(40, 30)[..., 0]).save(truth / "b_mask.png")
        errors = told(capsys, "predict", run, str(pictures), "-o", str(truth))
        assert "netwright did not write it" in errors
        assert sorted(path.name for path in truth.iterdir()) == ["b_mask.png"]

    def test_a_file_in_the_place_of_the_folder(
        self, run: str, pictures: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "is not a folder" in told(capsys, "predict", run, str(pictures), "-o", str(pictures / "a.png"))

    def test_what_cannot_be_read_is_named_and_the_rest_written(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (pictures / "bad.png").write_text("hello")
        assert code_of(["predict", run, str(pictures), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 2
        assert "bad.png: not an image" in capsys.readouterr().err
        assert (tmp_path / "out" / "b_mask.png").exists()


class TestThings:
    def test_classes_that_overlap_have_none(
        self, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = bundle(tmp_path / "run", classes=("cat", "dog"), several=True, background=False)
        errors = told(capsys, "predict", str(run), str(pictures), "-o", str(tmp_path / "o"), "--instances")
        assert "may overlap" in errors
        assert not (tmp_path / "o").exists()

    def test_what_is_cut_is_counted_and_written(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("skimage")
        flags = ["--split-touching", "--instances", "-o", str(tmp_path / "s"), "--no-overlay", "--csv"]
        rows = list(csv.DictReader(io.StringIO(said(capsys, "predict", run, str(pictures), *flags))))
        for row in rows:
            mask, ids = (np.asarray(Image.open(path)) for path in row["files"].split())
            assert np.array_equal(ids, split_touching(mask == 1))
            assert int(row["things"]) == ids.max()
        counted = said(capsys, "predict", run, str(pictures), "--split-touching").splitlines()
        assert counted[0].endswith((f" {rows[0]['things']} things", " 1 thing"))

    def test_without_scikit_image_nothing_is_begun(
        self, run: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setitem(sys.modules, "skimage.feature", None)
        errors = told(capsys, "predict", run, str(pictures), "-o", str(tmp_path / "o"), "--split-touching")
        assert "netwright[instances]" in errors
        assert not (tmp_path / "o").exists()


def test_csv_has_a_column_for_each_class(run: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(said(capsys, "predict", run, str(pictures), "--csv"))))
    assert [row["file"] for row in rows] == [str(pictures / "a.png"), str(pictures / "b.png")]
    assert float(rows[0]["background"]) + float(rows[0]["foreground"]) == pytest.approx(1, abs=1e-5)
    assert (rows[1]["width"], rows[1]["height"]) == ("33", "21")


def test_evaluate_prints_metrics_and_classes(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = pairs(tmp_path)
    out = said(capsys, "evaluate", run, str(root))
    assert "iou" in out
    assert "over all pixels together" in out
    found = json.loads(said(capsys, "evaluate", run, str(root), "--json"))
    assert list(found["metrics"]) == ["iou", "dice", "pixel_accuracy", "loss"]


def test_evaluate_takes_a_legend(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = pairs(tmp_path)
    (tmp_path / "names.csv").write_text("value,name\n0,background\n255,forground\n")
    errors = told(capsys, "evaluate", run, str(root), "--legend", str(tmp_path / "names.csv"))
    assert "unknown class for this model 'forground'" in errors
    assert "did you mean 'foreground'" in errors


@pytest.mark.parametrize("verb", ["embed", "explain"])
def test_verbs_for_classes_of_pictures_say_so(
    verb: str, run: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "gives each pixel a class" in told(capsys, verb, run, str(pictures))


def test_networks_by_name_too(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(pictures / "a.png")
    assert "gives each pixel a class" in told(capsys, "explain", "unet", picture, "--weights", "nowhere")
    assert "--stage -1" in told(capsys, "embed", "unet", picture, "--weights", "random")
