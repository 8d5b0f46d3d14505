"""The first section: the one number, how sure it is, what guessing would give, and how the run went."""

import math
from typing import Any

from netwright.records.intervals import Interval
from netwright.report.html import Html, join, section, tag
from netwright.report.reading import Reading
from netwright.report.tables import facts, metrics_table
from netwright.report.words import count, duration, measured, metric_name, number, percent, split_name


def headline(reading: Reading) -> Html:
    """The one number, how sure it is, and what guessing would give."""
    interval = reading.interval(reading.split, reading.metric)
    parts = [_unmeasured(reading)] if interval is None else _measured(reading, interval)
    splits = reading.at("result", "splits")
    numbers = metrics_table(splits) if splits else None
    return section("headline", "Result", *parts, _state(reading), _pace(reading), numbers)


def _measured(reading: Reading, interval: Interval) -> list[Html]:
    split = split_name(reading.split)
    kicker = tag("p", f"{split[:1].upper()}{split[1:]} {metric_name(reading.metric)}", class_="kicker")
    if interval.method != "wilson" and reading.metric != "accuracy":
        return [kicker, tag("p", measured(reading.metric, interval), class_="headline")]
    baseline = _baseline(reading)
    shown = tag("p", measured("accuracy", interval), class_="headline")
    return [kicker, shown, _strip(interval, baseline), tag("p", _meaning(reading, interval, baseline), class_="lead")]


def _meaning(reading: Reading, interval: Interval, baseline: tuple[str, float] | None) -> Html:
    n, split = interval.n, split_name(reading.split)
    words = f"{count(round(interval.value * n))} of {count(n)} {split} images were classified correctly. " if n else ""
    if math.isfinite(interval.low):
        words += f"On new images like these, expect between {percent(interval.low)} and {percent(interval.high)}. "
    guessing = _guessing(interval, *baseline) if baseline else None
    chosen = "Validation images also guide choices, so this may be a little too kind: hold back a test split to know."
    return join(words, guessing, chosen if reading.split == "val" else None)


def _guessing(interval: Interval, name: str, share: float) -> Html:
    verdict = ": no certain difference from this result. " if interval.low <= share else ". "
    named = tag("bdi", name)
    return join("Always guessing the most frequent class, “", named, f"”, would give {percent(share)}{verdict}")


def _baseline(reading: Reading) -> tuple[str, float] | None:
    """The most frequent training class, and the accuracy that always guessing it has on the headline split."""
    measured: dict[str, int] = reading.at("data", "splits", reading.split, "per_class") or {}
    trained: dict[str, int] = reading.at("data", "splits", "train", "per_class") or measured
    if not sum(measured.values()) or not trained:
        return None
    name = max(trained, key=lambda each: trained[each])
    return name, measured.get(name, 0) / sum(measured.values())


def _strip(interval: Interval, baseline: tuple[str, float] | None) -> Html:
    """The interval on the way from 0 to 100 %."""
    low, high = (each if math.isfinite(each) else interval.value for each in (interval.low, interval.high))
    band = tag("i", class_="band", style=f"left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%")
    marks = [band, tag("i", class_="value", style=f"left:{100 * interval.value:.2f}%")]
    says = f"{interval.percent()} on a scale from 0 to 100 %"
    if baseline:
        marks.append(tag("i", class_="guess", style=f"left:{100 * baseline[1]:.2f}%"))
        says += f"; always guessing the most frequent class gives {percent(baseline[1])}"
    guess = tag("span", "always “", tag("bdi", baseline[0]), "”", class_="legend") if baseline else None
    legend = tag("div", tag("span", "0 %"), guess, tag("span", "100 %"))
    return tag("div", tag("div", *marks, class_="track"), legend, class_="strip", role="img", aria_label=says)


def _unmeasured(reading: Reading) -> Html:
    rows = [row for row in reading.epochs if isinstance(row.get(f"val_{reading.metric}"), float | int)]
    if not rows:
        return tag("p", "Nothing has been measured yet.", class_="lead")
    value, name = rows[-1][f"val_{reading.metric}"], metric_name(reading.metric)
    shown = percent(value) if reading.metric == "accuracy" else number(value)
    says = f"After epoch {rows[-1]['epoch']} the validation {name} is {shown}. The final evaluation is still to come."
    return tag("p", says, class_="lead")


def _state(reading: Reading) -> Html | None:
    status, stopped = reading.at("status") or "unknown", reading.at("problem") or reading.at("result", "stopped")
    because = f": {str(stopped).rstrip('.')}" if stopped else ""
    words = {
        "done": f"Training ended early{because}." if stopped else "",
        "running": "This run is still going; the page shows what it has so far.",
        "interrupted": f"This run was interrupted{because}. It can be resumed; the page shows what it had.",
        "failed": f"This run failed{because}. The page shows what it had.",
    }.get(status, "This run left no record of how it ended; the page shows what there is.")
    return tag("p", words, class_="state") if words else None


def _pace(reading: Reading) -> Html:
    result: dict[str, Any] = reading.at("result") or {}
    best, epochs = result.get("best_epoch"), result.get("epochs") or len(reading.epochs)
    speed, wait = result.get("images_per_second"), result.get("seconds_to_first_step")
    return facts(
        {
            "epochs": f"{epochs}, best {best}" if best else epochs or None,
            "whole run": duration(reading.at("seconds")),
            "training speed": f"{_rate(speed)} images/s" if speed else None,
            "until the first step": duration(wait),
            "parameters": number(reading.at("model", "params")),
        }
    )


def _rate(speed: float) -> str:
    return count(round(speed)) if speed >= 100 else number(speed, 3)
