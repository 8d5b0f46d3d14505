"""`netwright check`: what is wrong with some data, before anything is trained on it."""

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from netwright.core.errors import EXIT_USER, NetwrightError, unknown

if TYPE_CHECKING:
    from netwright.data.facts import Examined
    from netwright.data.gate.verdict import Verdict
    from netwright.data.listing import Listing
    from netwright.data.split import Wanted

LIST = Path("quarantine.txt")
KINDS: tuple[Literal["auto", "semantic", "border"], ...] = ("auto", "semantic", "border")


def check(
    path: Annotated[str, typer.Argument(help="Pictures, as for `netwright train`; pictures without classes will do.")],
    group: Annotated[
        str | None,
        typer.Option(help="Expression whose first bracket names what pictures belong to, as '/(patient\\d+)_[^/]*$'."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="The folders inside PATH are no classes.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
    page: Annotated[Path | None, typer.Option(help="Write a page with the pictures side by side.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write the list of pictures to leave out.")] = False,
    quarantine: Annotated[
        Path | None,
        typer.Option(help=f"List of pictures to leave out, to which --fix adds. [default with --fix: {LIST}]"),
    ] = None,
    legend: Annotated[
        str | None, typer.Option(help="File that names the classes of masks, with their numbers or colours.")
    ] = None,
    ignore: Annotated[int | None, typer.Option(help="Value of masks whose pixels count for nothing.")] = None,
    masks: Annotated[
        str, typer.Option(help="How masks are to be read, as training's: auto, semantic or border.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Decode every picture once, and say what is wrong with the data: files, labels, masks, duplicates, leaks, shifts.

    Nothing in the data is changed. Ends with exit code 2 if something has to be mended.
    """
    from netwright.data.gate.check import check as judge
    from netwright.data.gate.layout import listed, with_problem
    from netwright.data.gate.quarantine import read_quarantine, source_of, write_quarantine
    from netwright.data.masks import MaskWanted
    from netwright.data.split import Wanted

    as_masks = MaskWanted(kind_of_masks(masks), legend, ignore)
    target = quarantine or LIST
    has_list = target.exists() if fix else quarantine is not None
    left_out = read_quarantine(target, source_of(path) if fix else None) if has_list else {}
    for file, what in ((page, "page"), (target if fix else None, "quarantine")):
        if file is not None:
            refuse_unwritable(file, what)
    listing, problem = listed(path, plain=plain)
    wanted = Wanted(quarantine=left_out, group=group, masks=as_masks)
    found, speed = examined(listing, wanted)
    verdict = judge(found, group, quarantine=left_out, masks=as_masks)
    verdict = replace(verdict, images_per_second=speed)
    verdict = with_problem(verdict, listing, problem) if problem else verdict
    verdict = verdict.strict() if strict else verdict
    if fix and verdict.leave_out:
        write_quarantine(target, verdict, source_of(path))
    if page:
        draw(page, verdict, found, masks)
    if as_json:
        typer.echo(json.dumps(verdict.to_json()))
    else:
        from netwright.cli._verdict import tell

        options = [*(["--group", group] if group else []), *(["--plain"] if plain else [])]
        told = {"legend": legend, "ignore": ignore, "masks": masks if masks != "auto" else None}
        of_masks = {name: str(value) for name, value in told.items() if value is not None}
        steps = next_steps([path, *options], verdict, page, quarantine, target if fix else None, of_masks)
        tell(verdict, steps)
    if not verdict.passed:
        raise typer.Exit(EXIT_USER)


def kind_of_masks(given: str) -> Literal["auto", "semantic", "border"]:
    """How masks are to be read.

    Raises:
        NetwrightError: there is no such way.
    """
    for kind in KINDS:
        if given == kind:
            return kind
    raise unknown("kind of masks", given, KINDS)


def examined(listing: "Listing", wanted: "Wanted") -> "tuple[Examined, float | None]":
    """Every picture looked at, under a bar where somebody watches; and pictures a second, if they were decoded."""
    from netwright.cli._verdict import Bar
    from netwright.data.gate.layout import examined_once

    start = time.monotonic()
    with Bar() as bar:
        found = examined_once(listing, replace(wanted, progress=bar))
    mostly_new = bar.done > len(listing) / 2  # else it would be the speed of the cache
    return found, bar.done / (time.monotonic() - start) if mostly_new else None


def draw(path: Path, verdict: "Verdict", found: "Examined", kind: str = "auto") -> None:
    """Write the page; kind: how masks are read."""
    from netwright.data.gate.mask_facts import main_masks
    from netwright.data.gate.pictures import thumbnails
    from netwright.records.atomic import write_atomic
    from netwright.report.check import page as drawn

    listing = found.listing
    masks = main_masks(listing, kind) if listing.masks is not None else None
    write_atomic(path, drawn(verdict.to_json(), thumbnails(verdict, listing.blobs, masks)))


def refuse_unwritable(file: Path, what: str) -> None:
    """Told before the pictures are decoded, which may take an hour.

    Raises:
        NetwrightError: it is a folder, or its folder is not there.
    """
    if file.is_dir():
        raise NetwrightError(f"--{what} {file} is a folder", f"name a file in it: --{what} {file / what}")
    if not file.parent.is_dir():
        raise NetwrightError(f"there is no folder {file.parent} for the {what}", f"make it, or give another --{what}")


def next_steps(
    given: list[str],
    verdict: "Verdict",
    page: Path | None,
    quarantine: Path | None,
    target: Path | None,
    masks: Mapping[str, str] | None = None,
) -> list[str]:
    """What was written, and what to do next: commands with the path and the options that were given.

    Args:
        given: the path and the options that training has too.
        verdict: on the data.
        page: that was written.
        quarantine: the list that was given.
        target: the list that was written.
        masks: how masks are read, by the names of the recipe's fields: options of `check` alone.
    """
    from netwright.report.words import plural

    masks = masks or {}
    own = [part for name, value in masks.items() for part in (f"--{name}", value)]
    same = f"netwright check {shlex.join([*given, *own, *(['--quarantine', str(quarantine)] if quarantine else [])])}"
    bad = plural(len(verdict.leave_out), "picture")
    steps = [f"page: {page}"] if page else []
    if target is not None and verdict.leave_out:
        steps.append(f"to leave out: {bad}, in {target}")
        training = [each for each in given if each != "--plain"]  # which has classes
        training += [part for name, value in masks.items() for part in ("--set", f"{name}={value}")]
        steps.append(f"next: netwright train {shlex.join([*training, '--quarantine', str(target)])}")
    elif verdict.leave_out:
        steps.append(f"to leave {bad} out: {same} --fix")
    if not page and any(each.examples for each in verdict.findings):
        steps.append(f"to see the pictures: {same} --page check.html")
    return steps
