"""Data that training would refuse for how it is laid out, checked all the same."""

from dataclasses import replace

from netwright.core.errors import NetwrightError
from netwright.data import list_data
from netwright.data.cache import opened_index
from netwright.data.facts import Examined
from netwright.data.folder import unlabelled
from netwright.data.gate.pairs import left_out
from netwright.data.gate.verdict import Finding, Verdict
from netwright.data.kinds import listing_of
from netwright.data.listing import Listing
from netwright.data.masks import MaskWanted
from netwright.data.ready import looked_at
from netwright.data.scenes import GLANCE
from netwright.data.split import Wanted

SAID_BETTER = {"class_map", "empty_class", "one_class"}  # findings that say what such a refusal says


def listed(source: str, *, plain: bool = False) -> tuple[Listing, NetwrightError | None]:
    """The pictures as training would see them; if it would refuse them, as far as they are understood, and why.

    Args:
        source: a name or a path.
        plain: whether the folders inside it are no classes.

    Raises:
        NetwrightError: there are no pictures.
    """
    if plain:
        return unlabelled(source), None
    try:
        return list_data(source), None
    except NetwrightError as error:
        return listing_of(source, "any"), error


def examined_once(listing: Listing, wanted: Wanted) -> Examined:
    """Every picture looked at; pictures with masks as `data/scenes.py` looks at them, so that the two share a cache,
    and divided as it divides them: those that are left out for their masks are on no side."""
    if listing.masks is None:
        return looked_at(listing, wanted)[0]
    pictures = replace(listing, classes=("picture",))  # of one class, so that each side has some
    glance = replace(wanted, image_size=GLANCE, stored_size=GLANCE, fit="squash")
    found = replace(looked_at(pictures, glance)[0], listing=listing)
    with opened_index() as index:
        bad = left_out(found, wanted.quarantine, wanted.masks or MaskWanted(), index)
    if not bad:
        return found
    glance = replace(glance, quarantine={**wanted.quarantine, **bad}, progress=None)
    return replace(looked_at(pictures, glance)[0], listing=listing)


def with_problem(verdict: Verdict, listing: Listing, problem: NetwrightError) -> Verdict:
    """The verdict with what training would refuse, unless findings say it or the pictures just lie side by side."""
    said = SAID_BETTER & {finding.kind for finding in verdict.findings}
    folders = any("/" in name for name in listing.blobs.names)
    if said or not (folders or listing.classes):
        return verdict
    fix = f"{problem.fix}; if the folders are no classes: `--plain`" if folders else problem.fix
    return replace(verdict, findings=(Finding("layout", "error", problem.problem, "", fix, 1), *verdict.findings))
