"""The sections on pictures made again from codes: how near they come, what that is worth, and where it ends."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from netwright.records.intervals import Interval
from netwright.report import codes
from netwright.report.html import Html, join, note, section, tag
from netwright.report.pictures import data_uri
from netwright.report.reading import Reading
from netwright.report.tables import facts, table
from netwright.report.words import UNKNOWN, count, measured, plural, split_name

NOTHING = "There are no reconstructions to look at yet: they are made when a run ends."
VIEWS = {
    "picture": "shown",
    "corrupted": "corrupted",
    "restored": "made of the corrupted",
    "again": "made of its code",
}
KINDS = {
    "held-out": "held-out pictures of this data",
    "inverted": "the same, light and dark exchanged",
    "shuffled": "the same, pixels shuffled",
    "generated": "lines, disks and textures",
}
NOISES = {
    "gaussian": "normal noise",
    "salt_and_pepper": "salt and pepper",
    "mask": "pixels masked out",
    "perturb": "pixels disturbed in place",
}
FEW = 4  # effective draws, below which a bound is still loose
STYLE = """
.again { display: flex; flex-wrap: wrap; gap: .9rem .8rem; margin: 0 0 1.4rem; }
.again figure { width: 6.1rem; }
.again img, .others img { display: block; width: 100%; image-rendering: pixelated; background: var(--raised); }
.again img { margin-bottom: 3px; }
.again figcaption { line-height: 1.3; font-size: .78rem; }
.again bdi { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.others { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.2rem 2rem; }
.others > figure > div { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 3px; }
.others figcaption { margin-top: .4rem; }
.views { margin: 0 0 .5rem; font: .875rem/1.5 var(--sans); color: var(--muted); max-width: none; }
#reconstructions h3 { margin: 1.4rem 0 .5rem; font-size: 1.0625rem; font-weight: 600; }
.crisp { image-rendering: pixelated; }
"""


def reconstructions(reading: Reading) -> Html:
    """Pictures, and what was made of their codes: the worst, and typical ones."""
    found, title, style = reading.reconstruction, "Reconstructions", tag("style", Html(STYLE + codes.STYLE))
    rows = [row for row in found.get("shown") or [] if isinstance(row, dict)]
    if not rows:
        return section("reconstructions", title, style, note(NOTHING))
    views = [what for view, what in VIEWS.items() if any(view in (row.get("files") or {}) for row in rows)]
    above = tag("p", f"From above: {', '.join(views)}.", class_="views")
    parts: list[Html] = []
    for name, worst in (("The worst", True), ("Typical", False)):
        chosen = [_column(reading, row) for row in rows if bool(row.get("worst")) == worst]
        parts += [tag("h3", name), tag("div", *chosen, class_="again")] if chosen else []
    says = (
        f"A code of {plural(_whole(found.get('latent')), 'number')} stands for {count(_whole(found.get('values')))} "
        f"values. Measured on {plural(_whole(found.get('looked')), 'image')} of the "
        f"{split_name(str(found.get('split', '')))} split; PSNR is of the squared error, and says little of how "
        "a reconstruction looks: blur costs it less than a shift by one pixel."
    )
    shown = (_numbers(found), _noise(found), above, *parts, _left_out(found))
    return section("reconstructions", title, style, note(says), *shown)


def rates(reading: Reading) -> Html | None:
    """What a code costs and what it leaves out, in nats, and the bounds of the likelihood that follow."""
    found = reading.reconstruction
    said: Mapping[str, Any] = found.get("bounds") or {}
    if not said:
        return None
    draws, n = _whole(said.get("draws")), _whole(said.get("n"))
    named = {
        "rate, KL(q(z | x) ‖ N(0, I))": ("rate", "rate"),
        "distortion, −log p(x | z)": ("distortion", "distortion"),
        "ELBO, −distortion − rate": ("elbo", "elbo"),
        f"importance-weighted bound of {draws} draws": ("elbo", "weighted"),
        "its gain over the ELBO": ("rate", "gap"),
    }
    rows = [[name, _cell(unit, said.get(key))] for name, (unit, key) in named.items()]
    caption = f"With all constants, means over {plural(n, 'image')}, 95 % intervals"
    words = (
        "A code is drawn for each picture and decoded: the rate is what knowing the code costs, the distortion what is "
        "then still unknown of the picture. Both bounds lie below log p(x) in the mean over draws: the ELBO by as much "
        "as q(z | x) diverges from the true posterior, the weighted one by less."
    )
    title = "Rate and distortion"
    return section(
        "rates", title, note(words), table(["", "a picture#"], rows, caption=caption), *_cautions(found, said)
    )


def limits(reading: Reading) -> Html | None:
    """That other data come back badly, measured, and that this is no way to store pictures."""
    rows = [row for row in reading.reconstruction.get("pair") or [] if isinstance(row, dict)]
    if not rows:
        return None
    cells = [
        [KINDS.get(str(row.get("kind")), str(row.get("kind"))), count(_whole(row.get("n")))]
        + [_cell("psnr", row.get(name)) for name in ("psnr", "flat")]
        for row in rows
    ]
    heads = ("pictures", "images#", "PSNR#", "a flat grey in their place#")
    numbers = table(heads, cells, caption="Other pictures of the same size, 95 % intervals")
    words = (
        "Data that does not resemble the training set reconstructs badly, and this is not a lossy image format: a "
        "network like this can say again only what training pictures have in common. "
    )
    says = "A flat grey, of each picture's own mean, is what a single number would give."
    shown = tag("div", *(_other(reading, row) for row in rows), class_="others")
    return section("limits", "Where it ends", tag("p", words, _gap(rows)), numbers, note(says), shown)


def _numbers(found: Mapping[str, Any]) -> Html:
    quality: Mapping[str, Any] = found.get("quality") or {}
    ssim = found.get("ssim")
    missing = next((each for each in found.get("left_out") or [] if each.get("what") == "SSIM"), None)
    pairs: dict[str, object] = {
        "PSNR": _cell("psnr", quality.get("psnr")),
        "SSIM": _cell("ssim", ssim) if ssim else None,
        "pixels": found.get("observation"),
        "beta": f"{found['beta']:g}" if found.get("random") and _is_number(found.get("beta")) else None,
    }
    why = note(f"No SSIM: {missing.get('why')}.") if missing and not ssim else None
    return join(facts(pairs), why)


def _left_out(found: Mapping[str, Any]) -> Html | None:
    rows = [row for row in found.get("left_out") or [] if isinstance(row, dict) and row.get("what") != "SSIM"]
    told = "; ".join(f"{row.get('what')} ({row.get('why')})" for row in rows)
    return note(f"Fewer or left out: {told}.") if told else None


def _noise(found: Mapping[str, Any]) -> Html | None:
    """What became of corrupted pictures, where the network was trained to clean them."""
    said = found.get("denoised")
    if not isinstance(said, dict):
        return None
    kind = NOISES.get(str(said.get("kind")), str(said.get("kind")))
    pairs = {
        "PSNR of corrupted pictures": _cell("psnr", said.get("before")),
        "of what was made of them": _cell("psnr", said.get("after")),
    }
    amount = f", {said['amount']:g}" if _is_number(said.get("amount")) else ""
    return join(note(f"Pictures corrupted as in training ({kind}{amount}), against the clean ones:"), facts(pairs))


def _column(reading: Reading, row: Mapping[str, Any]) -> Html:
    """A picture and what was made of it, one below the other."""
    files: Mapping[str, str] = row.get("files") or {}
    name, samples = str(row.get("name", "?")), reading.folder.samples
    images = [
        tag("img", src=source, alt=f"{name}: {what}")
        for view, what in VIEWS.items()
        if view in files and (source := data_uri(samples, str(files[view])))
    ]
    score = f"{row['psnr']:.1f} dB" if _is_number(row.get("psnr")) else UNKNOWN
    return tag("figure", *images, tag("figcaption", score, tag("bdi", name, title=name)))


def _other(reading: Reading, row: Mapping[str, Any]) -> Html:
    files: Mapping[str, Sequence[str]] = row.get("files") or {}
    kind, samples = KINDS.get(str(row.get("kind")), str(row.get("kind"))), reading.folder.samples
    images = [
        tag("img", src=source, alt=f"{kind}: {VIEWS[view]}")
        for view in ("picture", "again")
        for file in files.get(view, [])
        if (source := data_uri(samples, str(file)))
    ]
    return tag("figure", tag("div", *images), tag("figcaption", f"{kind[:1].upper()}{kind[1:]}: above, and made again"))


def _gap(rows: Sequence[Mapping[str, Any]]) -> str:
    """The pair in words: held-out pictures, and the others."""
    known = {str(row.get("kind")): Interval.from_json(row.get("psnr") or {}) for row in rows}
    flat = {str(row.get("kind")): Interval.from_json(row.get("flat") or {}).value for row in rows}
    own = known.pop("held-out", None)
    if own is None or not known:
        return ""
    told = "; ".join(f"{KINDS.get(kind, kind)}: {each.value:.1f} dB" for kind, each in known.items())
    near = [KINDS.get(kind, kind) for kind, each in known.items() if not each.high < own.low]
    below = [KINDS.get(kind, kind) for kind, each in known.items() if each.high < flat[kind]]
    words = f"Measured: held-out pictures of this data come back with {own.value:.1f} dB. By the same network, {told}."
    if below:
        words += f" Worse than a flat grey: {' and '.join(below)}."
    if near:
        copies = "this network copies more than it has learnt, and its code may be too large to say what is usual."
        words += f" Not worse here: {' and '.join(near)}; {copies}"
    return words


def _cautions(found: Mapping[str, Any], said: Mapping[str, Any]) -> list[Html]:
    told: list[Html] = []
    effective = Interval.from_json(said.get("effective") or {}).value
    if effective < FEW:
        few = f"Of {said.get('draws')} draws {effective:.1f} decide the weighted bound in the mean"
        told.append(note(f"{few}: it is still loose, and more draws would raise it."))
    if str(found.get("observation", "")).startswith("bernoulli") and found.get("grey"):
        grey = "These pictures are grey, and pixels are modelled as black or white: the distortion is a cross-entropy"
        told.append(note(f"{grey}, and no likelihood of the pictures. Compare it with the same model only."))
    elif not str(found.get("observation", "")).startswith("bernoulli"):
        told.append(note("These are densities, so that they may be positive, and depend on the scale of the pixels."))
    return told


def _cell(name: str, fields: object) -> object:
    return measured(name, Interval.from_json(fields)) if isinstance(fields, dict) else UNKNOWN


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)
