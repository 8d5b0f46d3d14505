"""What a bundle says of itself, checked before anything is made of it: it may come from anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from netwright.bundle.save import CARD, FORMAT, LARGEST_CODE
from netwright.core.document import parsed
from netwright.core.errors import NetwrightError, listed
from netwright.core.options import Between, value_of
from netwright.core.spec import Spec

MOST_BYTES = 8 << 20  # of its JSON, which takes forty times as much in memory; 21,000 class names take half of one
LARGEST_SIDE = 8192  # of a picture that is prepared for the network
LONGEST_REASON = 200
MOST_CLASSES = 255  # of a mask, whose values are bytes and which has one for what is ignored
MOST_LATENT = 100_000  # numbers of a code
Object = dict[str, Any]
Positive = Annotated[float, Between(1e-9, 1e9)]

FIELDS: dict[str, Any] = {
    "classes": list[str],
    "temperature": Positive,
    "model": Object,
    "recipe": Object,
    "preprocess": Object | None,
}
MODEL: dict[str, Any] = {
    "spec": str | None,
    "structure": list[str],
    "in_channels": Annotated[int, Between(1, 100_000)],
    "macs": Annotated[int | None, Between(0)],
}
RECIPE: dict[str, Any] = {"precision": Literal["auto", "fp32", "bf16"]}
PREPROCESS: dict[str, Any] = {
    "image_size": Annotated[int, Between(1, LARGEST_SIDE)],
    "stored_size": Annotated[int, Between(1, LARGEST_SIDE)],
    "mean": list[Annotated[float, Between(-1e9, 1e9)]],
    "std": list[Positive],
}
MASKS: dict[str, Any] = {
    "background": bool,
    "several": bool,
    "colours": list[Any],
    "crop": Annotated[int, Between(1, LARGEST_SIDE)],
}
Finite = Annotated[float, Between(-LARGEST_CODE, LARGEST_CODE)]
Extent = Annotated[float, Between(0, LARGEST_CODE)]
Count = Annotated[int, Between(0)]
LATENT: dict[str, Any] = {"mean": list[Finite]}
ROWS = ("deviation", "spread", "used", "divergence")
MORE_OF_LATENT: dict[str, Any] = {
    "covariance": list[list[Annotated[float, Between(-(LARGEST_CODE**2), LARGEST_CODE**2)]]] | None,
    "dimensions": Annotated[int, Between(1, MOST_LATENT)],
    "n": Count,
    "active": Count,
    "dead": Count,
    "collapsed": bool,
    **dict.fromkeys(ROWS, list[Extent]),
}
CHANNEL = Annotated[int, Between(0, 255)]


def read_card(folder: Path) -> dict[str, Any]:
    """What a bundle says of itself.

    Raises:
        NetwrightError: it cannot be read, is of a newer format, or holds values that no bundle has.
    """
    path = folder / CARD
    try:
        card = _read(path)
        known = card["format"] <= FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        raise NetwrightError(f"{path} cannot be read", "copy the bundle again") from None
    if not known:
        raise NetwrightError(
            f"{folder} has format {card['format']}; this netwright reads up to {FORMAT}", "update netwright"
        )
    try:
        _check(card)
    except NetwrightError as error:
        reason = error.problem[:LONGEST_REASON]
        fix = "copy the bundle again; where it came so, do not use it"
        raise NetwrightError(f"{path} is damaged or forged: {reason}", fix) from None
    return card


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError("larger than any")
    return parsed(path.read_bytes())


def _check(card: Mapping[str, Any]) -> None:
    _check_fields("", card, FIELDS)
    _check_fields("model.", card["model"], MODEL)
    _check_fields("recipe.", card["recipe"], RECIPE)
    for trick in value_of("recipe.tricks", list[str], card["recipe"].get("tricks", [])):
        Spec.parse(trick)
    if card["preprocess"] is not None:
        _check_fields("preprocess.", card["preprocess"], PREPROCESS)
    if not card["classes"] and card.get("task") != "reconstruction":
        raise NetwrightError("it has no classes")
    if card.get("latent") is not None:
        _check_latent(card["latent"])
    if card.get("task") == "segmentation":
        _check_masks(card.get("masks"), len(card["classes"]))


def _check_masks(masks: Any, classes: int) -> None:
    """What the masks of a network that gives each pixel a class mean."""
    _check_fields("masks.", value_of("masks", Object, masks), MASKS)
    colours = masks["colours"]
    if len(colours) != classes or classes > MOST_CLASSES:
        raise NetwrightError(f"masks.colours has {len(colours)} for {classes} classes, of which {MOST_CLASSES} may be")
    for colour in colours:
        if len(value_of("masks.colours", list[CHANNEL], colour)) != 3:
            raise NetwrightError(f"masks.colours has {colour}, which is no colour")


def _check_latent(latent: Any) -> None:
    """What the codes of training pictures were like: each list has a number for each dimension."""
    _check_fields("latent.", value_of("latent", Object, latent), LATENT)
    _check_fields("latent.", latent, {name: kind for name, kind in MORE_OF_LATENT.items() if name in latent})
    dimensions, covariance = latent.get("dimensions", len(latent["mean"])), latent.get("covariance")
    rows = {name: latent[name] for name in ("mean", *ROWS) if name in latent}
    for name, row in [*rows.items(), *(("covariance", row) for row in covariance or [])]:
        if len(row) != dimensions:
            raise NetwrightError(f"latent.{name} has {len(row)} numbers for {dimensions} dimensions")
    if covariance is not None and len(covariance) != dimensions:
        raise NetwrightError(f"latent.covariance has {len(covariance)} rows for {dimensions} dimensions")


def _check_fields(prefix: str, given: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    if missing := [name for name in fields if name not in given]:
        raise NetwrightError(f"{prefix or 'it '}lacks {listed(missing)}")
    for name, annotation in fields.items():
        value_of(f"{prefix}{name}", annotation, given[name])
