"""`netwright explain`: what a model looks at in pictures, and what it looks for."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.core.errors import EXIT_USER

METHOD = 'gradcam, occlusion, filters, activations, dream, …, or with options: "gradcam(stage=2)".'
ORDERS = "Compare each map with so many copies moved elsewhere; 0 leaves it out, 19 is the least that can tell."


def explain(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle; or a model's name, with --weights.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Pictures, or folders of them.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to draw: .png, .jpg, .webp, .pdf, .svg.")] = Path(
        "map.png"
    ),
    method: Annotated[str, typer.Option(help=METHOD)] = "gradcam",
    label: Annotated[str | None, typer.Option("--class", help="Ask about this class, not the most probable.")] = None,
    stage: Annotated[int | None, typer.Option(help="Whose feature map: 0 is the largest, -1 the last.")] = None,
    orders: Annotated[int, typer.Option(min=0, max=999, help=ORDERS)] = 19,
    shuffled: Annotated[bool, typer.Option("--shuffled", help="Compare with networks of shuffled weights.")] = False,
    weights: Annotated[str | None, typer.Option(help="Weights for a model's name; classes are numbers then.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> int:
    """Draw where in pictures a model sees its class, or what its layers look for.

    Pictures that cannot be read are named on stderr; the others are explained, and the exit code is 2.
    """
    from netwright.bundle.seeing import explain as explained
    from netwright.bundle.seeing import opened, refuse_unfitting
    from netwright.cli.check import refuse_unwritable
    from netwright.core.spec import Spec
    from netwright.data.files import pictures_in

    refuse_unwritable(output, "output")
    spec = Spec.parse(method) if stage is None else Spec.parse(method).with_options(stage=stage)
    files = list(pictures_in(images or []))
    refuse_unfitting(spec, len(files), output, label=label, shuffled=shuffled)
    seen = explained(opened(run, weights, device), files, spec, label=label, orders=orders, shuffled=shuffled)
    written = seen.save(output)
    for each in seen.unreadable:
        typer.echo(f"left out: {each['problem']}", err=True)
    if as_json:
        typer.echo(json.dumps({**seen.to_json(), "written": str(written)}, ensure_ascii=False))
    else:
        typer.echo("\n".join([*_lines(seen), f"drawn in {written}"]))
    return EXIT_USER if seen.unreadable else 0


def _lines(seen: Any) -> list[str]:
    """What there is to say of each picture or sheet."""
    lines = [f"{sheet.title}. {sheet.note}".rstrip() for sheet in seen.sheets]
    for each in seen.explanations:
        lines.append(f"{each.name}: {each.title}")
        lines += [f"  {sheet.title}. {sheet.note}".rstrip() for sheet in each.sheets]
        lines += [f"  {found.verdict}" for found in (each.faithful, each.randomised) if found]
    return lines
