"""A trick is one object with a name: its fields are its options, and it overrides the stations it needs."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError, listed
from netwright.core.options import check
from netwright.core.registry import snake
from netwright.core.spec import Spec
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.plans import DataPlan, OptimPlan
from netwright.engine.warp import Warp

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Passed, Run

TaskName = Literal["classification", "multi_label", "segmentation", "reconstruction"]
LossFn = Callable[[Any, "Batch", "Run"], Tensor]
GradFn = Callable[["Batch", "Run"], "Passed"]
ALL_TASKS: tuple[TaskName, ...] = ("classification", "multi_label", "segmentation", "reconstruction")


@dataclass(frozen=True)
class Range:
    """Where a search may look for the value of a numeric option, both ends included.

    Attributes:
        low: the least.
        high: the most.
        log: drawn by its logarithm: a factor counts, not a difference.
        without: why it does not hold the option's default, or "".
    """

    low: float
    high: float
    log: bool = False
    without: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What documentation, the lab and the doctor may know about a trick.

    Attributes:
        paper: where it comes from.
        neutral: options under which it does nothing, or None if there are none.
        strong: options under which it surely acts.
        treats: symptoms it is prescribed for.
        tasks: tasks it applies to.
        why: for a task it does not apply to, the reason, as the end of a sentence, with what does the same there.
        after: tricks that act before this one at a station both use.
        excludes: tricks it cannot be combined with.
        structure: the network that is handed on has another structure because of it, so the bundle must name it.
        fresh: it draws weights anew, so it is refused together with weights that were learnt.
        targets: at the batch station it changes targets only, and leaves pictures as they are.
        ranges: where a search may look for the values of its options.
    """

    paper: str = ""
    neutral: dict[str, Any] | None = None
    strong: dict[str, Any] = field(default_factory=dict[str, Any])
    treats: tuple[Symptom, ...] = ()
    tasks: tuple[TaskName, ...] = ALL_TASKS
    why: Mapping[TaskName, str] = field(default_factory=dict["TaskName", str])
    after: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    structure: bool = False
    fresh: bool = False
    targets: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict[str, Range])


@dataclass
class Trick:
    """A place to act at each station of training; every method here is the station's neutral form.

    Options are constructor fields and are stored unchanged. What a trick learns in a run is made in `start`
    and its name ends in an underscore; those attributes are what a checkpoint keeps.
    """

    card: ClassVar[Card] = Card()

    def __post_init__(self) -> None:
        options = check(self.name, type(self), {f.name: getattr(self, f.name) for f in fields(self)})
        for name, value in options.items():
            setattr(self, name, value)

    @property
    def name(self) -> str:
        """The name a user types: the file's stem."""
        return snake(type(self).__name__)

    @property
    def spec(self) -> Spec:
        """This trick as a user writes it, without the options left at their defaults."""
        options = {f.name: getattr(self, f.name) for f in fields(self)}
        return Spec(self.name, {k: v for k, v in options.items() if v != type(self).__dataclass_fields__[k].default})

    @property
    def passes(self) -> int:
        """In how many parts a batch goes through the network, where the trick cuts it: memory is needed for one."""
        return 1

    def start(self, run: "Run") -> None:
        """Make the state that this run needs; called once, when model and optimiser stand."""

    def memory(self) -> dict[str, Any]:
        """The state a checkpoint keeps: attributes whose name ends in an underscore."""
        return {name: value for name, value in vars(self).items() if name.endswith("_")}

    def recall(self, memory: dict[str, Any]) -> None:
        """Take back what `memory` gave; tensors that are there already take the values, on the device they live on."""
        for name, value in memory.items():
            setattr(self, name, _taken_back(getattr(self, name, None), value))

    def data(self, plan: DataPlan) -> DataPlan:
        """Which samples are drawn."""
        return plan

    def model(self, module: nn.Module) -> nn.Module:
        """The network before training."""
        return module

    def optim(self, plan: OptimPlan) -> OptimPlan:
        """Parameter groups."""
        return plan

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """Where each output pixel comes from."""
        return warp

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """How channels mix."""
        return colour

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """Pictures with values in [0, 1]; they may be overwritten."""
        return batch

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Normalised pictures and their targets."""
        return batch

    def loss(self, loss: LossFn) -> LossFn:
        """What is minimised."""
        return loss

    def gradient(self, gradient: GradFn) -> GradFn:
        """How gradients are computed."""
        return gradient

    def before_step(self, run: "Run") -> None:
        """After the gradient, before the update."""

    def after_step(self, run: "Run") -> None:
        """After the update."""

    def after_epoch(self, run: "Run") -> None:
        """After the validation that closes an epoch."""

    def overruled(self, run: "Run") -> None:
        """When a run goes on although something had stopped it."""

    def predictor(self, module: nn.Module) -> nn.Module:
        """The network that is evaluated and handed on."""
        return module


class Tricks:
    """A set of tricks in the order their cards ask for; ties go by name, so a set has one order.

    Raises:
        NetwrightError: a trick is given twice, or two exclude each other.
    """

    def __init__(self, tricks: Iterable[Trick] = ()) -> None:
        chosen = [copy.deepcopy(trick) for trick in tricks]
        self._by_name = {trick.name: trick for trick in chosen}
        if len(self._by_name) < len(chosen):
            twice = sorted({t.name for t in chosen if sum(t.name == other.name for other in chosen) > 1})
            raise NetwrightError(f"given twice: {listed(twice)}", "name each trick once")
        for trick in chosen:
            _refuse_excluded(trick, self._by_name)
        self._order = [self._by_name[name] for name in _sorted(self._by_name)]

    def __iter__(self) -> Iterator[Trick]:
        return iter(self._order)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def at(self, station: str) -> list[Trick]:
        """The tricks that act at a station, in order. A trick that is not there costs nothing."""
        neutral = getattr(Trick, station)
        return [trick for trick in self._order if getattr(type(trick), station) is not neutral]

    def through(self, station: str, value: Any, *context: Any) -> Any:
        """Pass a value through a station: each trick takes what the one before gave."""
        for trick in self.at(station):
            value = getattr(trick, station)(value, *context)
        return value

    def start(self, run: "Run") -> None:
        """Make every trick's state; those that draw weights first, so that averages begin with what was drawn."""
        for trick in sorted(self._order, key=lambda trick: not trick.card.fresh):
            trick.start(run)

    def require(self, task: str) -> None:
        """Refuse tricks that do not apply to a task.

        Raises:
            NetwrightError: names the trick, why it does not, and the tasks it is for.
        """
        for trick in self._order:
            if task not in trick.card.tasks:
                raise NetwrightError(
                    refusal(trick, task),
                    f"it is for {listed(trick.card.tasks)}; leave it out with --without {trick.name}",
                )

    def memory(self) -> dict[str, dict[str, Any]]:
        """The state of every trick, by name."""
        return {trick.name: trick.memory() for trick in self._order}

    def recall(self, memory: dict[str, dict[str, Any]]) -> None:
        """Give every trick its state back."""
        for trick in self._order:
            trick.recall(memory.get(trick.name, {}))


def refusal(trick: Trick, task: str) -> str:
    """That a trick does not apply to a task, and why, where its card says so."""
    reasons = [reason for name, reason in trick.card.why.items() if name == task]
    return ": ".join([f"{trick.name} does not apply to {task}", *reasons])


@torch.no_grad()
def _taken_back(own: Any, saved: Any) -> Any:
    """What was saved, in the tensors of `own` that fit it, also those in dicts and lists."""
    match own, saved:
        case Tensor(), Tensor() if (own.shape, own.dtype) == (saved.shape, saved.dtype):
            return own.copy_(saved)
        case dict(), dict():
            return {name: _taken_back(own.get(name), value) for name, value in saved.items()}
        case list(), list() if len(own) == len(saved):
            return [_taken_back(mine, value) for mine, value in zip(own, saved, strict=True)]
        case _:
            return saved


def _refuse_excluded(trick: Trick, present: dict[str, Trick]) -> None:
    clash = [name for name in trick.card.excludes if name in present]
    if clash:
        raise NetwrightError(
            f"{trick.name} cannot be combined with {listed(clash)}", f"leave one out: --without {clash[0]}"
        )


def _sorted(present: dict[str, Trick]) -> list[str]:
    graph = {name: {after for after in trick.card.after if after in present} for name, trick in present.items()}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return order
