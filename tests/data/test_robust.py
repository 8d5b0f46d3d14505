"""netwright's own policy on odd files, one by one, beside what Pillow 13 makes of them."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from netwright.data.gate.check import check
from netwright.data.gate.policy import ODDITIES, misnamed
from tests.data.synthetic_gate import looked

pytestmark = pytest.mark.data

# Where netwright's verdict is not Pillow's, and why.
DIFFERENT = {
    "pillow/broken_data_stream.png": "Pillow fails as well, but only the first time; it then holds black rows",
}
REFUSED = {
    "made_here/bomb_20000x20000_1bit.png": "20000×20000 px is over the limit of 50 megapixels",
    "made_here/cut_60pct.jpg": "truncated JPEG",
    "made_here/html_error_page.jpg": "not an image (starts with '<!DOCTYPE html>",
    "made_here/zero_bytes.jpg": "empty file",
    "pillow/broken.png": "damaged PNG",
    "pillow/broken_data_stream.png": "damaged PNG",
    "pillow/decompression_bomb.gif": "over the limit of 50 megapixels",
    "pillow/png_decompression_dos.png": "damaged PNG",
    "pillow/truncated_image.png": "truncated PNG",
    "pillow/truncated_jpeg.jpg": "truncated JPEG",
}
TURNED, WHITE, TABLE = "turned as the EXIF data ask", "laid on white", "colours looked up"
DEEP, INK, FIRST = "scaled down by the depth", "converted to RGB without the ink profile", "the first frame is used"
NOTED = {
    "exif/Landscape_6.jpg": {TURNED},
    "imageio/imageio_issue246.png": {WHITE, TABLE},
    "isbi_predict_16bit.png": {DEEP},
    "made_here/gray16.png": {DEEP},
    "made_here/photo_cmyk.jpg": {INK},
    "made_here/photo_palette.png": {TABLE},
    "made_here/png_named_as.jpg": {"read as the PNG it is"},
    "pillow/12in16bit.tif": {DEEP},
    "pillow/16bit.cropped.tif": {DEEP},
    "pillow/1_trns.png": {WHITE},
    "pillow/dispose_bgnd.gif": {FIRST, TABLE},
    "pillow/exif_imagemagick_orientation.png": {TURNED},
    "pillow/hopper.Lab.tif": {"converted to RGB"},
    "pillow/hopper.gif": {TABLE},
    "pillow/hopper_bad_exif.jpg": {"used as decoded"},
    "pillow/hopper_orientation_3.jpg": {TURNED},
    "pillow/hopper_orientation_6.jpg": {TURNED},
    "pillow/hopper_orientation_8.jpg": {TURNED},
    "pillow/i_trns.png": {WHITE, DEEP},
    "pillow/iss634.gif": {FIRST, TABLE},
    "pillow/multipage.tiff": {FIRST, TABLE},
    "pillow/pil123p.png": {WHITE, TABLE},
    "pillow/pil_sample_cmyk.jpg": {INK},
    "pillow/rgb_trns.png": {WHITE},
    "pillow/transparent.png": {WHITE},
    "pillow/uncompressed_la.png": {WHITE},
}


class Judged(NamedTuple):
    """What becomes of one file, and why."""

    use: str
    words: list[str]


def judged(name: str, reason: str | None, odd: int, format_: str) -> Judged:
    if reason is not None:
        return Judged("refused", [reason])
    words = [each.use for each in ODDITIES if odd & each.odd]
    words += [f"read as the {format_} it is"] if misnamed(name, format_) else []
    return Judged("noted" if words else "used", words)


@pytest.fixture
def verdicts(real_data: Path) -> dict[str, Judged]:
    examined = looked(real_data / "robust", plain=True)
    return {
        name: judged(name, examined.unreadable.get(place), int(fact["odd"]), fact["format"].decode())
        for place, (name, fact) in enumerate(zip(examined.listing.blobs.names, examined.facts, strict=True))
    }


@pytest.mark.fault(44, "of 49 odd files every one that Pillow cannot read is refused, with its reason")
@pytest.mark.fault(46, "of 49 odd files every one that is no picture is refused, with its reason")
def test_every_odd_file_has_the_verdict_of_the_policy(verdicts: dict[str, Judged]) -> None:
    assert len(verdicts) == 49
    for name, verdict in verdicts.items():
        said, use = " ".join(verdict.words), "refused" if name in REFUSED else "noted" if name in NOTED else "used"
        assert verdict.use == use, f"{name}: {verdict}"
        assert REFUSED.get(name, "") in said and all(words in said for words in NOTED.get(name, ())), (
            f"{name}: {verdict}"
        )
        assert name in REFUSED or len(verdict.words) == len(NOTED.get(name, ())), f"{name}: {verdict}"


def test_it_is_pillows_but_where_a_reason_is_given(verdicts: dict[str, Judged], real_data: Path) -> None:
    manifest = json.loads((real_data / "robust" / "manifest_pillow13.json").read_text("utf-8"))
    assert {entry["file"] for entry in manifest} == set(verdicts)
    other = {entry["file"] for entry in manifest if entry["ok"] == (verdicts[entry["file"]].use == "refused")}
    assert other == set(DIFFERENT)


def test_the_gate_names_what_is_refused(real_data: Path) -> None:
    verdict = check(looked(real_data / "robust", plain=True))
    assert set(verdict.leave_out) == set(REFUSED) and not verdict.passed


@pytest.mark.fault(59, "784 photos that share nothing across sides give no false alarm")
def test_no_false_alarm_on_clean_photos(real_data: Path) -> None:
    verdict = check(looked(real_data / "clothing"))
    assert verdict.passed and not {"exact_across", "near_across", "contradiction"} & {
        each.kind for each in verdict.findings
    }
