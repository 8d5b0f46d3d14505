"""The sections on codes: they say what was measured, leave out what is missing, and are never lost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netwright.records.folder import RunFolder
from netwright.report import codes as of_codes
from netwright.report import reconstruction
from netwright.report.html import join
from netwright.report.page import document
from netwright.report.reading import Reading
from tests.report.synthetic import HOSTILE, write_run
from tests.report.test_report import Elements, text_of

CLASSES = [HOSTILE[0], "two"]
MAKERS = (
    reconstruction.reconstructions, reconstruction.rates, of_codes.codes, of_codes.code_map, of_codes.new_pictures,
    of_codes.traversals, reconstruction.limits,
)  # fmt: skip
SECTIONS = ["reconstructions", "rates", "codes", "map", "samples", "traversals", "limits"]


def measured(value: float, reach: float = 0.5) -> dict[str, Any]:
    return {"value": value, "low": value - reach, "high": value + reach, "n": 30, "method": "bca"}


def kept(folder: RunFolder, name: str) -> str:
    (folder.samples / "reconstruction").mkdir(exist_ok=True)
    Image.fromarray(np.full((12, 12), 80, np.uint8)).save(folder.samples / "reconstruction" / name)
    return f"reconstruction/{name}"


def measures(folder: RunFolder) -> dict[str, Any]:
    views = ("picture", "again", "corrupted", "restored")
    shown = [
        {"name": f"{HOSTILE[1]}{number}.png", "psnr": 12.5 + number, "worst": number < 2}
        | {"files": {view: kept(folder, f"{view}-{number}.png") for view in views}}
        for number in range(4)
    ]
    pair = [
        {"kind": kind, "n": 30, "psnr": measured(psnr), "flat": measured(9.0)}
        | {"files": {view: [kept(folder, f"{kind}-{view}.png")] for view in ("picture", "again")}}
        for kind, psnr in {"held-out": 20.0, "inverted": 5.0, "shuffled": 8.8, "generated": 12.0}.items()
    ]
    numbers = {"elbo": -400.0, "weighted": -390.0, "rate": 9.0, "distortion": 391.0, "gap": 10.0, "effective": 2.5}
    return {
        "split": "test", "looked": 30, "latent": 2, "values": 144, "size": [1, 12, 12], "random": True, "beta": 1.0,
        "observation": "gaussian(sigma=0.1)", "grey": True, "shown": shown, "quality": {"psnr": measured(14.0)},
        "denoised": {"kind": "mask", "amount": 0.3, "before": measured(8.0), "after": measured(13.0)},
        "pair": pair, "left_out": [{"what": "SSIM", "why": "SSIM needs scikit-image, and it is not there"}],
        "bounds": {"n": 30, "draws": 64, **{name: measured(value) for name, value in numbers.items()}},
        "codes": {"mean": [0.1, 0.0], "deviation": [0.9, 0.01], "spread": [1.0, 1.0], "divergence": [2.5, 0.005],
                  "aggregated": 0.42},
        "map": {"n": 5, "points": [[0, 0], [1, 1], [-1, 2], [3, 1], [0.5, 0.2]], "explained": None,
                "labels": [0, 1, 1, 0, 0], "classes": CLASSES,
                "thumbnails": [{"place": 0, "file": kept(folder, "map-000.png")}, {"place": 99, "file": "x.png"}]},
        "samples": {"file": kept(folder, "samples.png"), "prior": True, "n": 48, "classes": []},
        "traversals": {"rows": [{"dimension": 7, "used": 2.5, "file": kept(folder, "traversal-0.png")}],
                       "reach": 3.0, "start": kept(folder, "start.png"), "name": HOSTILE[2]},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = write_run(tmp_path, CLASSES)
    folder.evaluation_file.unlink()
    folder.write_record(folder.record() | {"recipe": {"task": "reconstruction"}})
    (folder.samples / "reconstruction.json").write_text(json.dumps(measures(folder)))
    return folder


def changed(run: RunFolder, **fields: Any) -> None:
    path = run.samples / "reconstruction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def written(run: RunFolder) -> str:
    reading = Reading.of(run)
    return document("x", join(*(make(reading) for make in MAKERS)))


def ids(page: str) -> list[str]:
    return [str(a["id"]) for name, a in Elements(page).starts if name == "section"]


def test_every_section_is_there_in_order(run: RunFolder) -> None:
    page = written(run)
    assert ids(page) == SECTIONS
    assert Reading.of(run).decodes
    every = [a["id"] for _, a in Elements(page).starts if a.get("id")]
    assert len(every) == len(set(every))
    assert all(a.get("alt") for name, a in Elements(page).starts if name == "img")


def test_names_are_text_and_nothing_else(run: RunFolder) -> None:
    page = written(run)
    assert "&lt;img src=x" in page and "<img src=x" not in page and "quo&quot;te" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https:" not in page


def test_reconstructions_say_how_they_were_measured(run: RunFolder) -> None:
    text = text_of(written(run))
    assert "A code of 2 numbers stands for 144 values. Measured on 30 images of the test split" in text
    assert "From above: shown, corrupted, made of the corrupted, made of its code." in text
    assert "Pictures corrupted as in training (pixels masked out, 0.3)" in text
    assert "No SSIM: SSIM needs scikit-image, and it is not there." in text
    assert text.index("12.5 dB") < text.index("Typical") < text.index("14.5 dB")


def test_the_bounds_are_named_with_their_draws(run: RunFolder) -> None:
    text = text_of(written(run))
    assert "importance-weighted bound of 64 draws" in text
    assert "Of 64 draws 2.5 decide the weighted bound" in text
    assert "no likelihood" not in text
    changed(run, observation="bernoulli")
    assert "no likelihood of the pictures" in text_of(written(run))
    changed(run, grey=False)
    assert "no likelihood of the pictures" not in text_of(written(run))


def test_where_it_ends_is_said_with_the_measured_pair(run: RunFolder) -> None:
    text = text_of(written(run))
    assert "Data that does not resemble the training set reconstructs badly, and this is not a lossy image" in text
    assert "held-out pictures of this data come back with 20.0 dB" in text
    assert "the same, light and dark exchanged: 5.0 dB" in text
    assert "Worse than a flat grey: the same, light and dark exchanged." in text
    assert "Not worse here" not in text


def test_a_network_that_copies_anything_is_told_so(run: RunFolder) -> None:
    rows = json.loads((run.samples / "reconstruction.json").read_text())["pair"]
    rows[3]["psnr"] = measured(21.0)
    changed(run, pair=rows)
    assert "Not worse here: lines, disks and textures; this network copies more" in text_of(written(run))


def test_codes_are_counted_and_the_alarm_is_told(run: RunFolder) -> None:
    text = text_of(written(run))
    assert "1 dimension of the code says something of a picture" in text
    assert "0.42 nats" in text
    record = run.record()
    told = {"latent": {"test": {"alarm": "posterior collapse: <none>", "dead": 1}}}
    run.write_record(record | {"result": record["result"] | told})
    page = written(run)
    assert "Posterior collapse: &lt;none&gt;" in page and "dead 1" in text_of(page)


def test_codes_without_a_prior(run: RunFolder) -> None:
    samples = {**measures(run)["samples"], "prior": False}
    changed(run, random=False, codes={"mean": [0.1, 0.0], "deviation": [0.9, 0.01]}, samples=samples, bounds=None)
    page = written(run)
    assert ids(page) == [name for name in SECTIONS if name != "rates"]
    assert "it has no prior" in text_of(page) and "deviation 2.5" in text_of(page)
    assert "of the standard deviations that it has over training pictures" in text_of(page)
    assert 'class="ring"' not in page


def test_the_map_has_colours_rings_and_only_pictures_that_are_there(run: RunFolder) -> None:
    page = written(run)
    circles = [a for name, a in Elements(page).starts if name == "circle"]
    assert [a.get("class") for a in circles].count("ring") == 3
    assert len(circles) == 8 and len({a["stroke"] for a in circles if a.get("stroke")}) == 2
    assert sum(name == "image" for name, _ in Elements(page).starts) == 1
    rings = [a for a in circles if a.get("class") == "ring"]
    zero = next(a for a in circles if not a.get("class"))  # the first point lies at the origin
    assert float(str(rings[0]["cx"])) == pytest.approx(float(str(zero["cx"])), abs=0.2)
    assert float(str(rings[1]["r"])) == pytest.approx(2 * float(str(rings[0]["r"])), abs=0.2)
    changed(run, map={**measures(run)["map"], "labels": [], "classes": [], "explained": [0.4, 0.2]})
    text = text_of(written(run))
    assert "two principal components of the codes, 60.0 % of their variance" in text


def test_whatever_is_missing_the_rest_is_shown(run: RunFolder) -> None:
    parts = dict(zip(("shown", "bounds", "codes", "map", "samples", "traversals", "pair"), MAKERS, strict=True))
    changed(run, **dict.fromkeys([*parts, "quality", "left_out"]))
    reading = Reading.of(run)
    assert [name for name, make in parts.items() if make(reading) is not None] == ["shown"]
    whole = measures(run)
    for name, make in parts.items():  # each alone
        changed(run, **{**dict.fromkeys(parts), name: whole[name]})
        assert make(Reading.of(run)) is not None


def test_empty_parts_are_left_out(run: RunFolder) -> None:
    empty: dict[str, Any] = {key: {} for key in ("bounds", "codes", "map", "samples", "traversals", "quality")}
    changed(run, **empty, shown=[], pair=[], left_out=None)
    assert ids(written(run)) == ["reconstructions"]


def test_of_many_dimensions_the_counts_are_those_of_all(run: RunFolder) -> None:
    changed(run, codes={**measures(run)["codes"], "dimensions": 65_536, "active": 123, "rate": 99.5})
    text = text_of(written(run))
    assert "123 dimensions of the code say something" in text and "99.50 nats" in text


def test_what_was_cut_short_is_told(run: RunFolder) -> None:
    assert "left out:" not in text_of(written(run))  # SSIM has a word of its own
    changed(run, left_out=[{"what": "codes <b>", "why": "32 in the place of 4096"}])
    page = written(run)
    assert "Fewer or left out: codes <b> (32 in the place of 4096)." in text_of(page) and "codes <b>" not in page


def test_before_the_end_there_is_a_word_of_it(run: RunFolder) -> None:
    (run.samples / "reconstruction.json").unlink()
    page = written(run)
    assert ids(page) == ["reconstructions"] and "they are made when a run ends" in page
