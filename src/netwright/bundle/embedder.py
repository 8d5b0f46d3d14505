"""Pictures as vectors: a network without its head, prepared pictures in, one vector each out, and what made them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright import __version__
from netwright.bundle._made import Asked, ImageSize, Made, forged, how_made
from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.bundle.bundle import find_bundle
from netwright.bundle.predictor import load, refuse_others
from netwright.bundle.rebuild import _no_larger_than
from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import value_of
from netwright.core.spec import Spec
from netwright.data.decode import UnreadableImage
from netwright.data.preprocess import Preprocess
from netwright.data.ready import MARGIN
from netwright.data.split import Split
from netwright.engine.augment import prepare
from netwright.engine.cost import macs_of
from netwright.engine.device import Profile, profile
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw
from netwright.models import TIMM, check_model, create_model, list_models, summaries, variant
from netwright.models._autoencoder import Autoencoding
from netwright.models._timm import TimmModel
from netwright.models._weights import Loaded, load_weights
from netwright.nn.digest import digest
from netwright.nn.headed import Headed, Pool, pooled, stage_of
from netwright.nn.output import main_output
from netwright.nn.places import Staged
from netwright.records.vectors import Vectors

BATCH = 64
USUAL_SIZE = 224
RANDOM = "random"  # weights as drawn, the control
SEED = 0
MOST_BYTES = 8 << 30  # of a network that a file of vectors asks for


class Features(nn.Module):
    """What a network gives before its head, or one of its maps, pooled. N C H W -> N D."""

    def __init__(self, network: nn.Module, stage: int | None, pool: Pool) -> None:
        super().__init__()
        self.network = network
        self.stage = stage
        self.pool: Pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """One vector for each picture."""
        network: Any = self.network
        if self.stage is not None:
            return pooled(stage_of(_stages(network, x), self.stage), self.pool)
        if isinstance(network, Headed):
            return network.features(x)
        if isinstance(network, Autoencoding):
            return network.embedding(x)
        return main_output(network(x)).flatten(1)


@dataclass(frozen=True)
class Embedder:
    """Turns pictures into vectors.

    Attributes:
        features: maps N C H W to N D.
        preprocess: how pictures are prepared.
        profile: where, and in which precision.
        meta: what a file of vectors says of how they were made.
    """

    features: Features
    preprocess: Preprocess
    profile: Profile
    meta: Mapping[str, Any]

    @torch.inference_mode()
    def vectors(self, images: Tensor) -> NDArray[np.float32]:
        """Pictures as `Preprocess.stored` gives them. uint8 N S S C -> float32 N D.

        Raises:
            NetwrightError: the pictures are too small for the network, or it gives something that is no number.
        """
        nothing = torch.zeros(len(images), dtype=torch.long)
        raw = Raw(images.to(self.profile.device), nothing, nothing)
        normalise = Normalise(self.preprocess.mean, self.preprocess.std, self.preprocess.image_size)
        try:
            with self.profile.autocast():
                found = self.features(prepare(raw, normalise, self.profile))
        except (RuntimeError, ValueError) as error:
            side, reason = self.preprocess.image_size, str(error).split("\n")[0]
            problem = f"{self.meta['model']} cannot take pictures of {side}x{side}: {reason[:200]}"
            raise NetwrightError(problem, "give a larger --image-size") from None
        array = found.float().cpu().numpy()
        if not np.isfinite(array).all():
            problem = f"{self.meta['model']} gives vectors that are not numbers"
            raise NetwrightError(problem, "its weights are damaged, or overflow: give other weights or another --stage")
        return array

    def of_file(self, path: str | Path) -> NDArray[np.float32]:
        """The vector of one picture. D.

        Raises:
            UnreadableImage: not a picture, damaged, or not there.
        """
        if not Path(path).is_file():
            raise UnreadableImage(str(path), "there is no such file")
        return self.vectors(torch.from_numpy(self.preprocess.stored(path)[None]))[0]

    def of_split(
        self, split: Split, batch_size: int = BATCH, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """The vectors of a split's pictures, in its order. N D."""
        parts: list[NDArray[np.float32]] = []
        for start in range(0, len(split), batch_size):
            chosen = np.arange(start, min(start + batch_size, len(split)))
            parts.append(self.vectors(torch.from_numpy(np.ascontiguousarray(split.images[chosen]))))
            if progress:
                progress(int(chosen[-1]) + 1, len(split))
        return np.concatenate(parts)


def make_embedder(
    model: str,
    *,
    weights: str | None = None,
    stage: int | None = None,
    pool: str = "avg",
    image_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Embedder:
    """What `netwright embed` calls.

    Args:
        model: a run folder or a bundle; or the name of a model, with `weights`.
        weights: for a model by name: a file, "imagenet", `hf-hub:owner/name`, or "random" for weights as drawn.
        stage: whose map is pooled, counted from 0 or from -1 backwards; None takes the network's own embedding.
        pool: how that map becomes a vector.
        image_size: side of the square that the network sees; by default the model's own.
        device: where to compute.
        precision: "auto", "fp32" or "bf16".

    Raises:
        NetwrightError: no such run or model, no weights, weights that do not fit, no such stage or precision.
    """
    kind = _pool(pool)
    value_of("precision", Asked, precision)
    if image_size is not None:
        value_of("image_size", ImageSize, image_size)
    if stage is None and pool != "avg":
        problem = f"there is nothing to pool by {pool}: the network's own embedding is a vector already"
        raise NetwrightError(problem, f"name the stage whose map is to be pooled: --stage -1 --pool {pool}")
    if _is_folder(model, weights):
        network, preprocess, origin = _of_bundle(Path(model), device)
    else:
        _refuse_masks(model, stage)
        network, preprocess, origin = _of_name(model, weights)
    if isinstance(network, Autoencoding):
        _refuse_codes(network, stage, image_size)
    if image_size is not None:
        preprocess = replace(preprocess, image_size=image_size, stored_size=round(image_size * MARGIN))
    features = Features(network, stage, kind).eval()
    macs = _macs(features, preprocess)
    where = profile(device, precision, macs=macs)
    where.apply()
    where.place(features)
    said = {
        "netwright": __version__,
        **origin,
        "digest": digest(network.state_dict()),
        "stage": stage,
        "pool": pool if stage is not None else None,
        "preprocess": preprocess.to_json(),
        "precision": where.precision,
    }
    return Embedder(features, preprocess, where, said)


def remade(vectors: Vectors, *, model: str | None = None, device: str = "auto") -> Embedder:
    """The network that made some vectors, ready for a query.

    Args:
        vectors: as read from a file.
        model: where its run, bundle or weights lie now, if not where the file says; weights of the hub, which a
            file's word is not enough to fetch.
        device: where to compute.

    Raises:
        NetwrightError: the file does not say or says what cannot be, the network has moved, or it is another one.
    """
    said = how_made(vectors.meta)
    if said is None and model is None:
        problem = "these vectors do not say which network made them"
        raise NetwrightError(problem, "give the run or bundle that did: --model RUN")
    chosen = said.chosen(model) if said is not None else (str(model), None)
    made = _built(chosen, said, device)
    if said is None:
        return made
    if made.meta["digest"] != said.digest:
        where = model or said.weights or said.model
        problem = f"the network at {where} is not the one that made these vectors (its weights have another digest)"
        fix = "say where that one is (--model RUN), or make the vectors anew with this one: netwright embed"
        raise NetwrightError(problem, fix)
    if said.preprocess.channels != made.preprocess.channels:
        raise forged(f"its network takes pictures of {made.preprocess.channels} channels")
    return replace(made, preprocess=said.preprocess)


def headless(network: nn.Module) -> nn.Module:
    """A network that gives what its head would have seen. Changes it.

    A wrapper that averages predictions, as test-time augmentation, is taken off.

    Raises:
        NetwrightError: nothing in it says which part is the head.
    """
    inner = next((module for module in network.modules() if isinstance(module, Staged)), None)
    if inner is None:
        problem = f"nothing in {type(network).__name__} says which part is its head"
        raise NetwrightError(problem, "use a model family of netwright's, or timm/…")
    body: Any = inner
    if not isinstance(body, Headed):
        body.set_submodule(body.head_name, nn.Identity())
    return body


def _stages(network: Any, x: Tensor) -> list[Tensor]:
    shown = getattr(network, "stages", None)
    if shown is None:
        raise NetwrightError(f"{type(network).__name__} does not show its feature maps", "leave out --stage")
    return shown(x)


def _is_folder(model: str, weights: str | None) -> bool:
    """Whether a folder is meant, which brings its weights along.

    Raises:
        NetwrightError: weights are named as well, or neither a folder nor a model is.
    """
    name = model.split("(")[0]
    if Path(model).is_dir() and name not in summaries():
        if weights is not None:
            problem = f"{model} is a folder with weights of its own, and --weights {weights} names others"
            raise NetwrightError(problem, "leave --weights out, or name the model instead of the folder")
        return True
    if name not in summaries() and not name.startswith(TIMM) and ("/" in model or Path(model).exists()):
        find_bundle(Path(model))  # raises
    return False


def _refuse_masks(model: str, stage: int | None) -> None:
    """A network that gives each pixel a class has maps of its encoder, and nothing before its head that is a vector."""
    name = model.split("(")[0]
    if stage is None and name in list_models(task="segmentation"):
        problem = f"{name} gives each pixel a class, and has no vector for a whole picture"
        raise NetwrightError(problem, "name the stage of its encoder whose map is to be pooled: --stage -1")


def _refuse_codes(network: Autoencoding, stage: int | None, image_size: int | None) -> None:
    """An autoencoder's codes are of pictures of one size, and where it is conditional, of a class that it is told."""
    height, width = network.image_size
    if image_size is not None and (height, width) != (image_size, image_size):
        problem = (
            f"this autoencoder takes pictures of {height}x{width} pixels, and --image-size {image_size} asks for others"
        )
        raise NetwrightError(problem, "leave --image-size out, or train one of that size")
    if stage is None and network.conditional:
        problem = "this autoencoder is conditional: its codes are of pictures whose class it is told"
        fix = "pool a map of its encoder, which sees pictures alone (--stage -1), or use a vae"
        raise NetwrightError(problem, fix)


def _of_bundle(path: Path, device: str) -> tuple[nn.Module, Preprocess, dict[str, Any]]:
    found = load(path, device="cpu" if device == "auto" else device)
    said = {"model": str(find_bundle(path).absolute()), "weights": None}
    if isinstance(found, AutoencoderBundle):
        return found.network, found.preprocess_or_error(), said
    predictor = refuse_others(found, path)
    return headless(predictor.model), predictor.preprocess_or_error(), said


def _of_name(name: str, weights: str | None) -> tuple[nn.Module, Preprocess, dict[str, Any]]:
    spec = Spec.parse(name)
    check_model(spec)
    if weights is None:
        fix = f"add --weights FILE, imagenet or hf-hub:owner/name; as a control, --weights {RANDOM}"
        raise NetwrightError(f"nothing says which weights {name} shall have", fix)
    timm = spec.name.startswith(TIMM)
    channels = spec.options.get("in_channels") or (3 if timm else variant(spec.name).in_channels)
    if channels not in (1, 3):
        problem = f"{name} takes pictures of {channels} channels"
        raise NetwrightError(problem, "choose in_channels=1 for grey or 3 for colour pictures")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = create_model(spec, classes=0, in_channels=channels)
    mean, std = (Loaded([]) if weights == RANDOM else load_weights(network, weights)).moments_for(channels)
    configured = network.configured if isinstance(network, TimmModel) else {}
    size = configured.get("input_size", (0, USUAL_SIZE))[1] if timm else variant(spec.name).image_size
    size = network.image_size[0] if isinstance(network, Autoencoding) else size
    preprocess = Preprocess(size, round(size * MARGIN), "crop", channels, mean=tuple(mean), std=tuple(std))
    file = Path(weights)
    where = str(file.absolute()) if file.exists() else weights
    return network, preprocess, {"model": str(spec), "weights": where}


def _macs(features: Features, preprocess: Preprocess) -> int | None:
    """Multiply-adds of one picture; None where the network cannot take it, which is said when pictures pass."""
    side = preprocess.image_size
    try:
        return macs_of(features, torch.zeros(1, preprocess.channels, side, side))
    except (RuntimeError, ValueError):
        return None


def _built(chosen: tuple[str, str | None], said: Made | None, device: str) -> Embedder:
    """The network that a file asks for, within reason: it may come from anywhere."""
    model, weights = chosen
    try:
        with _no_larger_than(MOST_BYTES):
            if said is None:
                return make_embedder(model, weights=weights, device=device)
            facts: dict[str, Any] = {"stage": said.stage, "pool": said.pool or "avg", "precision": said.precision}
            return make_embedder(model, weights=weights, device=device, **facts)
    except (RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NetwrightError(f"no network is {model}: {reason[:200]}", "make the vectors anew") from None


def _pool(name: str | None) -> Pool:
    """A pooling by name, checked.

    Raises:
        NetwrightError: there is none of this name.
    """
    kinds: tuple[Pool, ...] = get_args(Pool)
    for kind in kinds:
        if name in (None, kind):
            return kind
    raise unknown("pooling", str(name), kinds)
