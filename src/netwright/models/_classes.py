"""A head's rows and the classes they stand for: kept, put in order, or left out for a head drawn afresh."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from netwright.core.errors import listed
from netwright.models._bundled import Said
from netwright.models._family import Family
from netwright.models._placed import State

TOLD = 4  # names of classes


class Matched(NamedTuple):
    """Tensors whose head is for the classes of the data, as far as that is known, and what became of it in words."""

    state: State
    said: str


def matched(
    model: Family, given: State, classes: Sequence[str] | None, said: Said | None, *, replaced: bool = False
) -> Matched:
    """Tensors without the rows of other classes.

    Where it is not known what the rows of a head stand for, its size decides, and that is said.

    Args:
        model: what they are for.
        given: tensors by the model's names.
        classes: of the data, in the order of the outputs; None leaves the tensors as they are.
        said: what the bundle of these weights says, if they are of one.
        replaced: whether the trick head gives the model another head afterwards, whatever comes along here.
    """
    if replaced and classes is not None:
        return Matched(given, _replaced(said.classes if said else (), classes))
    rows = class_rows(model)
    if classes is None or not rows:
        return Matched(given, "")
    head = next((given[name] for name in rows if name in given and given[name].ndim), None)
    if head is None:
        return Matched(given, "the head is fresh: the weights have none that fits this model")
    known = said.classes if said else ()
    if len(known) != len(head):
        return Matched(given, _by_size(len(head), len(classes)))
    if list(known) == list(classes):
        return Matched(given, f"the head is that of the same {len(head)} classes")
    if sorted(known) == sorted(classes) and len(set(known)) == len(known):
        order = torch.tensor([known.index(name) for name in classes])
        moved = {name: given[name][order] for name in rows if name in given and len(given[name]) == len(order)}
        return Matched({**given, **moved}, "the head is that of the same classes, its rows put in the order of these")
    return Matched({name: tensor for name, tensor in given.items() if name not in rows}, _renamed(known, classes))


def class_rows(model: Family) -> list[str]:
    """The tensors that have a row for each class: those of the last layer of the head, and of each auxiliary one."""
    found: list[str] = []
    for place in (model.head_name, *model.auxiliary_names):
        try:
            head = model.get_submodule(place)
        except AttributeError:  # an auxiliary head that this model was made without
            continue
        layers = [(name, list(layer.named_parameters(recurse=False))) for name, layer in head.named_modules()]
        last = next(((name, own) for name, own in reversed(layers) if own), ("", []))
        found += [".".join(filter(None, (place, last[0], parameter))) for parameter, _ in last[1]]
    return found


def _by_size(theirs: int, ours: int) -> str:
    if theirs != ours:
        return f"the head is fresh: the weights' tells {theirs} classes apart, the data has {ours}"
    return f"the head came along for its size: whether its {ours} classes are these, the weights do not say"


def _replaced(known: Sequence[str], classes: Sequence[str]) -> str:
    told = "a new head takes its place (head)"
    if not known:
        return told
    if sorted(known) == sorted(classes):
        return f"{told}, for the same {len(classes)} classes"
    return f"{told}; the weights' classes are others: {_others(known, classes)}"


def _renamed(known: Sequence[str], classes: Sequence[str]) -> str:
    return f"the head is fresh, since the weights' classes are others: {_others(known, classes)}"


def _others(known: Sequence[str], classes: Sequence[str]) -> str:
    new, gone = ([name for name in one if name not in other] for one, other in ((classes, known), (known, classes)))
    parts = {"new": new, "gone": gone}
    told = [f"{len(names)} {how} ({listed(names, most=TOLD)})" for how, names in parts.items() if names]
    return ", ".join(told) or "some stand there twice"
