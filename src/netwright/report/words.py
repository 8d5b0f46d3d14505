"""Numbers, times and lists as a reader wants them."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from netwright.records.intervals import Interval
from netwright.report.html import Html, tag

UNKNOWN = "–"
SHARES = {
    "accuracy",
    "top5",
    "balanced_accuracy",
    "ece",
    "iou",
    "mean_iou",
    "dice",
    "f1",
    "f1_samples",
    "label_accuracy",
    "pixel_accuracy",
    "precision",
    "recall",
    "boundary_f1",
}
NAMES = {
    "ece": "calibration error",
    "top5": "top-5 accuracy",
    "iou": "IoU",
    "dice": "Dice",
    "boundary_f1": "boundary F1",
    "mean_iou": "mean IoU",
    "f1": "F1",
    "f1_samples": "F1",
    "psnr": "PSNR",
    "mse": "mean squared error",
    "elbo": "ELBO",
}
UNITS = {"psnr": (" dB", ".2f"), "elbo": (" nats", ".1f"), "rate": (" nats", ".2f"), "distortion": (" nats", ".1f")}
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def metric_name(name: str) -> str:
    """`balanced_accuracy` -> `balanced accuracy`."""
    return NAMES.get(name, name.replace("_", " "))


def split_name(name: str) -> str:
    """`val` -> `validation`."""
    return SPLITS.get(name, name)


def number(value: Any, digits: int = 4) -> str:
    """A number with significant digits, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return UNKNOWN
    return count(value) if isinstance(value, int) else f"{value:.{digits}g}"


def count(value: int) -> str:
    """A whole number in groups of three, with thin spaces."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(share: float) -> str:
    """0.983 -> `98.3 %`."""
    return f"{100 * share:.1f} %"


def measured(name: str, interval: Interval) -> Html:
    """A metric and its interval; the interval set back."""
    share = name in SHARES or interval.method == "wilson"
    scale, unit, form = (100, " %", ".1f") if share else (1, *UNITS.get(name, ("", ".4g")))
    if math.isnan(interval.value):
        return tag("span", UNKNOWN)
    value, low, high = (f"{scale * part:{form}}" for part in (interval.value, interval.low, interval.high))
    bounds = None if math.isnan(interval.low) else tag("span", f" [{low}, {high}]", class_="range")
    return tag("span", f"{value}{unit}", bounds, class_="measured")


def duration(seconds: Any) -> str:
    """4321.5 -> `1 h 12 min`."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def moment(iso: Any) -> str:
    """An ISO time as a date and the minutes of the day."""
    try:
        return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M")
    except (TypeError, ValueError):
        return UNKNOWN


def plural(n: int, one: str, many: str = "") -> str:
    """`1 image`, `2 images`."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def size(value: Any) -> str:
    """An image size: 224 or [224, 320]."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " × ".join(str(side) for side in value)
    return UNKNOWN if value is None else f"{value} × {value}"


def setting(value: Any) -> str:
    """A value as a user would write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={setting(item)}" for key, item in value.items()) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
