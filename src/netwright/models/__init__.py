"""Model families, one a file: listed without importing them, created by name."""

import ast
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.options import Option, check, options_of
from netwright.core.spec import Spec

if TYPE_CHECKING:  # these import torch, which listing must not
    from netwright.models._family import Family, Variant

TIMM = "timm/"
DENSE = "segmentation"
RECONSTRUCTION = "reconstruction"
GIVES = {DENSE: "gives each pixel a class", RECONSTRUCTION: "gives pictures again"}


class Summary(NamedTuple):
    """What a list says about a variant: its family's file, that file's first line, its published parameter count and
    the task that it was made for."""

    family: str
    description: str
    params: int
    task: str = "classification"


def list_models(pattern: str = "*", *, task: str | None = "classification") -> list[str]:
    """Names of models for a task (None: any) that match a pattern such as `resnet*`, sorted.

    `timm/…` asks timm, which takes seconds.
    """
    if pattern.startswith(TIMM):
        from netwright.models._timm import timm_names

        return timm_names(pattern)
    found = ((name, row) for name, row in summaries().items() if fnmatch(name, pattern))
    return sorted(name for name, row in found if task in (None, row.task))


@cache
def summaries() -> dict[str, Summary]:
    """Every variant, read from the families' files without importing them."""
    families = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    return {name: summary for path in families for name, summary in _rows(path)}


def variant(name: str) -> "Variant":
    """What is published about a variant.

    Raises:
        NetwrightError: nothing has this name.
    """
    return _module(name).VARIANTS[name]


def create_model(
    name: str | Spec,
    *,
    classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = None,
    strict: bool = True,
) -> "Family":
    """A model by name: `resnet18`, `resnet18(norm='group')`, `timm/resnet10t`.

    Args:
        name: a variant, with options where the default ones won't do.
        classes: number of class scores; with 0 the model gives embeddings.
        in_channels: channels of the images.
        image_size: side of the images in pixels, or height and width, for families that are made for one size, unless
            the name says it; None is the family's own.
        weights: a weights file, a bundle, `hf-hub:owner/name`, or "imagenet" for those of the variant's reference.
        strict: refuse weights that do not fit but for the head; otherwise take what fits, if anything does.

    Raises:
        NetwrightError: unknown name or option, a value out of range, or weights that do not fit.
    """
    spec = Spec.parse(name)
    options: dict[str, Any] = {
        "classes": classes,
        "in_channels": in_channels,
        **_sized(spec, image_size),
        **spec.options,
    }
    model = _timm_model(spec.name, options) if spec.name.startswith(TIMM) else _own_model(spec.name, options)
    if weights is not None:
        from netwright.models._weights import load_weights

        load_weights(model, weights, strict=strict)
    return model


def check_model(name: str | Spec, task: str | None = None) -> None:
    """Refuse a model that does not exist or has no such option, without building it; timm's are checked when built.

    Args:
        name: with its options.
        task: what it is wanted for, where that is known.

    Raises:
        NetwrightError: unknown name or option, a value out of range, or a model for another task.
    """
    spec = Spec.parse(name)
    if not spec.name.startswith(TIMM):
        _module(spec.name)
        check(spec.name, _class_of(spec.name), spec.options)
    made_for = summaries()[spec.name].task if spec.name in summaries() else "classification"
    if task is not None and (task in GIVES or made_for in GIVES) and task != made_for:
        raise _for_another(spec, made_for, task)


def _for_another(spec: Spec, made_for: str, task: str) -> NetwrightError:
    """What to say of a model that is for another task."""
    gives = f"{spec.name} {GIVES.get(made_for, 'gives each picture one class')}"
    body = made_for == "classification"
    match task:
        case _ if task == DENSE:
            wants = "masks want one for each pixel" if body else "masks want a class for each pixel"
            named = f'"{Spec("unet", {"encoder": str(spec)})}"' if body else "unet"
            fix = f"take a network for masks: --model {named}, or one of `netwright list models`"
        case _ if task == RECONSTRUCTION:
            wants = "reconstruction wants the picture again"
            named = f'"{Spec("autoencoder", {"encoder": str(spec)})}"' if body else "autoencoder"
            fix = f"take an autoencoder: --model {named}, or one of {listed(list_models(task=RECONSTRUCTION))}"
        case _:
            wants = f"{task} is of whole pictures"
            fix = "take a network for whole pictures, as resnet18, or data with masks"
            if made_for == RECONSTRUCTION:
                wants, fix = f"{task} wants scores", "take a classifier, as resnet18, or --task reconstruction"
    return NetwrightError(f"{gives}, and {wants}", fix)


def model_options(name: str | Spec) -> list[Option]:
    """The options of a model; what the variant or the spec sets stands for the family's defaults.

    Raises:
        NetwrightError: nothing has this name.
    """
    spec = Spec.parse(name)
    chosen = {**variant(spec.name).options, **spec.options}
    return [replace(o, default=chosen.get(o.name, o.default)) for o in options_of(_class_of(spec.name)).values()]


def _sized(spec: Spec, image_size: int | tuple[int, int] | None) -> dict[str, Any]:
    """The size of images as an option, for a family that has one."""
    own = spec.name in summaries() and "image_size" in options_of(_class_of(spec.name))
    if image_size is None or not own:
        return {}
    if isinstance(image_size, tuple) and image_size[0] == image_size[1]:
        return {"image_size": image_size[0]}
    return {"image_size": image_size}


def _own_model(name: str, options: dict[str, Any]) -> "Family":
    family, row = _class_of(name), variant(name)
    model = family(**{**row.options, **check(name, family, options)})
    model.reference = row.reference
    return model


def _class_of(name: str) -> "type[Family]":
    wanted = summaries()[name].family.replace("_", "") if name in summaries() else ""  # resnet_cifar.py: ResNetCifar
    return next(thing for thing in vars(_module(name)).values() if getattr(thing, "__name__", "").lower() == wanted)


def _timm_model(name: str, options: dict[str, Any]) -> "Family":
    from netwright.models._timm import timm_model

    return timm_model(name.removeprefix(TIMM), options.pop("classes"), options.pop("in_channels"), options)


def _module(name: str) -> Any:
    if name not in summaries():
        raise unknown("model", name, summaries(), see="netwright list models")
    return import_module(f"{__name__}.{summaries()[name].family}")


def _rows(path: Path) -> list[tuple[str, Summary]]:
    tree = ast.parse(path.read_text("utf-8"))
    description = (ast.get_docstring(tree) or "").split("\n")[0]
    table = next((table for node in tree.body if (table := _table(node))), ast.Dict([], []))
    keys = [ast.literal_eval(key) for key in table.keys if key]
    rows = zip(keys, table.values, strict=True)
    return [(key, Summary(path.stem, description, _said(row, "params"), _said(row, "task"))) for key, row in rows]


def _table(node: ast.stmt) -> ast.Dict | None:
    if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "VARIANTS":
        return None
    return node.value if isinstance(node.value, ast.Dict) else None


def _said(row: ast.expr, field: str) -> Any:
    """What a row of a table gives a field of Summary."""
    keywords = row.keywords if isinstance(row, ast.Call) else []
    given = (ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg == field)
    return next(given, Summary._field_defaults.get(field))
