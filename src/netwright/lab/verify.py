"""Proves the fast paths equal to the slow one: bf16, channels_last, other batches, and accumulated gradients."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.bundle.predictor import load
from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.engine.augment import Augment
from netwright.engine.device import Profile
from netwright.engine.evaluate import EVALUATION_BATCH, evaluate
from netwright.engine.loop import seed_network
from netwright.engine.non_finite import gradient_norm
from netwright.engine.plans import Source
from netwright.engine.run import Batch, Run
from netwright.engine.trick import GradFn, Tricks
from netwright.models import variant
from netwright.nn.norm import batch_norms, refresh_
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._recipe import Recipe, read_recipe
from netwright.records.folder import RunFolder
from netwright.tricks import TRICKS

PARTS = 4  # in which the accumulated batch is cut
# Float32 rounds by 6e-8; sums of thousands in another order, through tens of layers, stay far below these.
SAME_OUTPUT, SAME_GRADIENT = 1e-4, 1e-4
# A bf16 rounding is 2^-9, and tens of layers add some up.
NEAR_OUTPUT = 0.1
TINY = 1e-30  # no division by zero


@dataclass(frozen=True)
class Fast:
    """One way to compute the network's answers, beside float32 in NCHW and one batch.

    Attributes:
        name: precision, memory layout and batch.
        max_delta: the largest |Δ logit|.
        relative: that, by the largest |logit|.
        accuracy_delta: accuracy less the reference's; None without labels.
        same: the share of samples with the same class.
        holds: whether `relative` is within what rounding explains.
    """

    name: str
    max_delta: float
    relative: float
    accuracy_delta: float | None
    same: float
    holds: bool


@dataclass(frozen=True)
class Accumulation:
    """The gradient of a batch in parts beside that of the whole.

    Attributes:
        parts: how many.
        relative: |Δ| / |gradient| in evaluation mode, where no layer looks at the whole batch or draws.
        holds: whether that is within what rounding explains.
        in_training: the same figure in training mode.
        statistics: how many layers compute batch statistics there.
    """

    parts: int
    relative: float
    holds: bool
    in_training: float
    statistics: int

    @property
    def everywhere(self) -> bool:
        """Whether it holds in training mode too."""
        return self.holds and self.in_training <= SAME_GRADIENT


@dataclass(frozen=True)
class Verification:
    """What was compared, and what came out."""

    name: str
    samples: int
    accuracy: float | None
    paths: tuple[Fast, ...]
    accumulation: Accumulation

    @property
    def holds(self) -> bool:
        """Whether everything that must be equal is."""
        return self.accumulation.holds and all(path.holds for path in self.paths)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"holds": self.holds}


def verify(target: str, *, samples: int = 256, device: str = "auto") -> Verification:
    """Compare every fast path with the slow one.

    Args:
        target: a run folder, whose model meets its own test (or validation) pictures, or the name of a model, which has
            random weights and meets noise: nothing is said of accuracy then.
        samples: pictures at most.
        device: where to compute.

    Raises:
        NetwrightError: no such run or model, or the run's data are gone.
    """
    threads = torch.get_num_threads()
    try:
        return _verified(target, samples, device)
    finally:
        torch.set_num_threads(threads)  # the process may have other work


def _verified(target: str, samples: int, device: str) -> Verification:
    is_run = (Path(target) / "record.json").is_file()
    parts = _of_run(Path(target), device) if is_run else _of_model(target, min(samples, 64), device)
    source = Few(_held_out(parts), samples)
    begun = _in_use(parts.run)
    network = load(target, device=device).model if is_run else begun
    accuracy, paths = _paths(network, source, parts.run, labelled=is_run)
    return Verification(target, len(source), accuracy, paths, _accumulation(parts.run))


class Few:
    """The first samples of a source."""

    def __init__(self, source: Source, most: int) -> None:
        self.source = source
        self.count = min(most, len(source))
        self.labels = source.labels

    def __len__(self) -> int:
        return self.count

    def batches(self, positions: Any, *, stream: int = 0) -> Any:
        """As the source gives them."""
        return self.source.batches(positions, stream=stream)


def _of_run(target: Path, device: str) -> Parts:
    """A run assembled anew as if to be resumed: its data, and its network with first weights.

    Only tricks that make another network of it are kept.
    """
    recipe = read_recipe(target / "record.json")
    kept = tuple(spec for spec in recipe.tricks if _is_structure(spec))
    plain = recipe.changed(tricks=kept, device=device, threads=None, precision="fp32")
    return assemble(plain, before=RunFolder.open(target).record())


def _is_structure(spec: str) -> bool:
    return Spec.parse(spec).name in TRICKS.names() and TRICKS.build(spec).card.structure


def _of_model(name: str, samples: int, device: str) -> Parts:
    """A model and noise of the size it was published for."""
    plain = name.partition("(")[0]
    row = None if plain.startswith("timm/") else variant(plain)
    side: int = row.image_size if row else 224
    channels = 1 if row and row.in_channels == 1 else 3
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (samples, side, side, channels), dtype=np.uint8)
    labels = np.arange(samples) % 2
    recipe = Recipe(model=name, precision="fp32", device=device, batch_size=min(16, samples), channels=channels)
    return assemble(recipe, data={"train": (pictures, labels), "val": (pictures, labels)})


def _held_out(parts: Parts) -> Source:
    splits = [split for split in ("test", "val") if split in parts.inputs.splits]
    if not splits:
        raise NetwrightError("this run has no test or validation pictures", "verify the model's name instead")
    return parts.inputs.source(splits[0], parts.run.profile, 0)


def _in_use(run: Run) -> nn.Module:
    """A network with random weights whose running statistics are those of some pictures: fresh ones may silence it."""
    refresh_(run.model, [next(_batches(run)).image])
    return run.model


def _paths(network: nn.Module, source: Few, run: Run, *, labelled: bool) -> tuple[float | None, tuple[Fast, ...]]:
    plain = replace(run.profile, precision="fp32", channels_last=False)
    slow = _seen(network, source, run, plain, EVALUATION_BATCH)
    found: list[Fast] = []
    for name, where, size in (
        ("fp32, NCHW, one at a time", plain, 1),
        ("fp32, channels_last", replace(plain, channels_last=True), EVALUATION_BATCH),
        ("bf16, NCHW", replace(plain, precision="bf16"), EVALUATION_BATCH),
        ("bf16, channels_last", replace(plain, precision="bf16", channels_last=True), EVALUATION_BATCH),
    ):
        fast = _seen(network, source, run, where, size)
        found.append(_compared(name, fast, slow, NEAR_OUTPUT if where.precision == "bf16" else SAME_OUTPUT, labelled))
    plain.apply()
    plain.place(network)
    return (slow[1] if labelled else None), tuple(found)


def _seen(network: nn.Module, source: Few, run: Run, where: Profile, size: int) -> tuple[np.ndarray, float]:
    """Logits, N K, and accuracy."""
    where.apply()
    network = network.to(memory_format=torch.channels_last if where.channels_last else torch.contiguous_format)
    found = evaluate(network.eval(), source, run.task, run.normalise, where, keep=True, batch_size=size)
    if found.output is None:
        raise NetwrightError("this task's outputs cannot be compared", "verify is for classifiers")
    return found.output.astype(np.float64), float(np.mean(next(iter(found.values.values())), dtype=np.float64))


def _compared(
    name: str, fast: tuple[np.ndarray, float], slow: tuple[np.ndarray, float], bound: float, labelled: bool
) -> Fast:
    delta = float(np.abs(fast[0] - slow[0]).max())
    relative = delta / max(float(np.abs(slow[0]).max()), TINY)
    same = float((fast[0].argmax(1) == slow[0].argmax(1)).mean())
    return Fast(name, delta, relative, fast[1] - slow[1] if labelled else None, same, relative <= bound)


def _accumulation(whole: Run) -> Accumulation:
    """The engine's own gradient, with and without the trick `accumulate`, from the same weights and batch."""
    in_parts: GradFn = Tricks([TRICKS.build(f"accumulate(parts={PARTS})")]).through("gradient", whole.gradient)
    batch = next(_batches(whole))
    whole.model.eval()
    still = _difference(whole, in_parts, batch)
    whole.model.train()
    training = _difference(whole, in_parts, batch)
    return Accumulation(PARTS, still, still <= SAME_GRADIENT, training, len(batch_norms(whole.model)))


def _difference(run: Run, in_parts: GradFn, batch: Batch) -> float:
    """|g' - g| / |g| over all parameters, both drawn from the same seed."""
    found: list[list[Tensor]] = []
    for gradient in (run.gradient, in_parts):
        for parameter in run.optimizer.parameters:
            parameter.grad = None
        seed_network(0, run.profile.device)
        gradient(batch, run)
        found.append([p.grad.clone() for p in run.optimizer.parameters if p.grad is not None])
    off = float(gradient_norm([one - other for one, other in zip(*found, strict=True)]))
    return off / max(float(gradient_norm(found[0])), TINY)


def _batches(run: Run) -> Iterator[Batch]:
    augment = Augment(run)
    return (augment(raw) for raw in run.loader.epoch(0))
