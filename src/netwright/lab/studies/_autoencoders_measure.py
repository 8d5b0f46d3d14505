"""One way to a code with one seed: trained, and measured on the same pictures as all others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.core.errors import Interrupted
from netwright.data import Data
from netwright.data.loader import ArraySource
from netwright.data.split import Split
from netwright.engine.augment import prepare
from netwright.engine.corruption import corrupted
from netwright.engine.device import Profile, profile
from netwright.engine.loop import Watcher, interruption, train
from netwright.engine.normalise import Normalise
from netwright.engine.random import key
from netwright.engine.signals import stops_on_signals
from netwright.lab.few_labels import drawn, few_labels
from netwright.lab.reduction import Components
from netwright.lab.studies._autoencoders_arms import CORRUPTIONS
from netwright.lab.trial import KEPT, Unsaved
from netwright.nn.output import Decoded
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._recipe import Recipe
from netwright.tasks._latent import Latent
from netwright.tasks.reconstruction import squared_error

Floats = NDArray[np.float64]
AT_ONCE = 256  # pictures
POOL = 2000  # training pictures whose codes are kept, so that other numbers of labels want no other training
SHOWN = 2  # pictures of each corruption that a sheet has
CLEAN = "clean"


@dataclass(frozen=True, eq=False)
class Bench:
    """The pictures that all arms meet with one seed, in [0, 1], N C H W.

    Attributes:
        clean: test pictures.
        noisy: the same, corrupted, by kind.
        truth: their classes.
        few: training pictures whose labels may be looked at. P.
        labels: their classes.
        places: where they are among all training pictures, rising.
        draws: for each number of labels, which of these P it is.
    """

    clean: Tensor
    noisy: Mapping[str, Tensor]
    truth: NDArray[np.int64]
    few: Tensor
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    draws: Mapping[int, NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Codes:
    """What a probe learns from and is asked.

    Attributes:
        few: of training pictures whose labels may be looked at. P D.
        places: where these are among all training pictures. P.
        asked: of clean test pictures. M D.
    """

    few: NDArray[np.float32]
    places: NDArray[np.int64]
    asked: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answers:
    """Of one probe.

    Attributes:
        right: 1.0 where it was right. M.
        edge: whether its penalty lies at the end of what was tried.
    """

    right: Floats
    edge: bool


@dataclass(frozen=True, eq=False)
class Measured:
    """What one arm reached with one seed.

    Attributes:
        errors: squared error of each test picture, by what was shown: `clean`, or a corruption. M each.
        codes: `active`, `dead`: how many numbers of the code; `zeros`: the share of all entries that are 0; and
            `sparseness`.
        shown: what became of the first pictures, by what was shown; bytes, SHOWN H W C each.
        seconds: of training and measuring, without probes.
        used: what the machine and the data settled of the recipe, where there is a network.
        vectors: codes themselves, where they are not pixels.
        probes: answers, for each number of labels.
    """

    errors: Mapping[str, Floats]
    codes: Mapping[str, float]
    shown: Mapping[str, NDArray[np.uint8]]
    seconds: float
    used: Mapping[str, Any] = field(default_factory=dict[str, Any])
    vectors: Codes | None = None
    probes: Mapping[int, Answers] = field(default_factory=dict[int, Answers])


class Coder(Protocol):
    """Turns pictures into codes and back."""

    def __call__(self, pictures: Tensor) -> tuple[NDArray[Any], Tensor | None, Mapping[str, float]]:
        """Codes N D; pictures made of them, N C H W, if any are; and what is known of the codes."""
        ...


@dataclass(frozen=True, eq=False)
class Network:
    """A network as a coder; `untrained` ones make no pictures.

    Attributes:
        model: an autoencoder.
        normalise: as in training.
        profile: where it is.
        untrained: whether its decoder says nothing.
    """

    model: nn.Module
    normalise: Normalise
    profile: Profile
    untrained: bool = False

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> tuple[NDArray[Any], Tensor | None, Mapping[str, float]]:
        """Mean codes and reconstructions."""
        self.model.eval()
        codes: list[Tensor] = []
        back: list[Tensor] = []
        latent = Latent()
        for batch in pictures.split(AT_ONCE):
            image = self.profile.layout(self.normalise(batch.to(self.profile.device)))
            with self.profile.autocast():
                output: Decoded = self.model(image)
            output = output.float()
            latent.add(output)
            codes.append(output.mean.cpu())
            back.append(output.pixels.cpu())
        known = {"active": latent.active, "dead": latent.dead, "zeros": 1 - float(latent.used.mean())}
        found = torch.cat(codes).numpy()
        known["sparseness"] = sparseness(found)
        return found, None if self.untrained else torch.cat(back), known


@dataclass(frozen=True, eq=False)
class Projection:
    """Principal components as a coder."""

    components: Components

    def __call__(self, pictures: Tensor) -> tuple[NDArray[Any], Tensor | None, Mapping[str, float]]:
        """Coordinates, and the nearest pictures that have them."""
        codes = self.components.codes(flat(pictures))
        return codes, torch.from_numpy(self.components.back(codes)).view(pictures.shape), {}


def as_they_are(pictures: Tensor) -> tuple[NDArray[Any], Tensor | None, Mapping[str, float]]:
    """Pixels as codes: nothing is learnt, and nothing is mended."""
    return flat(pictures), pictures, {}


def sparseness(codes: NDArray[Any]) -> float:
    """(√D − Σ|z| / √Σz²) / (√D − 1), the mean over codes: 0 where all entries have one size, 1 where one is not 0.

    Hoyer, Non-negative matrix factorization with sparseness constraints, JMLR 5, 2004. Codes that are all 0 count as
    0, and so do codes of one number. N D.
    """
    root = codes.shape[1] ** 0.5
    lengths = np.sqrt(np.square(codes, dtype=np.float64).sum(1))
    sums = np.abs(codes).sum(1, dtype=np.float64)
    shares = np.divide(sums, lengths, out=np.full_like(sums, root), where=lengths > 0)
    return float(np.mean((root - shares) / (root - 1))) if root > 1 else 0.0


def flat(pictures: Tensor) -> NDArray[np.float32]:
    """N C H W -> N CHW."""
    return pictures.flatten(1).numpy()


def pictures_of(split: Split, size: int, places: NDArray[np.int64] | None = None) -> Tensor:
    """Pictures as a network sees them before they are normalised: in [0, 1], N C H W, in main memory."""
    where = profile("cpu", "fp32")
    kept = split if places is None else split.taken(places)
    channels = kept.images.shape[-1]
    plain = Normalise((0.0,) * channels, (1.0,) * channels, size)
    chunks = [np.arange(start, min(start + AT_ONCE, len(kept))) for start in range(0, len(kept), AT_ONCE)]
    return torch.cat([prepare(raw, plain, where).contiguous() for raw in ArraySource(kept, where).batches(chunks)])


def bench(data: Data, test: Split, sizes: tuple[int, ...], amount: float, seed: int) -> Bench:
    """What all arms meet with one seed: it decides corruptions, and whose labels are known.

    Raises:
        NetwrightError: more labels than there are training pictures, or fewer than 2 of each class.
    """
    side, train = data.preprocess.image_size, data.splits["train"]
    clean = pictures_of(test, side)
    noisy = {kind: _corrupted(clean, kind, amount, seed) for kind in CORRUPTIONS}
    chosen = {many: drawn(train.labels, many, seed) for many in sizes}
    known = [drawn(train.labels, min(len(train), max(POOL, *sizes)), seed)] if sizes else []
    every = np.unique(np.concatenate([*chosen.values(), *known, np.empty(0, np.intp)])).astype(np.int64)
    few = pictures_of(train, side, every) if len(every) else clean[:0]
    draws = {many: np.searchsorted(every, places) for many, places in chosen.items()}
    return Bench(clean, noisy, test.labels, few, train.labels[every], every, draws)


def measured(coder: Coder, on: Bench, begun: float) -> Measured:
    """Everything that is asked of an arm, but for probes; `begun` is when its clock started."""
    codes, back, known = coder(on.clean)
    errors: dict[str, Floats] = {}
    shown: dict[str, NDArray[np.uint8]] = {}
    for name, seen in {CLEAN: on.clean, **on.noisy}.items():
        made = back if name == CLEAN else coder(seen)[1] if back is not None else None
        if made is not None:
            errors[name] = squared_error(made, on.clean).double().numpy()
            shown[name] = as_bytes(made[:SHOWN])
    labelled = coder(on.few)[0] if len(on.few) else codes[:0]
    vectors = Codes(labelled, on.places, codes)
    return Measured(errors, known, shown, perf_counter() - begun, vectors=vectors)


def probed(codes: Codes, on: Bench, many: int) -> Answers:
    """What a linear classifier makes of codes when so many of them have labels."""
    rows = np.searchsorted(codes.places, on.places[on.draws[many]])
    seen = few_labels(codes.few[rows], on.labels[on.draws[many]], codes.asked, on.truth)
    return Answers(seen.right.astype(np.float64), seen.edge)


def as_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """N C H W in [0, 1] -> N H W C."""
    return (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def begun(recipe: Recipe, data: Data, *, trained: bool) -> Parts:
    """The run of a recipe: its network trained, or as it was drawn.

    Raises:
        NetwrightError: whatever training refuses.
        Interrupted: a signal stopped it.
    """
    parts = assemble(recipe, data=data)
    if trained:
        try:
            with stops_on_signals(parts.run):
                train(parts.run, Watcher(), Unsaved())
        except Interrupted:
            raise interruption(parts.run, KEPT) from None
    return parts


def network_of(parts: Parts, *, untrained: bool) -> Network:
    """What a run hands on, as a coder."""
    run = parts.run
    return Network(run.predictor(), run.normalise, run.profile, untrained)


def _corrupted(clean: Tensor, kind: str, amount: float, seed: int) -> Tensor:
    parts = clean.split(AT_ONCE)
    return torch.cat(
        [corrupted(part, kind, amount, key(seed, "autoencoders", place)) for place, part in enumerate(parts)]
    )
