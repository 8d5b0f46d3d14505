"""Batches of training samples in an order that is a function of (seed, epoch)."""

import queue
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from netwright.core.errors import NetwrightError
from netwright.data.split import Split
from netwright.data.workers import Noted, Workers
from netwright.engine.device import Profile
from netwright.engine.plans import DataPlan, Raw, Source
from netwright.engine.random import generator, key

RESIDENT_BYTES = 2 << 30
PREFETCH = 2
CHANNELS = (1, 2, 3, 4)  # of most pictures
DEEP = 65535  # the largest value of 16 bits
Item = TypeVar("Item")


class ArraySource:
    """A decoded split. Small ones live on the device; larger ones are read from their memory map, ahead of need."""

    def __init__(self, split: Split, profile: Profile) -> None:
        self.split = split
        self.labels = split.labels
        self.device = profile.device
        self.resident = split.images.nbytes <= RESIDENT_BYTES
        if self.resident:
            self._images = torch.from_numpy(np.array(split.images)).to(self.device)
            self._labels = torch.from_numpy(np.array(split.labels)).to(self.device)
            self._ids = torch.from_numpy(np.array(split.ids)).to(self.device)

    def __len__(self) -> int:
        return len(self.split.labels)

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` on the device for each array of positions."""
        read = self._resident_batch if self.resident else self._mapped_batch
        made = (read(chosen) for chosen in positions)
        return made if self.resident else ahead(made)

    def _resident_batch(self, positions: np.ndarray) -> Raw:
        chosen = torch.from_numpy(positions).to(self.device)
        return Raw(self._images[chosen], self._labels[chosen], self._ids[chosen])

    def _mapped_batch(self, positions: np.ndarray) -> Raw:
        order = np.sort(positions)  # a memory map reads forwards faster
        back = np.searchsorted(order, positions)
        arrays = (self.split.images[order][back], self.split.labels[positions], self.split.ids[positions])
        return Raw(*(torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays))


class DatasetSource:
    """A user's own map-style dataset of (image, label): read by torch's DataLoader in the order we give."""

    def __init__(self, dataset: "Dataset[Any]", profile: Profile, *, workers: int = 0) -> None:
        self.dataset = dataset
        self.device = profile.device
        self.workers = workers
        self.labels = _known_labels(dataset)

    def __len__(self) -> int:
        return len(cast(Any, self.dataset))

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` on the device for each array of positions.

        Raises:
            NetwrightError: pictures of different sizes, or a worker process died.
        """
        for chosen, samples in zip(positions, self._read(positions, stream), strict=True):
            images = _stacked([as_tensor(image) for image, _ in samples])
            labels = torch.from_numpy(_whole(np.stack([np.asarray(label) for _, label in samples])))
            ids = torch.from_numpy(np.asarray(chosen, dtype=np.int64))
            yield Raw(images.to(self.device), labels.to(self.device), ids.to(self.device))

    def _read(self, positions: Sequence[np.ndarray], stream: int) -> Iterator[list[Any]]:
        """Samples as the dataset gives them, by batch: turning them into tensors is ours to do."""
        wanted = [list(map(int, chosen)) for chosen in positions]
        seeded = Seeded(self.dataset, stream)
        if not self.workers:
            return ([seeded[position] for position in chosen] for chosen in wanted)
        workers = Workers(self.workers)
        loader = DataLoader(
            cast("Dataset[Any]", Noted(seeded, workers)),
            batch_sampler=wanted,
            num_workers=self.workers,
            collate_fn=list,
            worker_init_fn=workers.begin,
        )
        return workers.batches(loader)


class Seeded:
    """A dataset whose own random transforms draw what (stream, position) says, in whichever process they run."""

    def __init__(self, dataset: Any, stream: int) -> None:
        self.dataset = dataset
        self.stream = stream

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        seed = key(self.stream, position) & 0xFFFFFFFF
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        return self.dataset[position]


class First:
    """The first samples of a source: enough to try something on.

    Args:
        source: of which.
        most: how many, if there are as many.
    """

    def __init__(self, source: Source, most: int) -> None:
        self.source = source
        self.most = most

    @property
    def labels(self) -> np.ndarray | None:
        """Theirs."""
        labels = self.source.labels
        return None if labels is None else labels[: self.most]

    def __len__(self) -> int:
        return min(self.most, len(self.source))

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` for each array of positions."""
        return self.source.batches(positions, stream=stream)


class Loader:
    """Training batches; the last incomplete one of an epoch is left for another epoch's order."""

    def __init__(self, plan: DataPlan, seed: int) -> None:
        self.plan = plan
        self.seed = seed
        self.batch_size = min(plan.batch_size, len(plan.train))
        self.steps = len(plan.train) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[Raw]:
        """The batches of an epoch from step `start` on."""
        order = epoch_order(len(self.plan.train), self.seed, number, self.plan.weights)
        batches = repeated(order, self.steps, self.batch_size, self.plan.repeats)
        made = self.plan.train.batches(list(batches[start:]), stream=key(self.seed, number))
        if self.plan.weights is None and self.plan.repeats == 1:
            yield from made
            return
        views = occurrences(batches.ravel()).reshape(batches.shape)
        for raw, view in zip(made, views[start:], strict=True):
            yield _with_views(raw, view)


def epoch_order(n: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Positions in the order of an epoch: a permutation, or n draws with replacement by weight."""
    draw = generator(seed, epoch, "order")
    if weights is None:
        return draw.permutation(n)
    return np.searchsorted(np.cumsum(weights / weights.sum()), draw.random(n)).clip(0, n - 1)


def repeated(order: np.ndarray, steps: int, batch_size: int, repeats: int) -> np.ndarray:
    """An order cut into batches in which each sample stands `repeats` times.

    Where `repeats` does not divide the batch, some stand there once less. Samples beyond the last batch are left out.

    Returns:
        steps × batch_size.
    """
    different = -(-batch_size // repeats)
    once = order[: steps * different].reshape(steps, different)
    return np.tile(once, repeats)[:, :batch_size]


def occurrences(order: np.ndarray) -> np.ndarray:
    """For each place, how often its value stood before: 0 at its first."""
    by_value = np.argsort(order, kind="stable")
    starts = np.r_[True, np.diff(order[by_value]) != 0]
    place = np.arange(len(order))
    result = np.empty_like(place)
    result[by_value] = place - np.maximum.accumulate(np.where(starts, place, 0))
    return result


def ahead(made: Iterator[Item], depth: int = PREFETCH) -> Iterator[Item]:
    """The same items, made in a thread of their own before they are asked for."""
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    abandoned = threading.Event()

    def work() -> None:
        try:
            for item in made:
                if not _put(waiting, (item, None), abandoned):
                    return
            _put(waiting, (None, None), abandoned)
        except BaseException as error:
            _put(waiting, (None, error), abandoned)

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        abandoned.set()


def as_tensor(image: Any) -> Tensor:
    """A picture from a user's dataset: PIL and uint8 arrays become H W C bytes, float tensors stay C H W.

    Values of 16 bits (uint16, PIL's modes I;16 and I) become floats in [0, 1], C H W: 65535 is 1. Tensors are C H W,
    arrays of whole numbers H W C; of an array of floats the equal sides are the picture's, or else the longer.

    Raises:
        NetwrightError: an array of whole numbers that is C H W, or a picture of mode I with values that 16 bits do not
            hold.
    """
    if isinstance(image, Tensor):
        image = image if image.dim() == 3 else image[None]
        if image.dtype == torch.uint8:
            return image.permute(1, 2, 0).contiguous()
        return image.float() / DEEP if image.dtype == torch.uint16 else image.float()
    array = np.array(image)  # a copy: what PIL lends is read-only, and torch warns of that
    array = array if array.ndim == 3 else array[..., None]
    deep = is_deep(image)
    if (deep or array.dtype == np.uint8) and array.shape[0] in CHANNELS and array.shape[2] not in CHANNELS:
        problem = f"a picture is an array of whole numbers of shape {array.shape}: {array.shape[2]} channels"
        raise NetwrightError(problem, "move the channels last in your dataset: np.moveaxis(x, 0, -1)")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    if deep and not 0 <= array.min() <= array.max() <= DEEP:
        problem = f"a picture of mode I has values from {array.min()} to {array.max()}, more than 16 bits hold"
        raise NetwrightError(problem, "scale them in your dataset, and give floats")
    first = _channels_first(*array.shape) and not deep
    tensor = torch.from_numpy(np.ascontiguousarray(array if first else array.transpose(2, 0, 1), dtype=np.float32))
    return tensor / DEEP if deep else tensor


def is_deep(image: Any) -> bool:
    """Whether a picture from a user's dataset has values of 16 bits, so that what they mean is known."""
    if isinstance(image, Tensor):
        return image.dtype == torch.uint16
    mode, kind = str(getattr(image, "mode", "")), getattr(image, "dtype", None)
    return mode == "I" or mode.startswith("I;16") or (isinstance(kind, np.dtype) and kind.newbyteorder("=") == "u2")


def _channels_first(one: int, two: int, three: int) -> bool:
    """Whether a shape is C H W rather than H W C."""
    if (one in CHANNELS) != (three in CHANNELS):
        return one in CHANNELS
    if (one == two) != (two == three):
        return two == three
    return one < three


def _stacked(images: list[Tensor]) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise NetwrightError(
            f"the dataset gives pictures of different shapes: {sorted(shapes)}", "resize them in its transform"
        )
    return torch.stack(images)


def _known_labels(dataset: Any) -> np.ndarray | None:
    """torchvision's datasets list their labels as `targets`."""
    targets = getattr(dataset, "targets", None)
    return None if targets is None else _whole(np.asarray(targets))


def _whole(labels: np.ndarray) -> np.ndarray:
    """Labels as whole numbers; those that are not known, NaN, are −1. Any shape -> the same, int64.

    Raises:
        NetwrightError: they are not whole.
    """
    if labels.dtype.kind == "f":
        labels = np.where(np.isnan(labels), -1, labels)
        if (labels % 1).any():
            several = "0 or 1 for each class; -1 or NaN where it is not known"
            raise NetwrightError(
                f"a label of {labels[labels % 1 > 0][0]:g} is no whole number",
                f"give {several if labels.ndim == 2 else 'the index of its class'}",
            )
    return labels.astype(np.int64, copy=False)


def _with_views(raw: Raw, views: np.ndarray) -> Raw:
    """A sample that is drawn again in an epoch gets another id, so that it is augmented in another way."""
    offset = torch.from_numpy(views * key("view")).to(raw.id.device)
    return Raw(raw.image, raw.label, raw.id + offset)


def _put(waiting: "queue.Queue[Any]", item: Any, abandoned: threading.Event) -> bool:
    while not abandoned.is_set():
        try:
            waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
