"""What is said where weights do not fit a network: what fits, what does not, and which model they may be of."""

import re
from pathlib import Path

from netwright.core.errors import NetwrightError, listed
from netwright.models import summaries
from netwright.models._bodied import BODIES
from netwright.models._family import Family
from netwright.models._nearest import Near, nearest_variant
from netwright.models._placed import UNCOUNTED, Fit, State, fit_of, heads_of, shape_of

TIMM_MODEL = "timm's own model takes them: --model timm/NAME; `netwright list models 'timm/*'` has the names"
NO_FAMILY = "choose one of netwright's models (`netwright list models`) with weights of its own"
# How names begin in libraries whose networks ours do not follow, whose they are, and what to do.
ELSEWHERE = (
    (r"(resnet|vit|convnext|convnextv2|mobilenet_v2|swin|beit|dinov2|efficientnet|regnet)\.(embedder|embeddings|encoder)\.",
     "Hugging Face's transformers", "its hub often has timm's version of them: --model timm/NAME"),
    (r"conv_proj\.|encoder\.layers\.encoder_layer_", "torchvision's vision transformers", NO_FAMILY),
    (r"(backbone\.bottom_up\.|stem\.conv1\.|res2\.0\.)", "Detectron2", NO_FAMILY),
    (r"backbone\.(body|fpn)\.|rpn\.|roi_heads\.", "torchvision's detectors", NO_FAMILY),
    (r"visual\.|logit_scale|text_projection", "CLIP, a network of pictures and words", TIMM_MODEL),
    (r"cls_token|pos_embed|patch_embed\.|blocks\.0\.attn\.", "a vision transformer, as timm names them", TIMM_MODEL),
    (r"conv_stem\.|blocks\.0\.0\.conv_(dw|pw)\.", "timm's efficient and mobile networks", TIMM_MODEL),
    (r"stem\.0\.|stages\.0\.blocks\.", "timm's networks in stages", TIMM_MODEL),
)  # fmt: skip
SHARE_TOLD = 0.001


def misfit(
    model: Family,
    given: State,
    source: str | Path,
    *,
    missing: list[str],
    unexpected: list[str],
    part: str = "",
    task: str = "",
) -> NetwrightError:
    """The error for weights of another model, heads apart.

    Args:
        model: what they were to be loaded into.
        given: the tensors, as far as possible under the model's names.
        source: where they are from.
        missing: names of the model that the weights lack, or have in another shape.
        unexpected: names of theirs that the model has no place for.
        part: what the model is of a larger one, as "UNet's encoder"; nothing where it is whole.
        task: what the whole is for.
    """
    own, heads = model.state_dict(), heads_of(model)
    fit, kind = fit_of(given, own, heads), type(model).__name__
    one = f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"
    kind = f"{part}, {one}" if part else kind
    fix = _fix(given, fit, kind, around=BODIES.get(task, "") if part else "")
    if not fit.named:
        told = ([name for name in names if not name.endswith(UNCOUNTED)] for names in (given, own))
        theirs, ours = (listed(names, most=3) for names in told)
        problem = f"nothing in '{source}' fits {kind}: no name is the same; the weights' are {theirs}"
        return NetwrightError(f"{problem}; the model's are {ours}", fix)
    shapes = [f"{name}: {shape_of(given[name])}, not {shape_of(own[name])}" for name in missing if name in given]
    found = {
        "missing": [name for name in missing if name not in given],
        "unexpected": unexpected,
        "of another shape": shapes,
    }
    said = [f"{len(names)} {how} ({listed(names, most=3)})" for how, names in found.items() if names]
    much = f"{fit.fits} of its {fit.tensors} tensors fit by name and shape, {share(fit.values)} of all values"
    problem = f"the weights in '{source}' are not this model's, {one}"
    problem = f"the weights in '{source}' are not those of {kind}" if part else problem
    problem = problem if fit.fits else f"nothing in '{source}' fits {kind}"
    return NetwrightError(f"{problem}: heads apart, {much}; {'; '.join(said)}", fix)


def share(part: float) -> str:
    """A share as words: `43.0 %`, never 0 or all of what is only nearly so."""
    if 0 < part < SHARE_TOLD:
        return f"less than {100 * SHARE_TOLD:g} %"
    return f"{100 * part:.1f} %" if part > 1 - 1e-9 or part < 0.9995 else "more than 99.9 %"


def _fix(given: State, fit: Fit, kind: str, *, around: str) -> str:
    near = nearest_variant(given)
    if near is not None and near.fit.whole:
        choose = f"--model {near.name}"
        if around and summaries()[near.name].task == "classification":
            choose = f"choose it as encoder, as in --model \"{around}(encoder='{near.name}')\""
        return f"they fit {near.name}, all {near.fit.tensors} tensors, heads apart: {choose}"
    if fit.only_shapes_differ:
        fix = "give --model the variant and the options, such as width, that the weights were trained with"
        return f"{fix}: {fit.named} of {fit.tensors} names are those of {kind}, and shapes are not"
    if near is not None:
        return _nearly(near)
    for pattern, whose, fix in ELSEWHERE:
        if any(re.match(pattern, name) for name in given):
            return f"the names are those of {whose}: {fix}"
    return f"none of netwright's {len(summaries())} variants is near: make the model as the weights' author did"


def _nearly(near: Near) -> str:
    fits = f"{near.fit.fits} of {near.fit.tensors} tensors fit, with {share(near.fit.values)} of the values"
    fix = f"the nearest model is {near.name}, of which {fits}"
    if near.fit.only_shapes_differ:
        return f"{fix}: names agree and shapes do not, so its options may differ, as in --model '{near.name}(width=…)'"
    return f"{fix}; its options may differ, or the file is of a network that netwright does not have"
