"""The sections of numbers: curves, confusion, classes, calibration. One function each."""

import math
from collections.abc import Sequence

import numpy as np

from netwright.records.intervals import Interval
from netwright.report import figures
from netwright.report.calibration import calibration_error, reliability
from netwright.report.confusion import by_class, confusion, most_confused
from netwright.report.html import Html, note, section, tag
from netwright.report.reading import Evaluation, Reading
from netwright.report.tables import class_table, confusion_table, facts, table
from netwright.report.words import count, measured, metric_name, number, percent, plural, split_name

MOST_CLASSES = 20  # a larger matrix cannot be read; its most frequent mistakes can
NO_EVALUATION = "There are no predictions to look at yet: they are written when a run ends."


def curves(reading: Reading) -> Html:
    """Loss, metric and learning rate by epoch."""
    panels = [
        _panel(reading, "loss", {"train": "train_loss", "val": "val_loss"}),
        _panel(reading, reading.metric, {"train": f"train_{reading.metric}", "val": f"val_{reading.metric}"}),
        _panel(reading, "learning rate", {"lr": "lr"}),
    ]
    if not any(panels):
        return section("curves", "Training", note("No epoch has ended yet, so there are no curves."))
    best = reading.at("result", "best_epoch")
    least = f"The dotted line marks epoch {best}, the best on the validation images." if best else None
    keys = (tag("span", "training", class_="key second"), " ", tag("span", "validation", class_="key first"), " ")
    return section("curves", "Training", tag("div", *panels, class_="panels"), note(*keys, least))


def matrix(reading: Reading) -> Html:
    """Which class is taken for which."""
    seen, title = reading.evaluation, "Confusion"
    if seen is None:
        return section("confusion", title, note(NO_EVALUATION))
    counts = confusion(seen.labels, seen.guesses, len(reading.classes))
    if len(counts) <= MOST_CLASSES:
        return section("confusion", title, confusion_table(counts, reading.classes))
    names = [tag("bdi", name) for name in reading.classes]
    named = [(names[truth], names[guess], count(n)) for truth, guess, n in most_confused(counts)]
    if not named:
        return section("confusion", title, note("No image was taken for another class."))
    caption = f"The {len(named)} most frequent mistakes among {len(counts)} classes"
    return section("confusion", title, table(("truth", "guess", "images#"), named, caption=caption))


def classes(reading: Reading) -> Html:
    """How well each class is found, and how far it can be trusted when guessed."""
    seen, title = reading.evaluation, "Classes"
    if seen is None:
        return section("classes", title, note(NO_EVALUATION))
    counts = confusion(seen.labels, seen.guesses, len(reading.classes))
    says = "Recall: how many images of a class were found. Precision: how many guesses of a class were right."
    return section("classes", title, note(says), class_table(by_class(counts), reading.classes))


def calibration(reading: Reading) -> Html:
    """Whether the confidence can be believed."""
    seen, title = reading.evaluation, "Calibration"
    if seen is None:
        return section("calibration", title, note(NO_EVALUATION))
    error = reading.interval(seen.split, "ece")
    if error is None or math.isnan(error.low):
        error = calibration_error(seen.confidence, seen.correct)
    picture = figures.reliability("reliability", reliability(seen.confidence, seen.correct), says=_trust(seen))
    says = note("On the line, confidence is deserved; below it, the network is too sure. Bars are 95 % intervals.")
    words = tag("div", tag("p", _trust(seen)), facts(_calibration_facts(reading, error)), says)
    return section("calibration", title, tag("div", tag("figure", picture), words, class_="beside"))


def _panel(reading: Reading, title: str, columns: dict[str, str]) -> Html | None:
    series = {label: [_float(row.get(column)) for row in reading.epochs] for label, column in columns.items()}
    series = {label: values for label, values in series.items() if np.isfinite(values).any()}
    if not series:
        return None
    name, best = f"curve-{title.replace(' ', '-')}", reading.at("result", "best_epoch")
    says = f"{metric_name(title)} by epoch: " + "; ".join(_course(label, values) for label, values in series.items())
    drawn = figures.curve(name, [row["epoch"] for row in reading.epochs], series, best=best, says=says)
    return tag("figure", tag("figcaption", metric_name(title)), drawn)


def _course(label: str, values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{split_name(label)} from {known[0]:.3g} to {known[-1]:.3g}"


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _trust(seen: Evaluation) -> str:
    sure, right = float(seen.confidence.mean()), float(seen.correct.mean())
    gap = abs(sure - right)
    verdict = "too sure" if sure > right else "not sure enough"
    words = f"On average the network is {percent(sure)} sure and {percent(right)} right"
    return (
        f"{words}: {verdict}, by {100 * gap:.1f} points."
        if gap >= 0.005
        else f"{words}: its confidence can be believed."
    )


def _calibration_facts(reading: Reading, error: Interval) -> dict[str, object]:
    temperature = reading.at("result", "temperature")
    n = reading.evaluation.confidence.size if reading.evaluation else 0
    return {
        "expected calibration error": measured("ece", error),
        "temperature": number(temperature, 3),
        "measured on": plural(n, "image"),
    }
