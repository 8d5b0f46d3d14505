"""A network as `netwright show` lays it out: its stages, what they cost and what they see."""

from dataclasses import asdict
from math import prod
from typing import TYPE_CHECKING, Any

from netwright.cli._columns import columns
from netwright.core.spec import Spec

if TYPE_CHECKING:
    from netwright.models._anatomy import Part

GIVEN = {
    "segmentation": "; for segmentation: scores for each pixel, at any size of image",
    "reconstruction": "; for reconstruction: codes of images of one size (--image-size), and images of codes",
}
HEADER = ("stage", "output", "parameters", "multiply-adds", "memory", "receptive field")


def model_title(name: str) -> str:
    """What a model is, where it comes from and what it was proven against."""
    from netwright.models import summaries, variant

    plain = Spec.parse(name).name
    family, line, params, task = summaries()[plain]
    row = variant(plain)
    counted = "" if task != "classification" and not row.reference else " as published"
    published = f"{params:,} parameters{counted} for {row.classes:,} classes, images of {row.image_size} pixels"
    proof = f"{plain} takes the weights of {row.reference}" if row.reference else "no library has its weights"
    return f"model {name}: {line}\n{published}; family {family}; {proof}{GIVEN.get(task, '')}"


def stage_table(parts: "list[Part]") -> list[str]:
    """A line for each stage and one for the whole, in columns."""
    total = (
        "in all",
        "",
        f"{sum(part.params for part in parts):,}",
        _millions(sum(part.macs for part in parts)),
        _megabytes(sum(part.bytes for part in parts)),
        "",
    )
    return columns([HEADER, *map(_cells, parts), total], left=2)


def as_values(parts: "list[Part]") -> list[dict[str, Any]]:
    """The same for JSON."""
    return [asdict(part) for part in parts]


def _cells(part: "Part") -> tuple[str, ...]:
    seen = "whole image" if part.receptive_field is None else f"{part.receptive_field} px"
    passed = bool(part.shape)  # auxiliary heads pass nothing on
    return (
        part.name,
        "x".join(map(str, part.shape)),
        f"{part.params:,}",
        _millions(part.macs) if passed else "",
        _megabytes(part.bytes) if passed else "",
        seen if passed and prod(part.shape[1:]) > 1 else "",
    )


def _millions(number: int) -> str:
    return f"{number / 1e6:,.2f} M"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.2f} MB"
