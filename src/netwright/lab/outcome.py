"""What one run of the lab gave, picture by picture, so that two runs can be compared on the same pictures."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError
from netwright.report.reading import UNREADABLE

FORMAT = 1
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run reached, and what it took.

    Attributes:
        values: each metric of the task for each picture of the split, in its order; the headline first. N each.
        labels: what the data says of each. N or N K.
        confidence: the largest probability that each picture was given; None where a task gives no classes. N.
        history: a row for each epoch, as in metrics.jsonl.
        seconds: of training and evaluation, without the opening of the data.
        images_per_second: while it trained; the median over epochs.
        epochs: that were trained.
        steps: updates that were made.
        memory: the most bytes that the process held, or that were taken on the accelerator; 0 where nobody tells.
        machine: how it was computed: device, name, precision, threads, and versions.
        stopped: why it ended early, or "".
    """

    values: Mapping[str, Floats]
    labels: NDArray[np.int64]
    confidence: Floats | None
    history: Sequence[Mapping[str, Any]]
    seconds: float
    images_per_second: float
    epochs: int
    steps: int
    memory: int = 0
    machine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stopped: str = ""

    @property
    def headline(self) -> str:
        """The metric that runs are compared by."""
        return next(iter(self.values))

    def mean(self, metric: str) -> float:
        """Of a metric, over the pictures."""
        return float(self.values[metric].mean(dtype=np.float64))

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows: means and costs."""
        means = {name: self.mean(name) for name in self.values}
        return {"metrics": means, "seconds": self.seconds, "n": len(self.labels), "stopped": self.stopped}

    def to_bytes(self) -> bytes:
        """An .npz that holds no objects: arrays, and the rest as JSON."""
        rest = {name: getattr(self, name) for name in NUMBERS} | {"format": FORMAT, "metrics": list(self.values)}
        rest |= {"history": [dict(row) for row in self.history], "machine": dict(self.machine), "stopped": self.stopped}
        arrays: dict[str, NDArray[Any]] = {f"value.{name}": held for name, held in self.values.items()}
        if self.confidence is not None:
            arrays["confidence"] = self.confidence
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, labels=self.labels, rest=np.array(json.dumps(rest)), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Outcome":
        """The outcome that `to_bytes` wrote.

        Raises:
            NetwrightError: it is damaged, or of a newer netwright.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as held:
                rest = parsed(str(held["rest"]))
                values = {name: held[f"value.{name}"] for name in rest["metrics"]}
                confidence = held["confidence"] if "confidence" in held.files else None
                labels = held["labels"]
            if rest["format"] > FORMAT:
                problem = f"a run in the store was written by a newer netwright (format {rest['format']})"
                raise NetwrightError(problem, "update netwright: pip install --upgrade netwright")
            others = {name: rest[name] for name in (*NUMBERS, "history", "machine", "stopped")}
            return cls(values=values, labels=labels, confidence=confidence, **others)
        except UNREADABLE as error:
            problem = f"a run in the store cannot be read: {error}"
            raise NetwrightError(problem, "give another --store, or remove that run from it") from error


NUMBERS = ("seconds", "images_per_second", "epochs", "steps", "memory")
