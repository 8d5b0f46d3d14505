"""Where a file's tensors belong in a network: under which name, and whether name and shape agree."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from netwright.core.errors import NetwrightError, listed

State = Mapping[str, Tensor]

WRAPPERS = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and holders of a model put in front
UNCOUNTED = "num_batches_tracked"  # weights saved before torch 0.4.1 lack these counters, which nothing depends on
STATISTICS = (UNCOUNTED, "running_mean", "running_var")
PROBES = 12  # of the network's names, to find holders by


class Placed(NamedTuple):
    """A file's tensors under a network's names; those outside the `holder` that fits it are left `outside`."""

    state: State
    outside: list[str]
    holder: str


def placed(state: State, own: State) -> Placed:
    """The tensors as the network names them.

    Where one holder's part of the file (`backbone.`, `encoder_q.`) fits better than the whole, that part is taken.

    Raises:
        NetwrightError: two holders' parts fit equally well.
    """
    state, prefix = unwrapped(state), wrapper(own)
    bare = {name.removeprefix(prefix): tensor for name, tensor in own.items()}
    best = _best_holder(state, bare)
    outside = [name for name in state if not name.startswith(best)]
    inside = {prefix + name.removeprefix(best): tensor for name, tensor in state.items() if name.startswith(best)}
    return Placed(inside, outside, best)


def _best_holder(state: State, bare: State) -> str:
    whole = _fitting(state, bare, "")
    if 2 * whole >= len(bare):
        return ""
    counts = {holder: _fitting(state, bare, holder) for holder in _holders(state, bare)}
    most = max(counts.values(), default=0)
    best = [holder for holder, count in counts.items() if count == most]
    if most <= whole:
        return ""
    if len(best) > 1:
        part = f"{{k.removeprefix('{best[0]}'): v for k, v in state.items() if k.startswith('{best[0]}')}}"
        raise NetwrightError(f"the weights hold this network {len(best)} times: {listed(best)}", f"save one: {part}")
    return best[0]


def _fitting(state: State, bare: State, holder: str) -> int:
    """How many of the network's tensors a holder's part has, by name and shape."""
    return sum(holder + name in state and state[holder + name].shape == own.shape for name, own in bare.items())


def _holders(state: State, bare: State) -> list[str]:
    """What stands before a few of the network's names where they end a name of the file."""
    probes = [*bare][:: max(1, len(bare) // PROBES)]
    found = (given.removesuffix(name) for given in state for name in probes if given.endswith("." + name))
    return list(dict.fromkeys(found))


def wrapper(names: Collection[str]) -> str:
    """What all names begin with, of what wrapping a model puts there."""
    return next((wrapper for wrapper in WRAPPERS if all(name.startswith(wrapper) for name in names)), "")


def unwrapped(state: State) -> State:
    """The same without what wrapping puts in front, however often."""
    while state and (found := wrapper(state)):
        state = {name.removeprefix(found): tensor for name, tensor in state.items()}
    return state


class Fit(NamedTuple):
    """How well tensors fit a network, heads and batch counters apart.

    Attributes:
        fits: tensors that agree in name and shape.
        named: those that agree in name at least.
        tensors: of the network.
        values: share of values that fit, of the network's or the file's, whichever has more of them.
    """

    fits: int
    named: int
    tensors: int
    values: float

    @property
    def whole(self) -> bool:
        """Whether network and file are the same, but for heads."""
        return self.fits == self.tensors and self.values > WHOLE

    @property
    def only_shapes_differ(self) -> bool:
        """Whether nearly all names agree, and more than the odd shape does not."""
        return self.named >= MANY * self.tensors and self.fits < self.named


WHOLE, MANY = 0.9999, 0.9


def fit_of(given: State, own: State, heads: tuple[str, ...]) -> Fit:
    """How well tensors fit a network of which `heads` are the beginnings of heads' names."""
    given, own = _body(given, heads), _body(own, heads)
    first = next((name for name, tensor in own.items() if tensor.ndim == 4), "")
    if first in given and only_channels_differ(given[first], own[first]):
        given = {**given, first: own[first]}  # what loading makes of it
    both = [name for name in own if name in given]
    fits = [name for name in both if given[name].shape == own[name].shape]
    larger = max(sum(tensor.numel() for tensor in side.values()) for side in (given, own)) or 1
    return Fit(len(fits), len(both), len(own), sum(own[name].numel() for name in fits) / larger)


def only_channels_differ(one: Tensor, other: Tensor) -> bool:
    """Whether two kernels are for other numbers of input channels and else of one shape."""
    return one.ndim == other.ndim == 4 and one.shape[1] != other.shape[1] and one[:, 0].shape == other[:, 0].shape


def _body(state: State, heads: tuple[str, ...]) -> dict[str, Tensor]:
    kept = (name for name in state if not name.startswith(heads) and not name.endswith(UNCOUNTED))
    return {name: state[name] for name in kept}


def heads_of(model: Any) -> tuple[str, ...]:
    """What names of a network's heads begin with."""
    return tuple(f"{name}." for name in (model.head_name, *model.auxiliary_names))


def shape_of(tensor: Tensor) -> str:
    """As `64×3×7×7`; `one number` for none."""
    return "×".join(map(str, tensor.shape)) or "one number"
