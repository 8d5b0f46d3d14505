"""Checks of the classes: how many pictures each has and on which side, and how they are called."""

import unicodedata
from collections import defaultdict
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import listed, nearest
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import Finding
from netwright.report.words import count, plural, split_name

FEW, UNEVEN, MOST_NAMED = 10, 10, 10


def unlabelled(subject: Subject) -> list[Finding]:
    """Pictures without classes: what was not checked."""
    if subject.classes:
        return []
    detail = "files and duplicates were checked; classes, their balance and their labels were not"
    return [Finding("unlabelled", "note", "these pictures have no classes", detail)]


def said(subject: Subject) -> list[Finding]:
    """What was noticed while the data were listed: folders left out, files that are no pictures."""
    return [Finding("listing", "note", note) for note in subject.examined.listing.notes]


def too_few_classes(subject: Subject) -> list[Finding]:
    """One class leaves nothing to tell apart."""
    if len(subject.classes) != 1 or subject.several_labels:
        return []
    title = f"there is only one class, '{subject.classes[0]}': there is nothing to tell apart"
    return [Finding("one_class", "error", title, "any network would be right always", "add a second class", 1)]


def unknown_to_training(subject: Subject) -> list[Finding]:
    """Classes of which other sides have pictures and training has none: often a misspelt folder."""
    found: list[Finding] = []
    trained = subject.per_class.get("train")
    for side, counts in subject.per_class.items():
        if trained is None or not (strange := _names(subject, (counts > 0) & (trained == 0))):
            continue
        known = _names(subject, trained > 0)
        title = f"classes of {split_name(side)} that training does not have: {count(len(strange))}"
        detail = listed(_with_nearest(name, known) for name in strange[:MOST_NAMED])
        fix = "rename what is misspelt; give training pictures of the others, or remove them"
        found.append(Finding("class_map", "error", title, detail, fix, len(strange)))
    return found


def empty(subject: Subject) -> list[Finding]:
    """Classes without a picture anywhere, and those that only training has."""
    if not subject.per_class:
        return []
    seen = np.any([counts > 0 for counts in subject.per_class.values()], axis=0)
    trained = subject.per_class["train"] > 0 if "train" in subject.per_class else seen
    found: list[Finding] = []
    if absent := _names(subject, ~seen):
        title = f"classes without a readable picture: {count(len(absent))}"
        fix = "add pictures, or remove the class"
        found.append(Finding("empty_class", "error", title, listed(absent), fix, len(absent)))
    for side, counts in subject.per_class.items():
        if side not in ("", "train") and (absent := _names(subject, trained & (counts == 0))):
            title = f"classes that {split_name(side)} has no pictures of: {count(len(absent))}"
            fix = "move some of their training pictures there: nothing tells how well they are learnt"
            found.append(Finding("unmeasured_class", "warning", title, listed(absent), fix, len(absent)))
    return found


def few(subject: Subject) -> list[Finding]:
    """Classes with hardly anything to learn from."""
    counts = subject.per_class.get("train", np.zeros(0, np.int64))
    rare = [number for number in np.argsort(counts, kind="stable") if 0 < counts[number] < FEW]
    if not rare:
        return []
    title = f"fewer than {FEW} training pictures: {plural(len(rare), 'class', 'classes')}"
    detail = listed(f"{subject.classes[number]} {counts[number]}" for number in rare)
    fix = "add pictures, or merge the class with one that is close"
    return [Finding("few", "warning", title, detail, fix, len(rare))]


def uneven(subject: Subject) -> list[Finding]:
    """Classes of which one has many times the pictures of another."""
    counts = subject.per_class.get("train", np.zeros(0, np.int64))
    if not (counts > 0).any() or (ratio := counts.max() / counts[counts > 0].min()) < UNEVEN:
        return []
    most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    title = f"the largest class has {ratio:.0f} times the training pictures of the smallest"
    detail = f"{subject.classes[most]} {count(int(counts[most]))}, {subject.classes[least]} {count(int(counts[least]))}"
    fix = "read balanced accuracy beside accuracy; `--with balanced_sampling` or `--with class_weights` may help"
    return [Finding("uneven", "warning", title, detail, fix, 1)]


def twins(subject: Subject) -> list[Finding]:
    """Class names that differ only in case or in how Unicode writes them."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in subject.classes:
        spellings[_composed(name).casefold()].append(name)
    found = [pair for same in spellings.values() for pair in pairwise(same)]
    if not found:
        return []
    title = f"class names that differ only in how they are written: {plural(len(found), 'pair')}"
    detail = listed(" and ".join(_told_apart(*pair)) for pair in found)
    return [Finding("twins", "warning", title, detail, "merge them if they are one class", len(found))]


def _names(subject: Subject, chosen: NDArray[np.bool_]) -> list[str]:
    return [name for name, one in zip(subject.classes, chosen, strict=True) if one]


def _with_nearest(name: str, known: list[str]) -> str:
    close = nearest(name, known)
    return f"'{name}' (close to '{close}')" if close else f"'{name}'"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip()


def _told_apart(one: str, other: str) -> tuple[str, str]:
    """Both names, in quotes; those that look the same with their characters spelt out."""
    return (ascii(one), ascii(other)) if _composed(one) == _composed(other) else (f"'{one}'", f"'{other}'")
