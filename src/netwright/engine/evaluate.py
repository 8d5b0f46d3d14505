"""Evaluation: a network over every sample of a split, one value a sample, so that every mean has an interval."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from netwright.engine.augment import prepare
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw, Source, WholePictures
from netwright.engine.run import Task, of_pictures
from netwright.engine.tiles import Tiled
from netwright.nn.output import Decoded, given

EVALUATION_BATCH = 256  # at most; a run whose training batch is small may be short of memory


class Summary(Protocol):
    """Gathers what no mean over samples tells, batch by batch."""

    def add(self, output: Any) -> None:
        """Take a batch's outputs into account."""
        ...

    def numbers(self) -> dict[str, float]:
        """What it comes to."""
        ...


@runtime_checkable
class Summarised(Protocol):
    """A task that wants a summary of a split's outputs."""

    def summary(self) -> Summary:
        """An empty one."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What a network gave on a split.

    Attributes:
        values: for each metric, one value a sample, N; in the task's order, the headline first.
        output: the network's outputs, N K, or None where a task's outputs are too large to keep.
        labels: N; zeros where each pixel has one.
        summary: what the task gathered besides, if it does.
    """

    values: dict[str, np.ndarray]
    output: np.ndarray | None
    labels: np.ndarray
    summary: Summary | None = None

    def means(self) -> dict[str, float]:
        """The mean of each metric, and what the summary comes to."""
        means = {name: float(values.mean()) for name, values in self.values.items()}
        return means | (self.summary.numbers() if self.summary else {})


def evaluate(
    model: nn.Module,
    source: Source,
    task: Task,
    normalise: Normalise,
    profile: Profile,
    *,
    keep: bool = False,
    batch_size: int = EVALUATION_BATCH,
) -> Evaluation:
    """Run a network in evaluation mode over a split, in order.

    Args:
        model: maps N C H W to the task's output.
        source: the samples.
        task: gives the metrics.
        normalise: the preprocessing that training used.
        profile: the device.
        keep: also return the outputs.
        batch_size: samples at a time.
    """
    model.eval()
    values: dict[str, list[Tensor]] = {}
    outputs: list[Tensor] = []
    labels: list[Tensor] = []
    summary = task.summary() if isinstance(task, Summarised) else None
    for raw, image, output in _passed(model, source, normalise, profile, batch_size):
        truth = task.batch(image, raw.label) if of_pictures(task) else raw.label
        for name, value in task.metrics(output, truth).items():
            values.setdefault(name, []).append(value.float().cpu())
        if summary is not None:
            summary.add(output)
        dense = raw.label.dim() > 2
        labels.append(torch.zeros(len(raw.label), dtype=torch.long) if dense else raw.label.cpu())
        outputs += [output.float().cpu()] if keep and not dense and isinstance(output, Tensor) else []
    back = np.argsort(np.concatenate(batches_of(source, batch_size)), kind="stable")
    return Evaluation(
        {name: torch.cat(parts).numpy()[back] for name, parts in values.items()},
        torch.cat(outputs).numpy()[back] if outputs else None,
        torch.cat(labels).numpy()[back],
        summary,
    )


def predict(
    model: nn.Module, source: Source, normalise: Normalise, profile: Profile, batch_size: int = EVALUATION_BATCH
) -> Iterator[tuple[Raw, Any]]:
    """Samples and the network's float32 output for each batch of a split; of pictures with masks, all of each.

    Pictures too large to be looked at as a whole are looked at in tiles.
    """
    return ((raw, output) for raw, _, output in _passed(model, source, normalise, profile, batch_size))


@torch.no_grad()
def _passed(
    model: nn.Module, source: Source, normalise: Normalise, profile: Profile, batch_size: int
) -> Iterator[tuple[Raw, Tensor, Any]]:
    """Samples, what the network saw of them, and its float32 output."""
    looks: nn.Module = model
    if isinstance(source, WholePictures):
        normalise, looks = replace(normalise, size=None), Tiled(model)
    for raw in source.batches(batches_of(source, batch_size)):
        if isinstance(looks, Tiled):
            looks.several = raw.label.dim() == 4  # N K H W
        image = prepare(raw, normalise, profile)
        with profile.autocast():
            output = given(looks, image, raw.label)
        yield raw, image, output.float() if isinstance(output, Tensor | Decoded) else output


def batches_of(source: Source, batch_size: int) -> list[np.ndarray]:
    """The positions of a split, a batch each: in order, but where pictures of one size have to come together."""
    if isinstance(source, WholePictures):
        return source.chunks(batch_size)
    positions = np.arange(len(source))
    return [positions[i : i + batch_size] for i in range(0, len(positions), batch_size)]
