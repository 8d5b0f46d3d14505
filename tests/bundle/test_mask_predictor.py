"""Masks of pictures of any size, alone or together, whole or in tiles; and what is told of a bundle that is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from netwright import NetwrightError, load
from netwright.bundle import masks as module
from netwright.bundle.evaluate import evaluate_bundle
from netwright.bundle.mask_files import distinct, safe, shrunk
from netwright.bundle.masks import MaskPredictor, connected, shares_of
from netwright.bundle.predictor import load_classifier
from netwright.bundle.save import save_bundle
from netwright.engine import tiles
from netwright.models import create_model
from netwright.tasks._instances import grown

SPEC = "unet(encoder='resnet20(width=4)')"
COLOURS = [[0, 0, 0], [230, 159, 0], [86, 180, 233]]


def bundle(folder: Path, *, classes: tuple[str, ...] = ("background", "foreground"), **changes: Any) -> Path:
    """A bundle of a small U-Net with weights as drawn, whose running statistics are those of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = changes.pop("channels", 3)
    spec = changes.pop("spec", SPEC)
    torch.manual_seed(0)
    network = create_model(spec, classes=len(classes), in_channels=channels)
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(2, channels, 64, 64))
    masks = {"background": True, "several": False, "colours": COLOURS[: len(classes)], "crop": 64}
    preprocess = {"image_size": 64, "stored_size": 72, "fit": "crop", "channels": channels}
    card: dict[str, Any] = {
        "spec": spec,
        "structure": [],
        "classes": classes,
        "in_channels": channels,
        "macs": 1,
        "task": "segmentation",
        "preprocess": preprocess | {"mean": [0.5] * channels, "std": [0.25] * channels},
        "temperature": 1.0,
        "masks": masks | changes,
        "metrics": {},
        "recipe": {"precision": "fp32"},
        "versions": {},
    }
    save_bundle(folder, network, **card, write=_write)
    return folder


def _write(path: Path, data: bytes | str) -> None:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 2000 + width).integers(0, 256, (height, width, channels), np.uint8)


def pairs(root: Path) -> Path:
    for place, size in enumerate([(40, 30), (30, 40), (40, 30)]):
        for folder in ("images", "masks"):
            (root / "test" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(*size)).save(root / "test" / "images" / f"{place}.png")
        mask = np.zeros(size, np.uint8)
        mask[5:25, 5:20] = 255
        Image.fromarray(mask).save(root / "test" / "masks" / f"{place}.png")
    return root


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> MaskPredictor:
    found = load(bundle(tmp_path_factory.mktemp("masks")), device="cpu")
    assert isinstance(found, MaskPredictor)
    return found


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory) -> MaskPredictor:
    """A U-Net on SqueezeNet with weights as drawn."""
    torch.manual_seed(0)
    spec = "unet(encoder='squeezenet1_0')"
    found = load(bundle(tmp_path_factory.mktemp("squeezed"), spec=spec), device="cpu")
    assert isinstance(found, MaskPredictor)
    return found


class TestPredict:
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (33, 2), (47, 63), (517, 130)])
    def test_a_mask_has_the_size_of_its_picture(self, predictor: MaskPredictor, height: int, width: int) -> None:
        (made,) = predictor.predict(noise(height, width))
        assert (made.mask.shape, made.mask.dtype) == ((height, width), np.uint8)
        assert set(np.unique(made.mask)) <= {0, 1}
        assert sum(made.shares.values()) == pytest.approx(1)
        assert made.shares["foreground"] == pytest.approx(made.mask.mean())

    @pytest.mark.parametrize("size", [(1, 1), (1, 37), (31, 33), (255, 257), (517, 1023)])
    def test_of_a_unet_on_squeezenet_too(self, squeezed: MaskPredictor, size: tuple[int, int]) -> None:
        (made,) = squeezed.predict(noise(*size))
        assert made.mask.shape == size
        assert sum(made.shares.values()) == pytest.approx(1)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
    def test_grey_and_coloured_pictures_from_files(self, predictor: MaskPredictor, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(noise(30, 20)).convert(mode).save(path)
        by_path, by_picture = (predictor.predict(each)[0] for each in (path, Image.open(path)))
        assert by_path.name == str(path)
        assert by_path.mask.shape == (30, 20)
        assert (by_path.mask == by_picture.mask).all()

    def test_a_grey_network_takes_coloured_pictures(self, tmp_path: Path) -> None:
        found = load(bundle(tmp_path, channels=1), device="cpu")
        made = found.predict([noise(20, 30), noise(20, 30)[..., 0]])
        assert [each.mask.shape for each in made] == [(20, 30), (20, 30)]

    def test_it_is_upright_as_the_exif_says(self, predictor: MaskPredictor, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(noise(30, 20)).save(tmp_path / "a.png", exif=exif)
        turned = np.rot90(noise(30, 20), -1)
        (made,) = predictor.predict(tmp_path / "a.png")
        assert (made.mask == predictor.predict(np.ascontiguousarray(turned))[0].mask).all()

    def test_many_of_mixed_sizes_are_as_one_by_one(self, predictor: MaskPredictor) -> None:
        sizes = [(40, 30), (30, 40), (40, 30), (7, 5), (40, 30), (7, 5)]
        pictures = [noise(*size) + np.uint8(place) for place, size in enumerate(sizes)]
        seen: dict[int, torch.Tensor] = {}
        together = predictor.predict_pictures(
            pictures, [str(i) for i in range(6)], sink=lambda place, _, rows: seen.update({place: rows})
        )
        for place, picture in enumerate(pictures):
            alone: list[torch.Tensor] = []
            (made,) = predictor.predict_pictures([picture], ["x"], sink=lambda _, __, rows, to=alone: to.append(rows))
            # One network in float32 on batches of other sizes, which may sum in another order.
            torch.testing.assert_close(seen[place], alone[0], rtol=0, atol=1e-5)
            sure = (alone[0][1] - 0.5).abs().numpy() > 1e-5
            assert (together[place].mask[sure] == made.mask[sure]).all()
        assert [made.name for made in together] == [str(i) for i in range(6)]

    def test_nothing_gives_nothing(self, predictor: MaskPredictor) -> None:
        assert predictor.predict([]) == []

    def test_the_mean_and_deviation_of_training_are_used(self, predictor: MaskPredictor) -> None:
        picture = noise(16, 20)
        with torch.inference_mode():
            values = (torch.from_numpy(picture).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
            scores = predictor.model(values)
        seen: list[torch.Tensor] = []
        predictor.predict_pictures([picture], [""], sink=lambda _, __, rows: seen.append(rows))
        torch.testing.assert_close(seen[0], scores.softmax(1)[0], rtol=0, atol=1e-5)

    def test_what_cannot_be_read_is_named(self, predictor: MaskPredictor, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_text("hello")
        with pytest.raises(NetwrightError, match=r"a\.png: not an image"):
            predictor.predict(tmp_path / "a.png")
        with pytest.raises(NetwrightError, match="not uint8"):
            predictor.predict(noise(3, 3) / 255)


class TestLarge:
    def test_tiles_give_what_the_whole_gives(self, predictor: MaskPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = noise(520, 320)  # more pixels than a tile has
        whole: list[torch.Tensor] = []
        predictor.predict_pictures([picture], [""], sink=lambda _, __, rows: whole.append(rows))
        known = tiles.Measured.of(predictor.model, predictor._scores, torch.zeros(1, 3, 1, 1))
        reach = int(known.reach)
        tile = -(-8 * (reach + known.stride) // known.stride) * known.stride
        assert tile < 520  # else this test would show nothing
        monkeypatch.setattr(module, "SMALL", 0)
        monkeypatch.setattr(tiles, "SMALL", 0)
        monkeypatch.setattr(tiles, "TILE", tile)
        bands: list[tuple[int, torch.Tensor]] = []
        (made,) = predictor.predict_pictures(
            [picture], [""], sink=lambda _, top, rows: bands.append((top, rows.clone()))
        )
        assert made.tile == tile
        assert len(bands) > 1
        blended = torch.cat([rows for _, rows in bands], 1)
        torch.testing.assert_close(blended, whole[0], rtol=0, atol=1e-5)
        assert (made.mask == blended.argmax(0).numpy()).all()

    def test_what_looks_at_the_whole_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = load(bundle(tmp_path, spec="unet(encoder='resnet20(width=4, norm=\"group\")')"), device="cpu")
        monkeypatch.setattr(module, "SMALL", 0)
        monkeypatch.setattr(tiles, "SMALL", 0)
        monkeypatch.setattr(tiles, "TILE", 64)
        made = found.predict(noise(100, 90))
        assert "64×64" in found.notes(made)[0]
        assert found.notes(found.predict(noise(20, 20))) == []


class TestCounts:
    @pytest.mark.parametrize("share", [0.2, 0.5, 0.62])
    def test_parts_are_those_of_scipy_whatever_the_strips(self, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "STRIP", 7)
        mask = (np.random.default_rng(3).random((61, 50)) < share).astype(np.uint8)
        assert connected(mask, 1) == ndimage.label(mask)[1]
        assert connected(mask, 2) == 0

    def test_a_ring_across_strips_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "STRIP", 2)
        mask = np.ones((9, 9), np.uint8)
        mask[1:-1, 1:-1] = 0
        assert connected(mask, 1) == 1

    def test_things_are_counted_where_there_is_one_kind(self, tmp_path: Path) -> None:
        border = load(bundle(tmp_path / "b", classes=("background", "interior", "border")), device="cpu")
        made = border.predict(noise(40, 40))[0]
        assert made.things == ndimage.label(made.mask == 1)[1]
        other = load(bundle(tmp_path / "c", classes=("background", "cat", "dog")), device="cpu")
        assert other.predict(noise(40, 40))[0].things is None

    def test_numbered_things_are_those_of_the_mask(self, predictor: MaskPredictor) -> None:
        (made,) = predictor.predict(noise(50, 60), instances=True)
        expected, count = ndimage.label(made.mask)
        assert made.instances is not None
        assert np.array_equal(made.instances, expected)
        assert made.things == count == predictor.predict(noise(50, 60))[0].things

    def test_interiors_are_grown_by_their_border(self, tmp_path: Path) -> None:
        border = load(bundle(tmp_path, classes=("background", "interior", "border")), device="cpu")
        assert isinstance(border, MaskPredictor)
        (made,) = border.predict(noise(64, 64), instances=True)
        assert made.instances is not None
        assert made.things == ndimage.label(made.mask == 1)[1] == made.instances.max()
        assert np.array_equal(made.instances, grown(made.mask))
        with pytest.raises(NetwrightError, match="has a border class"):
            border.predict(noise(9, 9), split_touching=True)

    def test_things_that_touch_are_cut(self, predictor: MaskPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("skimage")
        y, x = np.mgrid[:48, :48]
        touching = ((np.hypot(y - 24, x - 15) <= 10) | (np.hypot(y - 24, x - 32) <= 10)).astype(np.uint8)
        monkeypatch.setattr(predictor, "_ids", lambda seen: touching)
        assert predictor.predict(noise(48, 48))[0].things == 1
        (made,) = predictor.predict(noise(48, 48), instances=True, split_touching=True)
        assert made.things == 2
        assert predictor.notes([made]) == []
        monkeypatch.setattr("netwright.tasks._instances.MOST_CUT", 100)
        (made,) = predictor.predict(noise(48, 48), split_touching=True)
        assert (made.things, made.instances) == (1, None)
        assert "too large to be cut" in predictor.notes([made])[0]

    @pytest.mark.parametrize("wanted", [{"instances": True}, {"split_touching": True}])
    def test_many_classes_have_no_numbered_things(self, tmp_path: Path, wanted: dict[str, bool]) -> None:
        found = load(bundle(tmp_path, classes=("background", "cat", "dog")), device="cpu")
        assert isinstance(found, MaskPredictor)
        with pytest.raises(NetwrightError, match="classes are background, cat, dog"):
            found.predict(noise(9, 9), **wanted)

    def test_shares_of_layers(self) -> None:
        assert shares_of(np.array([[[1, 0]], [[1, 1]]], np.uint8), 2) == [0.5, 1.0]


def test_classes_that_overlap_have_a_layer_each(tmp_path: Path) -> None:
    found = load(bundle(tmp_path, several=True, background=False), device="cpu")
    made = found.predict(noise(20, 30))[0]
    assert made.mask.shape == (2, 20, 30)
    assert made.things is None


class TestCard:
    @pytest.mark.parametrize(
        "change",
        [
            {"colours": [[0, 0, 0]]},
            {"colours": [[0, 0, 0], [300, 0, 0]]},
            {"colours": [[0, 0], [1, 1]]},
            {"background": "yes"},
            {"crop": 0},
        ],
    )
    def test_damage_is_told(self, tmp_path: Path, change: dict[str, Any]) -> None:
        with pytest.raises(NetwrightError, match="masks"):
            load(bundle(tmp_path, **change), device="cpu")

    def test_a_card_without_masks_is_told(self, tmp_path: Path) -> None:
        bundle(tmp_path)
        card = json.loads((tmp_path / "bundle.json").read_text())
        del card["masks"]
        (tmp_path / "bundle.json").write_text(json.dumps(card))
        with pytest.raises(NetwrightError, match="masks"):
            load(tmp_path, device="cpu")

    def test_what_wants_classes_of_pictures_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="gives each pixel a class"):
            load_classifier(bundle(tmp_path), device="cpu")


class TestEvaluate:
    def test_it_is_what_counting_gives(self, predictor: MaskPredictor, tmp_path: Path) -> None:
        root = pairs(tmp_path)
        found = evaluate_bundle(predictor, str(root))
        assert (found["split"], found["n"]) == ("test", 3)
        each: list[float] = []
        both = either = 0
        for path in sorted((root / "test" / "images").iterdir()):
            seen = predictor.predict(path)[0].mask == 1
            there = np.array(Image.open(root / "test" / "masks" / path.name)) > 0
            each.append((seen & there).sum() / (seen | there).sum())
            both, either = both + (seen & there).sum(), either + (seen | there).sum()
        assert found["metrics"]["iou"]["value"] == pytest.approx(np.mean(each), abs=1e-6)
        assert found["classes"]["foreground"]["iou"]["value"] == pytest.approx(both / either)

    def test_classes_in_another_order_are_found_by_name(self, tmp_path: Path) -> None:
        root = pairs(tmp_path / "data")
        swapped = bundle(tmp_path / "s", classes=("background", "other", "foreground"))
        found = evaluate_bundle(load(swapped, device="cpu"), str(root))
        assert found["classes"]["other"]["iou"]["value"] == 0  # what is found is wrong, since it is nowhere
        assert list(found["classes"]) == ["other", "foreground"]

    def test_a_pixel_that_is_ignored_counts_nowhere(self, predictor: MaskPredictor, tmp_path: Path) -> None:
        root = pairs(tmp_path / "data")
        for path in (root / "test" / "masks").iterdir():
            mask = np.asarray(Image.open(path)).copy() // 255
            mask[:, :10] = 7
            Image.fromarray(mask).save(path)
        legend = tmp_path / "legend.csv"
        legend.write_text("value,name\n0,background\n1,foreground\n")
        found = evaluate_bundle(predictor, str(root), legend=str(legend), ignore=7)
        hits = [
            (predictor.predict(path)[0].mask == np.asarray(Image.open(root / "test" / "masks" / path.name)))[:, 10:]
            for path in sorted((root / "test" / "images").iterdir())
        ]
        assert found["metrics"]["pixel_accuracy"]["value"] == pytest.approx(np.mean([hit.mean() for hit in hits]))
        told = bundle(tmp_path / "told")
        card = json.loads((told / "bundle.json").read_text())
        card["recipe"]["ignore"] = 7
        (told / "bundle.json").write_text(json.dumps(card))
        assert evaluate_bundle(load(told, device="cpu"), str(root), legend=str(legend)) == found

    def test_numbered_things_for_a_model_with_a_border(self, tmp_path: Path) -> None:
        border = load(bundle(tmp_path / "b", classes=("background", "interior", "border")), device="cpu")
        assert isinstance(border, MaskPredictor)
        root = pairs(tmp_path / "data")
        for path in list((root / "test" / "masks").iterdir()):
            mask = np.asarray(Image.open(path)).astype(np.uint16) // 255
            mask[:, 13:] *= 2
            (root / "test" / "instances").mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / "test" / "instances" / path.name)
        found = evaluate_bundle(border, str(root))
        assert list(found["classes"]) == ["interior", "border"]
        assert any("numbered instances" in note for note in found["notes"])

    def test_the_whole_data_set_says_what_masks_mean(self, tmp_path: Path) -> None:
        three = load(bundle(tmp_path / "m", classes=("background", "class 1", "class 2")), device="cpu")
        root = pairs(tmp_path / "data")
        for side, most in (("train", 2), ("test", 1)):
            for folder in ("images", "masks"):
                (root / side / folder).mkdir(parents=True, exist_ok=True)
            for place in range(3):
                Image.fromarray(noise(40, 30 + place)).save(root / side / "images" / f"{place}.png")
                mask = np.zeros((40, 30 + place), np.uint8)
                mask[5:15], mask[20:30] = 1, most
                Image.fromarray(mask).save(root / side / "masks" / f"{place}.png")
        assert evaluate_bundle(three, str(root))["split"] == "test"

    def test_a_note_tells_of_tiles(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = load(bundle(tmp_path / "g", spec="unet(encoder='resnet20(width=4, norm=\"group\")')"), device="cpu")
        root = pairs(tmp_path / "data")
        assert not any("tiles" in note for note in evaluate_bundle(found, str(root))["notes"])
        for each in (module, tiles):
            monkeypatch.setattr(each, "SMALL", 0)
        monkeypatch.setattr(tiles, "TILE", 16)
        (made,) = (note for note in evaluate_bundle(found, str(root))["notes"] if "tiles" in note)
        assert "×" in made

    def test_a_class_that_the_model_does_not_know(self, tmp_path: Path) -> None:
        root = pairs(tmp_path / "data")
        other = load(bundle(tmp_path / "o", classes=("background", "foregroun")), device="cpu")
        with pytest.raises(NetwrightError, match="did you mean 'foregroun'"):
            evaluate_bundle(other, str(root))

    def test_a_pair_that_cannot_be_read_is_left_out_and_named(self, predictor: MaskPredictor, tmp_path: Path) -> None:
        root = pairs(tmp_path)
        Image.fromarray(noise(9, 9)).save(root / "test" / "images" / "1.png")
        found = evaluate_bundle(predictor, str(root))
        assert found["n"] == 2
        assert any("left out: " in note and "9×9 px and its mask 40×30 px" in note for note in found["notes"])

    def test_pictures_without_masks_are_told(self, predictor: MaskPredictor, tmp_path: Path) -> None:
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir()
            Image.fromarray(noise(9, 9)).save(tmp_path / name / "1.png")
        with pytest.raises(NetwrightError, match="has no masks"):
            evaluate_bundle(predictor, str(tmp_path))


class TestFiles:
    def test_equal_stems_get_names_of_their_own(self) -> None:
        given = [Path(p) for p in ("a/x.png", "b/x.png", "b/x.jpg", "b/X.tif", "b/y.png", "a-x.png")]
        names = distinct(given)
        assert names == ["a-x", "b-x", "b-x-2", "b-X-3", "y", "a-x-2"]

    def test_class_names_are_made_safe_and_stay_different(self) -> None:
        assert safe(["a/b", "a b", "", "../x", "ok"]) == ["0-a-b", "1-a-b", "2", "x", "ok"]

    def test_large_pictures_are_shrunk_and_thin_things_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("netwright.bundle.mask_files.LONGEST", 10)
        picture, mask = np.full((20, 31, 3), 9, np.uint8), np.zeros((20, 31), np.uint8)
        mask[:, 7] = 1
        small, marks = shrunk(picture, mask)
        assert small.shape == (5, 7, 3)
        assert (small == 9).all()
        assert (marks[:, 1] == 1).all()
        assert marks.sum() == 5
