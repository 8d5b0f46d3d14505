"""What a report needs, read from a run folder; whatever is missing or broken is simply not there."""

import json
import math
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from netwright.records.folder import RunFolder
from netwright.records.intervals import Interval

UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile, zlib.error)


@dataclass(frozen=True)
class Evaluation:
    """What the network said about every image of the headline split: `probabilities` N K, `labels` N, `names` N."""

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    names: list[str]
    split: str

    @cached_property
    def guesses(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        return self.probabilities.argmax(axis=1).astype(np.int64)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of that class."""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether it is the true one."""
        return self.guesses == self.labels


@dataclass(frozen=True)
class Reading:
    """The files of a run, in memory."""

    folder: RunFolder
    record: Mapping[str, Any]
    epochs: list[dict[str, Any]]
    evaluation: Evaluation | None
    mistakes: list[dict[str, Any]]
    by_class: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    seeing: Mapping[str, Any] = field(default_factory=dict[str, Any])
    segmentation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reconstruction: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, folder: RunFolder) -> "Reading":
        """Everything that can be read."""
        record = _json(folder.record_file)
        epochs = [row for row in folder.metrics() if row.get("kind", "epoch") == "epoch" and "epoch" in row]
        seeing, masks, codes = (
            _json(folder.samples / f"{name}.json") for name in ("seeing", "segmentation", "reconstruction")
        )
        return cls(
            folder=folder,
            record=record if isinstance(record, dict) else {},
            epochs=epochs,
            evaluation=_evaluation(folder.evaluation_file),
            mistakes=_entries(folder.samples / "mistakes.json"),
            by_class=_entries(folder.samples / "by_class.json"),
            seeing=seeing if isinstance(seeing, dict) else {},
            segmentation=masks if isinstance(masks, dict) else {},
            reconstruction=codes if isinstance(codes, dict) else {},
        )

    def at(self, *keys: str) -> Any:
        """A value inside the record, by its path; None where there is none."""
        value: Any = self.record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def masked(self) -> bool:
        """Whether the network gives each pixel a class."""
        return bool(self.segmentation or self.at("data", "masks")) or self.at("recipe", "task") == "segmentation"

    @property
    def decodes(self) -> bool:
        """Whether the network gives pictures."""
        return bool(self.reconstruction) or self.at("recipe", "task") == "reconstruction"

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.at("name") or self.folder.name)

    @property
    def split(self) -> str:
        """The split that the headline is about: test where there is one."""
        splits: Mapping[str, Any] = self.at("result", "splits") or {}
        measured = [name for name in ("test", "val", *splits) if splits.get(name)]
        return measured[0] if measured else (self.evaluation.split if self.evaluation else "val")

    @property
    def metric(self) -> str:
        """The metric that the headline is about: accuracy where there is one."""
        names = [*(self.at("result", "splits", self.split) or {})]
        names = names or [key.removeprefix("val_") for row in self.epochs for key in row if key.startswith("val_")]
        return "accuracy" if not names or "accuracy" in names else next((n for n in names if n != "loss"), "loss")

    def interval(self, split: str, metric: str) -> Interval | None:
        """A final metric of the record, if it was measured."""
        fields = self.at("result", "splits", split, metric)
        interval = Interval.from_json(fields) if isinstance(fields, dict) else None
        return None if interval is None or math.isnan(interval.value) else interval

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes; a class without one is called by its number."""
        names = [str(name) for name in self.at("data", "classes") or []]
        columns = self.evaluation.probabilities.shape[1] if self.evaluation else 0
        return names + [f"class {number}" for number in range(len(names), columns)]


def _json(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return None


def _entries(path: Path) -> list[dict[str, Any]]:
    found = _json(path)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _evaluation(path: Path) -> Evaluation | None:
    # All that a missing, torn or foreign file makes numpy raise; it leaves a file open that it could not read.
    with suppress(*UNREADABLE), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        probabilities = np.asarray(arrays["probabilities"], np.float64)
        labels = np.asarray(arrays["labels"]).astype(np.int64)
        n, k = probabilities.shape
        known = (labels >= 0) & (labels < k) & np.isfinite(probabilities).all(axis=1)
        names = arrays["names"] if "names" in arrays else np.arange(n)
        if known.any():
            kept = [str(name) for name in names[known]]
            return Evaluation(probabilities[known], labels[known], kept, str(arrays["split"]))
    return None
