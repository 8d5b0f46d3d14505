"""Features of a network that stands still: computed once for each picture, and kept beside the decoded pictures."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.data.cache import cache_folder, limit, make_room, writable
from netwright.data.segments import ABSENT, Keys, Segments, as_keys
from netwright.engine.augment import prepare
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw, Source
from netwright.nn.digest import digest
from netwright.nn.headed import Headed
from netwright.nn.init import evaluating

LAYOUT = 1  # raise it when the same picture would have other features
HASHED = 256  # pictures at a time


class FeatureSource:
    """A split as a fixed network sees it: batches hold features, N F, where others hold pictures.

    They are computed with the first batch that is asked for: weights may come from a checkpoint until then. Pictures
    go through the network in batches of one size, filled up where they end, because a library may round otherwise for
    another size.

    Args:
        network: whose features, as it is then.
        pictures: the split.
        normalise: the preprocessing.
        profile: where and in which precision.
        batch_size: pictures at a time.
        made_by: what builds the network, as text; with it features of byte pictures are kept on disk from run to run.
    """

    def __init__(
        self,
        network: Headed,
        pictures: Source,
        *,
        normalise: Normalise,
        profile: Profile,
        batch_size: int,
        made_by: str | None = None,
    ) -> None:
        self.network = network
        self.pictures = pictures
        self.normalise = normalise
        self.profile = profile
        self.batch_size = min(batch_size, len(pictures))
        self.made_by = made_by
        self._held: Raw | None = None

    @property
    def labels(self) -> np.ndarray | None:
        """Those of the pictures."""
        return self.pictures.labels

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def held(self) -> Raw:
        """All features, N F, with labels and ids."""
        if self._held is None:
            self._held = self._computed() if self.made_by is None else self._remembered(self.made_by)
        return self._held

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` for each array of positions, its image of the shape N F."""
        held = self.held
        for chosen in positions:
            places = torch.from_numpy(np.asarray(chosen)).to(held.image.device)
            yield Raw(held.image[places], held.label[places], held.id[places])

    def _computed(self) -> Raw:
        """Every picture through the network."""
        parts = [Raw(self._features(raw.image), raw.label, raw.id) for raw in self._read(np.arange(len(self)))]
        image, label, id_ = (torch.cat([getattr(raw, name) for raw in parts]) for name in ("image", "label", "id"))
        return Raw(image[: len(self)], label[: len(self)], id_[: len(self)])

    def _remembered(self, made_by: str) -> Raw:
        """Those that were computed before from the disk, the others through the network."""
        one = next(iter(self.pictures.batches([np.zeros(1, np.int64)]))).image
        if one.dtype != torch.uint8:
            return self._computed()
        probe = self._probe(one)
        network, width = self._digest(made_by, tuple(one.shape[1:]), probe), len(probe)
        digests: list[bytes] = []
        labels: list[Tensor] = []
        ids: list[Tensor] = []
        for raw in self.pictures.batches(np.array_split(np.arange(len(self)), -(-len(self) // HASHED))):
            digests += [sha256(network + picture.tobytes()).digest() for picture in raw.image.cpu().numpy()]
            labels.append(raw.label)
            ids.append(raw.id)
        keys = as_keys(digests)
        folder = cache_folder() / "features"
        kept = Segments(folder / network.hex()[:16] if writable(folder) else None, np.float32, (width,))
        missing = kept.find(keys) == ABSENT
        found = np.empty((len(self), width), np.float32)
        found[~missing] = kept.rows(kept.find(keys[~missing]))[:]
        if missing.any():
            found[missing] = self._features_of(np.flatnonzero(missing))
            _keep(kept, keys[missing], found[missing])
        return Raw(torch.from_numpy(found).to(self.profile.device), torch.cat(labels), torch.cat(ids))

    def _features_of(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = [self._features(raw.image).cpu().numpy() for raw in self._read(places)]
        return np.concatenate(parts)[: len(places)]

    def _read(self, places: NDArray[np.int64]) -> Iterator[Raw]:
        """Pictures in batches of one size; the first ones again fill the last."""
        size = self.batch_size
        filled = np.resize(places, -(-len(places) // size) * size)
        return self.pictures.batches(list(filled.reshape(-1, size)))

    def _features(self, image: Tensor) -> Tensor:
        """N F, float32."""
        none = image.new_empty(0)
        with evaluating(self.network), self.profile.autocast():
            return self.network.features(prepare(Raw(image, none, none), self.normalise, self.profile))

    def _probe(self, like: Tensor) -> NDArray[np.float32]:
        """The features of a picture of noise, always the same one of this shape. 1 H W C -> F."""
        noise = np.random.default_rng(0).integers(0, 256, tuple(like.shape), dtype=np.uint8)
        return self._features(torch.from_numpy(noise).to(like.device))[0].cpu().numpy()

    def _digest(self, made_by: str, shape: tuple[int, ...], probe: NDArray[np.float32]) -> bytes:
        """Of everything that decides what a picture's features are, but for the picture.

        What no name tells, as another processor or code that was changed, shows in the features of the probe.
        """
        found = sha256(probe.tobytes())
        how = [made_by, self.network.stage, self.network.pool, asdict(self.normalise), self.batch_size, shape]
        profile, versions = self.profile, [torch.__version__, _version()]
        where = [str(profile.device), profile.precision, profile.channels_last, profile.threads]
        found.update(json.dumps([LAYOUT, *how, *where, *versions]).encode())
        found.update(digest(self.network.backbone.state_dict()).encode())
        return found.digest()


def _version() -> str:
    """Netwright's own."""
    try:
        return version("netwright")
    except PackageNotFoundError:
        return ""


def _keep(kept: Segments, keys: Keys, rows: NDArray[np.float32]) -> None:
    """Write features to the disk where there is room: without them the next run takes longer, and this one does not."""
    with suppress(NetwrightError):
        if kept.folder is not None and rows.nbytes < limit():
            make_room(cache_folder(), rows.nbytes, kept.used(keys))
            with kept.writing() as writer:
                for key, row in zip(keys, rows, strict=True):
                    writer.add(key, row)
