"""The data gate: files that cannot be used or are odd are named, and the verdict and the list of them last."""

import base64
import errno
import io
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.cache import opened_index
from netwright.data.facts import Odd
from netwright.data.gate import check as gate
from netwright.data.gate.check import check
from netwright.data.gate.pictures import MOST_SINGLE, SIDE, thumbnails
from netwright.data.gate.policy import REFUSALS, refusal
from netwright.data.gate.quarantine import read_quarantine, source_of, write_quarantine
from netwright.data.gate.summary import notes
from netwright.data.gate.verdict import Finding, Verdict
from tests.data.synthetic_gate import bomb, encoded, even, folder, found, looked, names, noise


@pytest.mark.fault(44, "`netwright check` names every picture that was cut short, wherever it was cut")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_cut_files_are_named(tmp_path: Path, kind: str) -> None:
    draw = np.random.default_rng(0)
    whole = [encoded(Image.fromarray(draw.integers(0, 256, (96, 128, 3), np.uint8)), kind) for _ in range(5)]
    cut = {
        f"{share}.{kind}": data[: max(1, int(len(data) * share))]
        for share, data in zip((0.01, 0.3, 0.9, 0.999), whole[:4], strict=True)
    }
    verdict = check(looked(folder(tmp_path, cut | {f"whole.{kind}": whole[4]}), plain=True))
    refused = [finding for finding in verdict.of("error") if finding.kind in {each.kind for each in REFUSALS}]
    assert sorted(name for each in refused for (name,) in names(each)) == sorted(cut)
    assert sorted(verdict.leave_out) == sorted(cut) and not verdict.passed


@pytest.mark.fault(45, "a JPEG with a flipped bit is refused, or has another SHA-256 and so counts as other data")
def test_a_flipped_bit_does_not_pass_for_the_same_picture(tmp_path: Path) -> None:
    data, draw = encoded(noise(0), "JPEG"), random.Random(0)
    files = {"whole.jpg": data}
    for number in range(40):
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        files[f"{number}.jpg"] = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
    examined = looked(folder(tmp_path, files), plain=True)
    readable = [place for place in range(41) if place not in examined.unreadable]
    digests = {examined.facts["digest"][place].tobytes() for place in readable}
    assert len(digests) == len(readable) > 20


@pytest.mark.fault(46, "empty files, web pages and text named .jpg are named with what they are; litter is ignored")
def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    files = {
        "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><html>404</html>",
        "text.png": b"nothing to see",
        "good.jpg": encoded(noise(1), "JPEG"),
        "named.jpg": encoded(noise(2), "PNG"),
        ".DS_Store": b"litter",
        "Thumbs.db": b"litter",
    }
    kinds = found(looked(folder(tmp_path, files), plain=True))
    assert names(kinds["empty"]) == [["empty.jpg"]]
    assert names(kinds["not_a_picture"]) == [["page.jpg"], ["text.png"]]
    assert "starts with '<!DOCTYPE html>" in kinds["not_a_picture"].examples[0][0].says
    assert names(kinds["misnamed"]) == [["named.jpg"]] and kinds["misnamed"].examples[0][0].says == "is PNG"
    assert {kind: each.severity for kind, each in kinds.items()} == {
        "empty": "error",
        "not_a_picture": "error",
        "misnamed": "note",
        "unlabelled": "note",
    }


@pytest.mark.fault(47, "`netwright check` names decompression bombs and does not unpack them")
def test_bombs_are_named(tmp_path: Path) -> None:
    files = {"bomb.png": bomb(20_000), "long.png": bomb(30_000), "good.png": encoded(noise(1), "PNG")}
    bombs = found(looked(folder(tmp_path, files), plain=True))["too_large"]
    assert names(bombs) == [["bomb.png"], ["long.png"]] and bombs.severity == "error"
    assert "20000×20000 px is over the limit of 50 megapixels" in bombs.examples[0][0].says


@pytest.mark.fault(48, "turned pictures and EXIF data that cannot be read are named")
@pytest.mark.fault(50, "deep pictures are named, with a warning where others have 8 bits")
@pytest.mark.fault(51, "transparent pictures are named")
@pytest.mark.fault(52, "animations are named with a warning; the first frame is used")
def test_odd_pictures_are_named(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [noise(number).convert("P") for number in range(3)]
    deep = Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16)
    files = {
        "turned.jpg": encoded(noise(1), "JPEG", exif=exif),
        "exif.jpg": encoded(noise(2), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage"),
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "glass.png": encoded(
            Image.merge("RGBA", [*noise(3).split(), Image.linear_gradient("L").resize((64, 48))]), "PNG"
        ),
        "deep.png": encoded(deep, "PNG"),
        "ink.jpg": encoded(noise(4).convert("CMYK"), "JPEG"),
        "plain.jpg": encoded(noise(5), "JPEG"),
    }
    kinds = found(looked(folder(tmp_path, files), plain=True))
    assert names(kinds["turned"]) == [["turned.jpg"]] and kinds["turned"].severity == "note"
    assert names(kinds["several_frames"]) == [["moving.gif"]] and kinds["several_frames"].severity == "warning"
    assert names(kinds["transparent"]) == [["glass.png"]] and names(kinds["ink"]) == [["ink.jpg"]]
    assert names(kinds["deep"]) == [["deep.png"]] and kinds["deep"].severity == "warning"
    assert ["exif.jpg"] in [*names(kinds.get("bad_exif", kinds.get("warned")))]


def test_pictures_that_are_all_deep_need_no_warning() -> None:
    examined = even()
    examined.facts["odd"] = int(Odd.DEEP)
    assert found(examined)["deep"].severity == "note"


@pytest.mark.fault(53, "pictures with hardly any pixels, and very long ones, are named with their size")
def test_sizes_out_of_the_ordinary() -> None:
    examined = even()
    examined.facts["width"][[3, 7]], examined.facts["height"][7] = (1, 401), 100
    examined.facts["height"][3] = 1
    examined.facts["width"][9] = 400
    kinds = found(examined)
    assert names(kinds["tiny"]) == [["train/3.jpg"]] and kinds["tiny"].examples[0][0].says == "1×1 px"
    assert names(kinds["long"]) == [["train/7.jpg"]], "four times as long as wide is still let through"
    examined.facts["width"], examined.facts["height"] = 6, 6
    assert "tiny" not in found(examined), "where all are as small, that is how the data are"


def test_a_blank_picture_is_named() -> None:
    examined = even()
    examined.facts["contrast"][5] = 0
    assert names(found(examined)["blank"]) == [["train/5.jpg"]]


def test_every_reason_has_a_kind() -> None:
    assert refusal("truncated JPEG (image file is truncated)").kind == "truncated"
    assert refusal("damaged PNG (its header cannot be read)").kind == "damaged"
    assert refusal("changed while it was being read").kind == "unreadable"
    assert len({each.kind for each in REFUSALS}) == len(REFUSALS)


@pytest.mark.fault(
    63, "a file that a network disk fails to give is asked for three times, then left out with the reason"
)
@pytest.mark.parametrize(
    ("code", "fails", "readable"), [(errno.EIO, 2, True), (errno.ESTALE, 2, True), (errno.EIO, 9, False)]
)
def test_a_disk_that_stutters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails: int, readable: bool
) -> None:
    root, whole, left = (
        folder(tmp_path, {f"{n}.png": encoded(noise(n), "PNG") for n in range(3)}),
        Path.read_bytes,
        [fails],
    )

    def stuttering(path: Path) -> bytes:
        if path.name == "1.png" and left[0]:
            left[0] -= 1
            raise OSError(code, "stale")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", stuttering)
    monkeypatch.setattr("netwright.data.decode.time.sleep", lambda _: None)
    kinds = found(looked(root, plain=True))
    assert set(kinds) == ({"unlabelled"} if readable else {"unlabelled", "closed"})
    left[0] = 0
    assert set(found(looked(root, plain=True))) == {"unlabelled"}, "what failed once is tried again the next time"


@pytest.mark.fault(63, "a picture whose content changed is looked at anew")
def test_a_picture_that_changed_is_looked_at_anew(tmp_path: Path) -> None:
    root = folder(tmp_path, {f"{n}.png": encoded(noise(n), "PNG") for n in range(3)})
    assert set(found(looked(root, plain=True))) == {"unlabelled"}
    (root / "1.png").write_bytes(encoded(noise(1), "PNG")[:500])
    assert names(found(looked(root, plain=True))["truncated"]) == [["1.png"]]


def test_thumbnails_are_few_and_small(tmp_path: Path) -> None:
    files = {f"{n}.png": encoded(noise(n, (900, 3)), "PNG") for n in range(20)} | {"cut.png": b""}
    examined = looked(folder(tmp_path, files), plain=True)
    drawn = thumbnails(check(examined), examined.listing.blobs)
    assert len(drawn) == MOST_SINGLE and "cut.png" not in drawn
    for uri in drawn.values():
        kind, text = uri.split(",")
        assert kind == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(text))).size) == SIDE


# The verdict


def test_the_verdict_survives_json() -> None:
    verdict = check(even(same=[(1, 6)], notes=("\udce9 and 日本",)), cached=False)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    assert verdict.to_json()["passed"] is False


def test_strict_makes_warnings_errors() -> None:
    verdict = check(even(200, same=[(1, 2), (9, 10), (17, 18)]))
    assert verdict.passed and not verdict.strict().passed
    assert [finding.severity for finding in verdict.strict().findings] == ["error"]


def test_the_verdict_is_kept_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(gate, "CHECKS", (*gate.CHECKS, lambda subject: calls.append(subject) or []))
    first = check(even(same=[(1, 2)]))
    assert check(even(same=[(1, 2)])) == first and len(calls) == 1
    relabelled = even(same=[(1, 2)])
    relabelled.listing.labels[2] = 1
    renamed = even(same=[(1, 2)], names=[f"{place}.jpg" for place in range(60)])
    for other, group in ((relabelled, None), (renamed, None), (even(seed=1), None), (even(), r"(\d+)")):
        check(other, group)
    assert len(calls) == 5
    check(even(same=[(1, 2)]), cached=False)
    assert len(calls) == 6


def test_a_damaged_verdict_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    first = check(even())
    for damage in ("", "{", '{"findings": [{"kind"'):
        with opened_index() as index, index.database:
            assert index.database.execute("UPDATE findings SET value = ?", (damage,)).rowcount == 1
        assert check(even()) == first


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "file"))
    assert check(even()).passed


def test_notes_for_a_run() -> None:
    lines = notes(check(even(same=[(1, 2), (0, 5)])), "my pets/labels.csv")
    assert lines[0] == "data check: validation pictures that are also in training: 1 of 15"
    assert lines[-1].endswith("netwright check 'my pets/labels.csv'") and len(lines) == 4


# The quarantine list

HOSTILE = [
    "a b.jpg",
    "#1.jpg",
    '"quoted".jpg',
    " led.jpg",
    "a  # b.jpg",
    "line\nbreak.jpg",
    "日本/é.jpg",
    "\udce9.jpg",
    "tab\t.jpg",
]


def verdict_on(reasons: dict[str, str]) -> Verdict:
    finding = Finding("truncated", "error", "cut short", leave_out=reasons)
    return Verdict("pets", "", len(reasons), {}, {}, (finding,))


def test_a_quarantine_list_holds_any_name(tmp_path: Path) -> None:
    reasons = {name: f"truncated JPEG  # ({name!r})\nat 3" for name in HOSTILE}
    path = tmp_path / "quarantine.txt"
    write_quarantine(path, verdict_on(reasons), "hf:pets")
    assert read_quarantine(path) == {name: " ".join(reason.split()) for name, reason in reasons.items()}
    assert "\na b.jpg  # truncated JPEG" in path.read_text("utf-8")


def test_a_list_is_added_to_and_may_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.txt"
    path.write_bytes(b"mine.jpg\r\n\r\n# not this one.jpg\r\nother.jpg  # blurred\r\n")
    assert read_quarantine(path) == {"mine.jpg": "in the quarantine list", "other.jpg": "blurred"}
    write_quarantine(path, verdict_on({"cut.jpg": "cut"}), "hf:pets")
    assert read_quarantine(path) == {"cut.jpg": "cut", "mine.jpg": "in the quarantine list", "other.jpg": "blurred"}


def test_a_list_belongs_to_its_data(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.txt"
    for name in HOSTILE:
        write_quarantine(path, verdict_on({"train[1]": "cut"}), source_of(str(tmp_path / name)))
        assert read_quarantine(path, source_of(str(tmp_path / name))) == read_quarantine(path) == {"train[1]": "cut"}
        with pytest.raises(NetwrightError, match="is the quarantine list of other data"):
            write_quarantine(path, verdict_on({"train[2]": "cut"}), "hf:beans")
        path.unlink()
    assert source_of(os.path.relpath(tmp_path)) == source_of(str(tmp_path)) and source_of("hf:beans") == "hf:beans"


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "quarantine.txt").write_text("# by hand\nmine.jpg", "utf-8-sig")
    assert list(read_quarantine(tmp_path / "quarantine.txt")) == ["mine.jpg"]


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "quarantine.txt").write_bytes(b'"open.jpg\n')
    with pytest.raises(NetwrightError, match=r"line 1 of .* begins with a quote that is not closed"):
        read_quarantine(tmp_path / "quarantine.txt")
    with pytest.raises(NetwrightError, match=r"no quarantine list .*\n  fix: did you mean .*quarantine.txt\?"):
        read_quarantine(tmp_path / "quarantin.txt")
    (tmp_path / "photo.jpg").write_bytes(encoded(noise(0), "JPEG"))
    with pytest.raises(NetwrightError, match=r"photo.jpg cannot be read"):
        write_quarantine(tmp_path / "photo.jpg", verdict_on({"a": "b"}), "hf:pets")


def test_what_is_left_out_is_not_found_again(tmp_path: Path) -> None:
    files = {f"{n}.png": encoded(noise(n), "PNG") for n in range(5)} | {
        "cut.png": b"",
        "copy.png": encoded(noise(0), "PNG"),
    }
    root = folder(tmp_path, files)
    left_out = {"cut.png": "empty file", "copy.png": "a copy", "gone.png": "was cut"}
    verdict = check(looked(root, plain=True, quarantine=left_out), quarantine=left_out)
    kinds = {finding.kind: finding for finding in verdict.findings}
    assert set(kinds) == {"left_out", "unknown_names", "unlabelled"} and verdict.passed
    assert kinds["left_out"].title == "left out by you: 2 pictures" and kinds["unknown_names"].detail == "gone.png"
