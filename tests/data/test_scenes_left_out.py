"""Pairs that are left out of training: nothing in them decides what the other masks mean."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import list_data, scene_cache
from netwright.data.listing import NOBODY
from netwright.data.scenes import ready_scenes
from netwright.data.split import Wanted
from tests.data.test_scenes import SOME, folder, pair, split


def pairs(root: Path, stray: np.ndarray, folder: str = "masks") -> Path:
    """Eight masks of 0 and 255, and one other."""
    draw = np.random.default_rng(0)
    for place in range(9):
        mask = np.zeros((24, 24), np.uint8)
        mask[3 : 9 + place, 4:12] = 255
        for kind, picture in (("images", draw.integers(0, 256, (24, 24, 3), np.uint8)), (folder, mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(stray if kind == folder and place == 4 else picture).save(root / kind / f"{place}.png")
    return root


STRAY = {
    "0 and 1": np.eye(24, dtype=np.uint8),
    "a photograph": np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8),
    "transparent": np.zeros((24, 24, 4), np.uint8),
}


@pytest.mark.parametrize("kind", STRAY)
def test_a_mask_in_quarantine_does_not_decide(tmp_path: Path, kind: str) -> None:
    listing = list_data(str(pairs(tmp_path, STRAY[kind])))
    with pytest.raises(NetwrightError, match=r"masks/4\.png"):
        ready_scenes(listing, Wanted())
    data = ready_scenes(listing, Wanted(quarantine={"images/4.png": "stray"}))
    assert data.masks is not None and data.masks.encoding == "0 and 255: background and foreground"
    assert sum(map(len, data.splits.values())) == 8 and len(data.masks.blobs.names) == 9
    assert set(np.unique(data.masks.read(8))) == {0, 1} and data.masks.read(8)[3:17, 4:12].all()
    assert [bad.name for bad in data.quarantined] == ["images/4.png"]


def test_the_mask_of_a_damaged_picture_does_not_decide(tmp_path: Path) -> None:
    root = pairs(tmp_path, STRAY["0 and 1"])
    (root / "images/4.png").write_bytes(b"broken")
    data = ready_scenes(list_data(str(root)), Wanted())
    assert data.masks is not None and data.masks.encoding == "0 and 255: background and foreground"


def test_instances_stay_beside_their_pictures(tmp_path: Path) -> None:
    pairs(tmp_path, STRAY["0 and 1"])
    root = pairs(tmp_path, STRAY["0 and 1"], "instances")
    data = ready_scenes(list_data(str(root)), Wanted(quarantine={"images/4.png": "stray"}))
    assert data.masks is not None and data.masks.things is not None
    numbers = data.masks.instances(8)
    assert numbers is not None and ((numbers > 0) == (data.masks.read(8) > 0)).all()


def test_what_cannot_be_used_is_left_out_and_noted(tmp_path: Path):
    listing = folder(tmp_path, {**SOME, "train-f": (40, 33), "train-g": (40, 33)})
    (tmp_path / "images/train-a.png").write_bytes(b"no picture")
    half = (tmp_path / "masks/train-b.png").read_bytes()
    (tmp_path / "masks/train-b.png").write_bytes(half[: len(half) // 2])
    Image.fromarray(pair(0, (33, 40))[1]).save(tmp_path / "masks/train-c.png")
    for _ in range(2):  # the second time from the cache
        data = ready_scenes(listing, Wanted(quarantine={"images/train-g.png": "blurred"}))
        reasons = {bad.name: bad.reason for bad in data.quarantined}
        assert reasons["images/train-a.png"].startswith("not an image")
        assert reasons["images/train-b.png"].startswith("its mask: ")
        assert reasons["images/train-c.png"] == "the picture is 40×33 px and its mask 33×40 px"
        assert reasons["images/train-g.png"] == "blurred" and len(reasons) == 4
        assert [Path(name).stem for name in split(data).names] == ["train-f"]
        examined = data.examined
        assert examined is not None and examined.listing is listing and set(examined.unreadable) == {1, 2, 3, 5}
        assert (examined.sides[[1, 2, 3, 5]] == NOBODY).all()


def test_without_a_readable_pair_the_first_reason_is_told(tmp_path: Path):
    listing = folder(tmp_path, SOME)
    (tmp_path / "images/val-d.png").write_bytes(b"no picture")
    with pytest.raises(NetwrightError, match=r"for validation \(images/val-d.png: not an image"):
        ready_scenes(listing, Wanted())


def test_what_only_failed_today_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing = folder(tmp_path, SOME)
    with monkeypatch.context() as today:
        today.setattr(scene_cache, "content_digest", bytes)
        with pytest.raises(NetwrightError, match="changed while it was being read"):
            ready_scenes(listing, Wanted())
    assert len(split(ready_scenes(listing, Wanted()))) == 3
