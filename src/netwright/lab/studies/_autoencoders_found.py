"""What the study of autoencoders shows: tables by question, two figures, and curves over the code's length."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from netwright.lab.studies._autoencoders_arms import (
    CORRUPTIONS,
    PIXELS,
    PLAIN,
    Arm,
    pca_name,
    vae_name,
)
from netwright.lab.studies._autoencoders_measure import CLEAN
from netwright.lab.studies._autoencoders_values import (
    Results,
    decibels,
    less_error,
    mean_error,
    mean_psnr,
    mean_share,
    more_right,
    thousandths,
)
from netwright.lab.studies._autoencoders_words import legend, said
from netwright.lab.studies._study import Setting
from netwright.records.intervals import Interval

NONE = "–"
CODES = ("active", "dead", "zeros", "sparseness")  # what is known of them
NOTHING = "nothing done"  # what raw pixels are where something is to be mended


class Study(Protocol):
    """What of a study belongs to what is shown."""

    @property
    def latent(self) -> tuple[int, ...]:
        """Numbers of a code."""
        ...

    @property
    def amount(self) -> float:
        """Of each corruption."""
        ...

    @property
    def seeds(self) -> int:
        """Runs of everything."""
        ...


def found(study: Study, setting: Setting, results: Results, labels: Sequence[int], tested: int) -> dict[str, Any]:
    """What the report shows, but for the protocol."""
    tables = [_reconstruction(results, tested), _denoising(results), _mending(results)]
    tables += [_probes(results, labels)] if labels else []
    figures = [_heat(results)] + ([_dots(results, labels)] if labels else [])
    return {
        "title": f"Which autoencoder, on {setting.data.name}",
        "seeds": study.seeds,
        "said": said(results, labels),
        "legend": legend(study.seeds, tested, setting.split, study.amount, labels),
        "panels": _panels(results, labels),
        "figures": figures,
        "tables": tables,
        "measured": {arm.name: _measured(arm, results, labels) for arm in results.arms},
    }


def _reconstruction(results: Results, tested: int) -> dict[str, Any]:
    """Clean pictures through the code and back."""
    plain = results.errors(PLAIN)
    rows: list[list[Any]] = []
    for arm in results.arms:
        if arm.name == PIXELS or not results.makes(arm.name):
            continue
        values = results.errors(arm.name)
        against = NONE if arm.name == PLAIN else thousandths(less_error(values, plain), signed=True)
        algebra = NONE if not arm.trains else _against(results, values, pca_name(arm.latent))
        cells = [thousandths(mean_error(values)), decibels(mean_psnr(values)), against, algebra]
        rows.append([arm.name, str(arm.latent), *cells, *_codes(results, arm)])
    heads = ["", "numbers", "mse", "PSNR, dB", f"mse against {PLAIN}", "mse against PCA", *CODES]
    return {"caption": f"Giving back {tested:,} test pictures; mse in thousandths", "heads": heads, "rows": rows}


def _denoising(results: Results) -> dict[str, Any]:
    """What is left of each corruption."""
    rows = [[_mender(arm), *(_cell(results, arm, kind) for kind in CORRUPTIONS)] for arm in _menders(results)]
    heads = ["", *(kind.replace("_", " ") for kind in CORRUPTIONS)]
    return {
        "caption": "Mending corrupted pictures: mse to the clean ones, in thousandths",
        "heads": heads,
        "rows": rows,
    }


def _mending(results: Results) -> dict[str, Any]:
    """The same against the plain autoencoder, paired."""
    rows = [
        [
            _mender(arm),
            *(_against(results, results.errors(arm.name, kind), PLAIN, kind) for kind in CORRUPTIONS),
        ]
        for arm in _menders(results)
        if arm.name != PLAIN
    ]
    heads = ["", *(kind.replace("_", " ") for kind in CORRUPTIONS)]
    caption = f"The same against the plain {PLAIN}, paired picture by picture; below 0 is better"
    return {"caption": caption, "heads": heads, "rows": rows}


def _probes(results: Results, labels: Sequence[int]) -> dict[str, Any]:
    """What a linear classifier makes of the codes."""
    rows: list[list[Any]] = []
    for arm in results.arms:
        cells: list[Any] = []
        for many in labels:
            right = results.right(arm.name, many)
            algebra = pca_name(arm.latent) if arm.latent else ""
            cells.append(_share(mean_share(right)))
            cells.append(_ahead(results, right, many, "" if arm.name == PLAIN else PLAIN))
            cells.append(_ahead(results, right, many, "" if arm.name == algebra else algebra))
        rows.append([arm.name, str(arm.latent or NONE), *cells])
    heads = ["", "numbers"]
    for many in labels:
        heads += [f"{many} labels", f"against {PLAIN}", "against PCA"]
    caption = "Linear probe: accuracy, and points against others, paired; PCA with as many numbers"
    return {"caption": caption, "heads": heads, "rows": rows}


def _menders(results: Results) -> list[Arm]:
    return [arm for arm in results.arms if results.makes(arm.name)]


def _mender(arm: Arm) -> str:
    return NOTHING if arm.name == PIXELS else arm.name


def _cell(results: Results, arm: Arm, kind: str) -> str:
    return thousandths(mean_error(results.errors(arm.name, kind)))


def _against(results: Results, values: np.ndarray, other: str, shown: str = CLEAN) -> str:
    return thousandths(less_error(values, results.errors(other, shown)), signed=True)


def _codes(results: Results, arm: Arm) -> list[str]:
    """Active and dead numbers of a code, means over seeds, and the share of zeros."""
    active, dead, zeros, sparse = (results.code(arm.name, what) for what in CODES)
    if not active:
        return [NONE] * len(CODES)
    return [f"{np.mean(active):g}", f"{np.mean(dead):g}", f"{100 * np.mean(zeros):.0f} %", f"{np.mean(sparse):.2f}"]


def _share(interval: Interval) -> dict[str, Any]:
    return {"interval": interval.to_json(), "unit": "percent"}


def _ahead(results: Results, right: np.ndarray, many: int, other: str) -> Any:
    if not other:
        return NONE
    return {"interval": more_right(right, results.right(other, many)).to_json(), "unit": "points"}


def _heat(results: Results) -> dict[str, Any]:
    """The matrix of denoising: what is left of the error, as a share of that where nothing is done."""
    rows: list[dict[str, Any]] = []
    nothing = {kind: mean_error(results.errors(PIXELS, kind)).value for kind in CORRUPTIONS}
    for arm in _menders(results):
        seen = [mean_error(results.errors(arm.name, kind)) for kind in CORRUPTIONS]
        cells = [
            {"text": f"{1000 * each.value:.1f}", "share": each.value / nothing[kind], "own": arm.own == kind}
            for each, kind in zip(seen, CORRUPTIONS, strict=True)
        ]
        rows.append({"name": _mender(arm), "cells": cells})
    title = "Mean squared error after mending, in thousandths; the darker, the more of the corruption is gone"
    columns = [kind.replace("_", " ") for kind in CORRUPTIONS]
    return {"kind": "heat", "name": "denoising", "title": title, "columns": columns, "rows": rows}


def _dots(results: Results, labels: Sequence[int]) -> dict[str, Any]:
    """Accuracy of the probe by arm."""
    rows = [
        {
            "name": arm.name,
            "group": arm.group,
            "points": [mean_share(results.right(arm.name, many)).to_json() for many in labels],
        }
        for arm in results.arms
    ]
    series = [f"{many} labels" for many in labels]
    title = "Accuracy of a linear probe on codes, with 95 % intervals"
    return {"kind": "dots", "name": "probe", "title": title, "series": series, "rows": rows}


def _panels(results: Results, labels: Sequence[int]) -> list[dict[str, Any]]:
    """Over the code's length: what variational ones and principal components lose, and what a probe makes of it."""
    lengths = sorted({arm.latent for arm in results.arms if arm.group == "variational"})
    ways = {"VAE": (vae_name, "second", False), "PCA": (pca_name, "first", True)}
    lost = {name: [mean_error(results.errors(of(k))) for k in lengths] for name, (of, *_) in ways.items()}
    panels = [_panel("root mean squared error of clean pictures", lengths, ways, _rooted(lost))]
    for many in labels:
        right = {name: [mean_share(results.right(of(k), many)) for k in lengths] for name, (of, *_) in ways.items()}
        panels.append(_panel(f"probe with {many} labels", lengths, ways, right))
    return panels


def _rooted(lost: dict[str, list[Interval]]) -> dict[str, list[Interval]]:
    """Squared errors on the scale of values: 1 is from black to white."""
    return {
        name: [Interval(each.value**0.5, each.low**0.5, each.high**0.5, each.n, each.method) for each in ones]
        for name, ones in lost.items()
    }


def _panel(title: str, lengths: Sequence[int], ways: dict[str, Any], seen: dict[str, list[Interval]]) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    for place, (name, (_, colour, dashed)) in enumerate(ways.items()):
        aside = 1 + 0.04 * (2 * place - 1)  # bars would hide one another
        points = [{"x": k * aside, "interval": each.to_json()} for k, each in zip(lengths, seen[name], strict=True)]
        lines.append({"name": name, "colour": colour, "dashed": dashed, "points": points})
    return {
        "title": title,
        "x": "numbers of the code",
        "unit": "percent",
        "lines": lines,
        "ticks": [*lengths],
        "scale": "log",
    }


def _measured(arm: Arm, results: Results, labels: Sequence[int]) -> dict[str, Any]:
    """One arm for those who read JSON."""
    one = results.by_arm[arm.name]
    errors = {shown: results.errors(arm.name, shown) for shown in (CLEAN, *CORRUPTIONS) if results.makes(arm.name)}
    told = {name: getattr(arm, name) for name in ("group", "latent", "model", "trick", "own")}
    return told | {
        "mse": {shown: _both(mean_error(v), v) for shown, v in errors.items()},
        "psnr": {shown: mean_psnr(v).to_json() for shown, v in errors.items()},
        "probe": {
            str(many): _both(mean_share(results.right(arm.name, many)), results.right(arm.name, many))
            for many in labels
        },
        "codes": {what: results.code(arm.name, what) for what in CODES},
        "used": [dict(each.used) for each in one],
        "probes_at_an_edge": {str(many): sum(each.probes[many].edge for each in one) for many in labels},
        "seconds": [each.seconds for each in one],
    }


def _both(interval: Interval, values: np.ndarray) -> dict[str, Any]:
    return {"interval": interval.to_json(), "by_seed": [float(each) for each in values.mean(1)]}
