"""Every variant beside the network it was proven against: parameters, multiply-adds, errors of outputs and gradients.

    python bench/parity.py --write docs/benchmarks/families.md

Random weights of the reference (norms and scales drawn too) are loaded into our network; outputs and gradients are
compared in float32. Without --only it takes some minutes and 4 GB.
"""

import argparse
import time
from pathlib import Path

import torch

from netwright.models import create_model, list_models, summaries, variant
from netwright.models._anatomy import anatomy
from netwright.models._parity import parity

LIMIT = 1e-4
HEADS = ("variant", "parameters", "published", "multiply-adds", "image", "reference", "output error", "gradient error")


def row(name: str) -> tuple[str, ...]:
    published = variant(name)
    with torch.device("meta"):
        made = create_model(name, classes=published.classes, in_channels=published.in_channels)
    params = sum(parameter.numel() for parameter in made.parameters())
    if params != published.params:
        raise SystemExit(f"{name} has {params:,} parameters, published are {published.params:,}")
    macs = sum(part.macs for part in anatomy(name))
    known = [name, f"{params:,}", "equal", f"{macs / 1e6:,.1f} M", str(published.image_size)]
    if published.reference is None:
        return (*known, "the paper's structure and count", "–", "–")
    found = parity(name)
    if not max(found.output, found.gradient) <= LIMIT:
        raise SystemExit(f"{name} is not {published.reference}: {found}")
    return (*known, published.reference, f"{found.output:.1e}", f"{found.gradient:.1e}")


def page(rows: list[tuple[str, ...]], seconds: float) -> str:
    proven = sum(cells[-1] != "–" for cells in rows)
    families = len({summaries()[cells[0]].family for cells in rows})
    return "\n".join(
        [
            "# Families",
            "",
            f"{len(rows)} variants of {families} families; {proven} are compared with the same network of another "
            f"library. Errors are relative, |ours − theirs| / |theirs|, the largest over all outputs or over all "
            f"gradients, in float32 with random weights; {LIMIT:g} is the limit, and 0 means equal to the last bit. "
            "Multiply-adds are for one image of the given side. `netwright show NAME` lays a network out by stages. "
            "Where a paper rounds its count, or counts otherwise, the comment beside the row in the family's file says "
            "how ours agrees with it.",
            "",
            f"Written by `python bench/parity.py`, torch {torch.__version__}, in {seconds:.0f} s.",
            "",
            f"| {' | '.join(HEADS)} |",
            "| --- | ---: | --- | ---: | ---: | --- | ---: | ---: |",
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="*", help="a pattern of names")
    parser.add_argument("--write", type=Path, help="where to put the page")
    options = parser.parse_args()
    begun, rows = time.perf_counter(), []
    for name in list_models(options.only):
        rows.append(row(name))
        print("  ".join(rows[-1]), flush=True)
    if options.write:
        options.write.write_text(page(rows, time.perf_counter() - begun), "utf-8")


if __name__ == "__main__":
    main()
