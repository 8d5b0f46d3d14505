"""Weights from a file, a bundle, the hub or the reference a variant names; only data is ever read, never code."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.models._bodied import CODES, layers_behind, task_of, told_of
from netwright.models._bundled import NORM, Said, has_norms, model_of, said_beside, weights_file, with_own_norms
from netwright.models._classes import matched
from netwright.models._family import Family
from netwright.models._inside import drawn_beside, encoder_of, encoder_prefix, has_more
from netwright.models._loaded import Loaded
from netwright.models._misfit import misfit
from netwright.models._placed import UNCOUNTED, State, heads_of, only_channels_differ, placed
from netwright.models._published import HUB, IMAGENET, Moments, from_hub, published
from netwright.models._timm import TimmModel
from netwright.models._weights_file import read
from netwright.nn.norm import SWAPPABLE
from netwright.nn.weight_standard import StandardConv2d, standardised

__all__ = ["IMAGENET", "Loaded", "adapted_kernel", "load_weights", "model_of", "read"]

HEAD = "head"  # the trick whose bundles hold the family's tensors as its backbone
VIEWS = "test_time_augmentation"  # it changes what is done with the scores, not what weights mean
STANDARD = "weight_standardisation"  # what it makes of filters is done to them, once, where it does not follow


@dataclass(frozen=True)
class Opened:
    """Weights, before anything is known of the model they are for.

    Attributes:
        said: what the card of a bundle says; None for other sources.
    """

    state: State
    moments: Moments
    said: Said | None = None


def load_weights(
    model: Family,
    source: str | Path,
    *,
    strict: bool = True,
    classes: Sequence[str] | None = None,
    tricks: Sequence[str] = (),
) -> Loaded:
    """Load weights into a model.

    A head for another number of classes stays fresh, or for other classes where both are known by name, and so do
    auxiliary heads that the weights lack; the same classes in another order are put in order. The first kernel is
    adapted to other input channels: one channel gets the sum over the colours, which is what the pretrained model
    would answer to a grey image; more get the colours' kernels in turn, scaled so that the sum stays. Filters that were
    trained under `weight_standardisation` are standardised, so that plain convolutions compute the same.

    A network for each pixel takes weights of its kind, or else those of the classifier that its encoder is: these must
    fit the encoder as they would the classifier, and all beside it stays as drawn.

    Args:
        model: what to load into.
        source: a .safetensors, .pt, .pth or .th file, a bundle or run folder, `hf-hub:owner/name`, or "imagenet" for
            the weights of the model's reference, or else of its encoder's.
        strict: refuse weights that lack anything else or hold more; otherwise what fits is taken, if anything does.
        classes: of the data, in the order of the model's outputs; None leaves the head to its shape.
        tricks: specs of the tricks that are going to change the model's structure, as a bundle may want.

    Raises:
        NetwrightError: no such file, an unreadable or unsafe one, a failed download, or weights of another model.
    """
    opened = _opened(model, str(source))
    structure = opened.said.tricks if opened.said else {}
    lost = {name: spec for name, spec in structure.items() if str(spec) not in tricks}
    replaced = any(Spec.parse(trick).name == HEAD for trick in tricks)
    encoder = encoder_of(model)
    behind = layers_behind(opened.said.spec) if encoder is None and opened.said else ()
    tried = _tried(model, opened, lost, classes, replaced=replaced, dropped=behind)
    if encoder is not None and not tried.whole(strict=strict) and not has_more(model, tried.given):
        part = f"{type(model).__name__}'s encoder"
        tried = _tried(encoder.network, opened, lost, dropped=encoder.dropped, part=part)
    if strict and opened.said:
        _refuse_structure(tried, opened.said, lost, source)
    if not tried.whole(strict=strict):
        error = misfit(
            tried.network,
            tried.given,
            source,
            missing=tried.lacking,
            unexpected=tried.unexpected,
            part=tried.part,
            task=task_of(model),
        )
        own = opened.said and opened.said.spec
        raise error if own is None else NetwrightError(error.problem, told_of(own, task_of(model)))
    tried.network.load_state_dict({**tried.network.state_dict(), **tried.fitted})
    return _told(model, tried, opened)


@dataclass(frozen=True)
class Tried:
    """Weights held against a network, or against the classifier that is another one's encoder.

    Attributes:
        network: what they are held against.
        given: the tensors, as far as possible under its names.
        fitted: those that agree with its own in name and shape.
        adapted: those made for another number of input channels.
        missing: names of the network's that were not fitted.
        left_over: names that it has no place for.
        lacking, unexpected: those of the two that are none of a head, and so tell another network.
        head, holder, filters: see `Loaded`.
        part: what the network is of a larger one, in words; nothing where it is whole.
    """

    network: Family
    given: State
    fitted: State
    adapted: list[str]
    missing: list[str]
    left_over: list[str]
    lacking: list[str]
    unexpected: list[str]
    head: str
    holder: str
    filters: str
    part: str

    def whole(self, *, strict: bool) -> bool:
        """Whether they are the network's: nothing but heads apart; where it need not be strict, at all."""
        return bool(self.fitted) and not (strict and (self.lacking or self.unexpected))


def _tried(
    network: Family,
    opened: Opened,
    lost: Mapping[str, Spec],
    classes: Sequence[str] | None = None,
    *,
    replaced: bool = False,
    dropped: tuple[str, ...] = (),
    part: str = "",
) -> Tried:
    """Hold weights against a network: place and adapt them, put the head's rows in order, and see what fits.

    Args:
        network: what they are held against.
        opened: the weights.
        lost: tricks in their structure that do not follow.
        classes: see `load_weights`.
        replaced: whether another head follows.
        dropped: layers that the network had, and weights may have.
        part: see `Tried`.
    """
    own = network.state_dict()
    given, outside, holder = placed(opened.state, own)
    if STANDARD in lost:
        given = _standardised(network, given, lost[STANDARD])
    given, adapted = _fit_first_kernel(given, own)
    rows = matched(network, given, classes, opened.said, replaced=replaced)
    fitted = {name: tensor for name, tensor in rows.state.items() if name in own and own[name].shape == tensor.shape}
    missing = [name for name in own if name not in fitted and not name.endswith(UNCOUNTED)]
    left_over = [name for name in given if name not in own]
    exchanged = _norms_of(network) if opened.said and NORM in opened.said.tricks and NORM not in lost else set[str]()
    heads = (*heads_of(network), *(f"{name}." for name in dropped))
    lacking = [name for name in missing if name not in exchanged and not name.startswith(heads)]
    unexpected = [name for name in left_over if not name.startswith(heads)]
    filters = f"filters are as {lost[STANDARD]} made them, in plain convolutions" if STANDARD in lost else ""
    leftovers = [*left_over, *outside]
    return Tried(
        network, given, fitted, adapted, missing, leftovers, lacking, unexpected, rows.said, holder, filters, part
    )


def _told(model: Family, tried: Tried, opened: Opened) -> Loaded:
    """What became of every tensor of the model, under its own names."""
    prefix = encoder_prefix(model) if tried.part else ""
    beside = drawn_beside(model) if tried.part else []
    own = tried.network.state_dict()
    return Loaded(
        loaded=[prefix + name for name in own if name in tried.fitted and name not in tried.adapted],
        adapted=[prefix + name for name in tried.adapted],
        missing=[*(prefix + name for name in tried.missing), *beside],
        left_over=tried.left_over,
        moments=opened.moments,
        head=tried.head,
        holder=tried.holder,
        filters=tried.filters,
        beside=beside,
        of_autoencoder=bool(tried.holder and opened.said and opened.said.task == CODES),
    )


def check_weights(source: str) -> None:
    """Refuse a file that is not there or cannot be read; what is fetched is looked at when it comes.

    Raises:
        NetwrightError: what `load_weights` says of it.
    """
    if source != "imagenet" and not source.startswith(HUB):
        read(weights_file(Path(source).expanduser()))


def _opened(model: Family, source: str) -> Opened:
    encoder = encoder_of(model)
    if source == "imagenet":
        found = published(model.reference or (encoder.network.reference if encoder else None))
        return Opened(found.state, found.moments)
    if source.startswith(HUB):
        path, moments = from_hub(source.removeprefix(HUB))
        return Opened(read(path), moments)
    path = weights_file(Path(source).expanduser())
    said = said_beside(path)
    return Opened(read(path), said.moments if said else _usual_moments(encoder.network if encoder else model), said)


def _usual_moments(model: Family) -> Moments:
    """timm says them in its configuration; elsewhere ImageNet's are usual."""
    configured = model.configured if isinstance(model, TimmModel) else {}
    if "mean" in configured and "std" in configured:
        return tuple(configured["mean"]), tuple(configured["std"]), "timm's"
    return IMAGENET


def _refuse_structure(tried: Tried, said: Said, lost: Mapping[str, Spec], source: str | Path) -> None:
    """Tricks without which the same tensors would mean something else, or have no place."""
    for name, trick in lost.items():
        if name in (HEAD, VIEWS, STANDARD) or (name == NORM and said.norm and has_norms(tried.network, said.norm)):
            continue
        fix = f'give the same: --with "{trick}"'
        if name == NORM:
            own = with_own_norms(said)
            fix = f"{fix}; it goes with --transfer finetune, but not with features or partial, which freeze norms"
            if own is not None:
                fix = f'name the model that has them of its own: --model "{own}"'
            if own is not None and tried.part:
                fix = f'name the encoder that has them of its own: encoder="{own}"'
        problem = f"the weights in '{source}' were trained with {trick}, which changed what the network is made of"
        raise NetwrightError(problem, fix)


def _standardised(model: Family, given: State, trick: Spec) -> State:
    """The weights with filters as the trick has them in use: plain convolutions compute the same with these.

    Raises:
        NetwrightError: the bundle says no eps that can be.
    """
    eps = trick.options.get("eps", StandardConv2d.eps)
    if not isinstance(eps, int | float) or not 0 < eps < math.inf:
        raise NetwrightError(f"the bundle's card cannot be right: it names {str(trick)[:80]}", "copy the bundle again")
    plain = (f"{name}.weight" for name, layer in model.named_modules() if type(layer) is nn.Conv2d and name)
    there = {name: given[name] for name in plain if name in given}
    return {**given, **{name: standardised(w, eps) for name, w in there.items() if w.ndim == 4 and w[0].numel() > 1}}


def _norms_of(model: Family) -> set[str]:
    """The tensors of layers that the trick norm exchanges."""
    norms = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, SWAPPABLE)]
    return {f"{name}.{own}" for name, layer in norms for own in layer.state_dict()}


def _fit_first_kernel(given: State, own: State) -> tuple[State, list[str]]:
    """The weights with their first kernel made for the model's channels, and its name if that changed it."""
    name = next((name for name, tensor in own.items() if tensor.ndim == 4), "")
    if name not in given or not only_channels_differ(given[name], own[name]):
        return given, []
    return {**given, name: adapted_kernel(given[name], own[name].shape[1])}, [name]


def adapted_kernel(kernel: Tensor, channels: int) -> Tensor:
    """A kernel for another number of input channels: its own in turn, scaled so that sums stay about as large.

    For one channel it is the exact sum. K C h w -> K c h w.
    """
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    before = kernel.shape[1]
    return kernel[:, torch.arange(channels) % before] * (before / channels)
