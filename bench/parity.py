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
# Counts that papers give otherwise than ours, and why as far as we know. All else without a reference rounds to the
# number in its paper, which the tests of its family check.
OTHERWISE = {
    "attention56": "31.9 M in the paper, which counts the norms' running statistics",
    "attention92": "51.3 M in the paper, unexplained: convolutions and head as released have 52.3 M alone",
    "fractalnet20": "38.6 M in the paper, unexplained: its channels and its rule of expansion give 33.7 M",
    "lenet5": "60,000 in the paper, and 850 for the linear output in place of its RBF units",
    "preact_resnet1001": "10.2 M in the paper, which counts convolutions and head alone",
    "pyramidnet101_a360": "42.5 M with the authors' code",
    "pyramidnet110_a48": "1.7 M in the paper, with widths rounded down; the authors' code rounds to the nearest",
    "pyramidnet110_a84": "3.8 M in the paper, with widths rounded down; the authors' code rounds to the nearest",
    "pyramidnet110_a270": "28.3 M in the paper, unexplained: 28.4 M without norms",
    "pyramidnet164_a270": "27.0 M in the paper, 27.05 M without norms",
    "pyramidnet200_a240": "26.6 M in the paper, which counts convolutions and head alone",
    "pyramidnet200_a300": "62.1 M in the paper, which counts convolutions and head alone",
    "pyramidnet200_a450": "116.4 M in the paper, which counts convolutions and head alone",
    "pyramidnet272_a200": "26.0 M in the paper, which counts convolutions and head alone",
    "preact_resnet200": "64.5 M as others list it, counting convolutions and head alone",
    "vgg": "our own recipe for small images",
    "zfnet": "counted from the paper's table of layers",
}
HEADS = ("variant", "parameters", "published", "multiply-adds", "image", "reference", "output error", "gradient error")


def row(name: str) -> tuple[str, ...]:
    published = variant(name)
    with torch.device("meta"):
        made = create_model(name, classes=published.classes, in_channels=published.in_channels)
    params = sum(parameter.numel() for parameter in made.parameters())
    if params != published.params:
        raise SystemExit(f"{name} has {params:,} parameters, its row says {published.params:,}")
    macs = sum(part.macs for part in anatomy(name))
    agrees = OTHERWISE.get(name, "equal" if published.reference else "equal when rounded")
    known = [name, f"{params:,}", agrees, f"{macs / 1e6:,.1f} M", str(published.image_size)]
    if published.reference is None:
        return (*known, "–", "–", "–")
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
            "Where papers round their counts, ours rounds to the same; the exceptions are told in the row.",
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
