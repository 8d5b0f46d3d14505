"""A trained autoencoder: pictures to codes, and codes to pictures; codes of pictures that never were."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.bundle.bundle import Bundle, read_bundle, stored_of
from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import Between, value_of
from netwright.engine.device import profile
from netwright.models._autoencoder import Autoencoding
from netwright.nn.observation import Observation

BATCH = 64
AT_ONCE = BATCH << 16  # values of a channel: 64 pictures of 256x256
MOST_CODES = 1_000_000  # drawn at once
Labels = str | int | Sequence[str | int] | np.ndarray | Tensor  # names of classes or their numbers; one is for all
Codes = tuple[Tensor, Tensor | None]


class AutoencoderBundle(Bundle):
    """A network that makes codes of pictures and pictures of codes: `load_autoencoder(run).reconstruct(["a.png"])`.

    Pictures are given as one or many paths, Pillow images or uint8 arrays H W (C); as uint8 N S S C that
    `Preprocess.stored` gave; or as a float tensor N C H W of values in [0, 1] that has the network's own size already.
    Everything is computed 64 pictures at a time, or fewer large ones; results are float32 on the CPU.

    Attributes:
        network: the autoencoder itself, without what tricks put around it.
        latent: numbers of a code.
        observation: what the decoder's numbers mean.
        random: whether codes are drawn around a mean, so that there is a prior: N(0, I).
        conditional: whether it wants the class of each picture and of each code.

    Raises:
        NetwrightError: the network is no autoencoder.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.network = autoencoding_of(self.model)
        self.latent: int = self.network.latent
        self.observation: Observation = self.network.observation
        self.random: bool = self.network.random
        self.conditional: bool = self.network.conditional
        height, width = self.network.image_size
        self.at_once = max(1, min(BATCH, AT_ONCE // (height * width)))
        self._check()

    @property
    def statistics(self) -> dict[str, Any] | None:
        """What codes of training pictures were like, dimension by dimension; None where nobody kept it."""
        kept = self.card.get("latent")
        return None if kept is None else {name: value for name, value in kept.items() if name != "covariance"}

    def pictures(self, images: Any) -> Tensor:
        """Pictures as the network is to give them back: N C H W, in [0, 1].

        Raises:
            NetwrightError: a picture cannot be read, or the model was trained on a user's own dataset.
        """
        return _joined(list(self._parts(images)), self._nothing())

    def prepared(self, images: Any) -> Tensor:
        """Pictures as the network takes them, normalised: N C H W.

        Raises:
            NetwrightError: as `pictures`.
        """
        return _joined([self._input(part).cpu() for part in self._parts(images)], self._nothing())

    def encode(self, images: Any, labels: Labels | None = None) -> Codes:
        """Mean codes, N D, and logarithms of their variances, N D, or None where codes are not drawn.

        Args:
            images: pictures.
            labels: of a conditional network, the class of each by name or number, or one for all.

        Raises:
            NetwrightError: as `pictures`; or there are labels too few, too many, of no class, or none where they are
                needed.
        """
        means: list[Tensor] = []
        variances: list[Tensor] = []
        for part, label in self._with_labels(images, labels):
            mean, variance = self._encoded(part, label)
            means.append(mean)
            variances += [] if variance is None else [variance]
        empty = torch.zeros(0, self.latent)
        return _joined(means, empty), _joined(variances, empty) if self.random else None

    def decode(self, codes: Tensor | np.ndarray, labels: Labels | None = None) -> Tensor:
        """The pictures of codes, clipped to [0, 1]: N D -> N C H W.

        Args:
            codes: from `encode` or `sample`, or any.
            labels: as for `encode`.

        Raises:
            NetwrightError: codes of another length, or labels that do not go with them.
        """
        return _joined(list(self.decoded_parts(codes, labels)), self._nothing())

    def decoded_parts(self, codes: Tensor | np.ndarray, labels: Labels | None = None) -> Iterator[Tensor]:
        """As `decode`, a few dozen at a time, for more pictures than memory holds.

        Raises:
            NetwrightError: as `decode`.
        """
        rows = self._codes(codes)
        numbers = self.label_numbers(labels, len(rows))
        for start in range(0, len(rows), self.at_once):
            part = slice(start, start + self.at_once)
            yield self._decoded(rows[part], None if numbers is None else numbers[part])

    def reconstruct(self, images: Any, labels: Labels | None = None) -> Tensor:
        """What the network makes of pictures, by their mean codes: N C H W in [0, 1].

        Raises:
            NetwrightError: as `encode`.
        """
        made = [
            self._decoded(self._encoded(part, label)[0], label) for part, label in self._with_labels(images, labels)
        ]
        return _joined(made, self._nothing())

    def sample(self, n: int, seed: int = 0, labels: Labels | None = None, *, fitted: bool = False) -> Tensor:
        """Codes of pictures that never were, N D: from the prior N(0, I), or from what training's codes were like.

        Args:
            n: how many.
            seed: the same one gives the same codes.
            labels: of a conditional network, the classes that they are wanted for; only checked here.
            fitted: draw from the Gaussian with the mean and covariance of the codes of training pictures.

        Raises:
            NetwrightError: codes of this network are not drawn, so that there is no prior; or nothing was fitted.
        """
        value_of("n", Annotated[int, Between(1, MOST_CODES)], n)
        value_of("seed", Annotated[int, Between(0, 2**63 - 1)], seed)
        if labels is not None:
            self.label_numbers(labels, n)
        if not self.random and not fitted:
            problem = "this autoencoder has no prior: its codes are not drawn, and nobody knows where they lie"
            fix = "train one that has (--model vae), or draw from the Gaussian of its training codes: fitted=True"
            raise NetwrightError(problem, fix)
        drawn = torch.randn(n, self.latent, generator=torch.Generator().manual_seed(seed))
        return self._like_training(drawn) if fitted else drawn

    def label_numbers(self, labels: Labels | None, n: int) -> Tensor | None:
        """Classes of `n` pictures as numbers, N; None where the network takes none.

        Raises:
            NetwrightError: labels are missing, not wanted, of another number than `n`, or of no class.
        """
        if not self.conditional:
            if labels is not None:
                problem = "this autoencoder takes no classes, and some were given"
                raise NetwrightError(problem, "leave labels out; only a conditional_vae takes them")
            return None
        if labels is None:
            problem = "this autoencoder is conditional: it wants the class of each picture"
            raise NetwrightError(problem, f"give labels, names or numbers: {self._examples()}")
        given = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
        if isinstance(given, str | int):
            return torch.full((n,), self._number(given), dtype=torch.long)
        numbers = [self._number(each) for each in given]
        if len(numbers) != n:
            raise NetwrightError(f"{len(numbers)} labels for {n} pictures or codes", "give one for each, or one alone")
        return torch.tensor(numbers, dtype=torch.long)

    def _check(self) -> None:
        """What a card says and what the network is agree: it may come from anywhere.

        Raises:
            NetwrightError: they do not.
        """
        preprocess, kept = self.preprocess, self.card.get("latent")
        wrong = ""
        if preprocess is not None and self.network.image_size != (preprocess.image_size,) * 2:
            height, width = self.network.image_size
            wrong = f"it prepares pictures of {preprocess.image_size} px for a network of {height}x{width}"
        if kept is not None and len(kept["mean"]) != self.latent:
            wrong = f"it has statistics of {len(kept['mean'])} dimensions for codes of {self.latent}"
        if wrong:
            raise NetwrightError(f"the bundle's card cannot be right: {wrong}", "copy the bundle again")

    def _number(self, label: Any) -> int:
        if isinstance(label, str):
            if label not in self.classes:
                raise unknown("class of this autoencoder", label, self.classes)
            return self.classes.index(label)
        if type(label) is not int or not 0 <= label < len(self.classes):
            fix = f"give 0 to {len(self.classes) - 1}, or a name: {self._examples()}"
            raise NetwrightError(f"{label!r} is no class of this autoencoder", fix)
        return label

    def _examples(self) -> str:
        return ", ".join(self.classes[:3]) + (" …" if len(self.classes) > 3 else "")

    def _like_training(self, drawn: Tensor) -> Tensor:
        """Standard normal codes moved and stretched as training's codes lie."""
        kept = self.card.get("latent")
        if kept is None or kept.get("covariance") is None:
            why = "nothing was kept of its training codes" if kept is None else "its codes are too long for one"
            raise NetwrightError(f"this autoencoder has no fitted Gaussian: {why}", "train a vae, which has a prior")
        covariance = torch.tensor(kept["covariance"], dtype=torch.float64)
        values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
        root = vectors * values.clamp(min=0).sqrt()  # rounding may leave a value below nought
        return (torch.tensor(kept["mean"], dtype=torch.float64) + drawn.double() @ root.T).float()

    @torch.inference_mode()
    def _encoded(self, pictures: Tensor, label: Tensor | None) -> Codes:
        with self.profile.autocast():
            mean, variance = self.network.encode(self._input(pictures), self._placed(label))
        return mean.float().cpu(), None if variance is None else variance.float().cpu()

    @torch.inference_mode()
    def _decoded(self, codes: Tensor, label: Tensor | None) -> Tensor:
        with self.profile.autocast():
            natural = self.network.decode(codes.to(self.profile.device), self._placed(label))
        return self.observation.pixels(natural.float()).clamp(0, 1).cpu()

    def _placed(self, label: Tensor | None) -> Tensor | None:
        return None if label is None else label.to(self.profile.device)

    def _input(self, pictures: Tensor) -> Tensor:
        return self.profile.layout(self.normalise()(pictures.to(self.profile.device)))

    def _codes(self, codes: Tensor | np.ndarray) -> Tensor:
        try:
            rows = torch.as_tensor(codes).float().cpu()
        except (TypeError, ValueError, RuntimeError):
            problem = f"codes are numbers, one row a picture, and this is {type(codes).__name__}"
            raise NetwrightError(problem, "give a tensor or an array N D, as `encode` and `sample` make them") from None
        if rows.ndim != 2 or rows.shape[1] != self.latent:
            problem = f"codes of this autoencoder are N x {self.latent}, and these are {_shape(rows)}"
            raise NetwrightError(problem, "give codes of a network with the same latent size, one a row")
        if not rows.isfinite().all():
            raise NetwrightError("some codes are not numbers", "give finite ones")
        return rows

    def _with_labels(self, images: Any, labels: Labels | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        many = _many(images)
        numbers, start = self.label_numbers(labels, len(many)), 0
        for part in self._parts(many):
            yield part, None if numbers is None else numbers[start : start + len(part)]
            start += len(part)

    def _parts(self, images: Any) -> Iterator[Tensor]:
        """Pictures in [0, 1], N C H W, a few dozen at a time."""
        many = _many(images)
        for start in range(0, len(many), self.at_once):
            part = many[start : start + self.at_once]
            yield self._ready(part) if isinstance(part, Tensor) else self._read(part)

    def _read(self, images: Iterable[Any]) -> Tensor:
        preprocess = self.preprocess_or_error()
        stored = np.stack([preprocess.centre(stored_of(preprocess, image)) for image in images])
        return torch.from_numpy(stored).permute(0, 3, 1, 2).contiguous().float().div_(255)

    def _ready(self, pictures: Tensor) -> Tensor:
        """Values in [0, 1], N C H W, as they are; of stored bytes, N S S C, the middle."""
        preprocess = self.preprocess_or_error()
        channels, side, stored = preprocess.channels, preprocess.image_size, preprocess.stored_size
        if pictures.dtype == torch.uint8 and tuple(pictures.shape[1:]) == (stored, stored, channels):
            middle = preprocess.centre(pictures.cpu().numpy())
            return torch.from_numpy(np.ascontiguousarray(middle)).permute(0, 3, 1, 2).contiguous().float().div_(255)
        if not pictures.is_floating_point() or tuple(pictures.shape[1:]) != (channels, side, side):
            problem = f"this autoencoder takes pictures of {channels}x{side}x{side} values in [0, 1]"
            fix = f"give float N x {channels} x {side} x {side}, or files, which are prepared"
            raise NetwrightError(f"{problem}, and these are {_shape(pictures)} of {pictures.dtype}", fix)
        if not (pictures.min() >= 0 and pictures.max() <= 1):
            problem = f"pictures have values in [0, 1], and these have {pictures.min():.3g} to {pictures.max():.3g}"
            raise NetwrightError(problem, "scale or clip them; the network's own normalising follows")
        return pictures.detach().float().cpu()

    def _nothing(self) -> Tensor:
        preprocess = self.preprocess_or_error()
        return torch.zeros(0, preprocess.channels, preprocess.image_size, preprocess.image_size)


def autoencoding_of(model: nn.Module) -> Autoencoding:
    """The autoencoder in a network that tricks may have wrapped.

    Raises:
        NetwrightError: there is none.
    """
    found = next((module for module in model.modules() if isinstance(module, Autoencoding)), None)
    if found is None:
        problem = f"{type(model).__name__} does not show its codes"
        fix = "use an autoencoder of netwright's, as --model vae, or make yours a subclass of its `Autoencoding`"
        raise NetwrightError(problem, fix)
    return found


def load_autoencoder(path: str | Path, *, model: nn.Module | None = None, device: str = "auto") -> AutoencoderBundle:
    """A trained autoencoder from a run folder or a bundle.

    Args:
        path: a run folder, its `bundle/`, or a copy of that.
        model: the untrained network, for runs of a user's own network.
        device: where to compute.

    Raises:
        NetwrightError: no bundle there, a damaged one, or one of a network that is no autoencoder.
    """
    network, card = read_bundle(Path(path), model)
    if card.get("task") != "reconstruction":
        what = "gives each pixel a class" if card.get("task") == "segmentation" else "gives each picture a class"
        fix = "give a run of an autoencoder: netwright train PATH --task reconstruction"
        raise NetwrightError(f"{path} {what}, and this needs an autoencoder", fix)
    return AutoencoderBundle(network, card, profile(device, card["recipe"]["precision"], macs=card["model"]["macs"]))


def _many(images: Any) -> Sequence[Any] | Tensor:
    """One picture or many as many; arrays N S S C of bytes as a tensor."""
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return torch.from_numpy(images)
    if isinstance(images, Tensor):
        return images if images.ndim == 4 else images[None]
    return list(images) if isinstance(images, list | tuple) else [images]


def _joined(parts: list[Tensor], empty: Tensor) -> Tensor:
    return torch.cat(parts) if parts else empty


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
