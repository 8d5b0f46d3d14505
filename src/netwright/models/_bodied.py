"""Networks around a classifier's body: how the body is named by itself, and what it lacks of the classifier."""

import torch

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.models import model_options, summaries
from netwright.models._autoencoder import Autoencoding
from netwright.models._encoder import make_encoder
from netwright.models._family import Family
from netwright.models._segmenter import Segmenter

DENSE, CODES = "segmentation", "reconstruction"
WHOLE = "classification"  # tasks of whole pictures, whose networks are the same
CODE = "to_mean.weight"  # of the layer that makes codes
BODIES = {DENSE: "unet", CODES: "autoencoder"}  # networks around a classifier's body


def suited_to(spec: str, task: str) -> str:
    """The network for a task that has the same encoder; the network itself where there is none, or it is for that task.

    Args:
        spec: of the network whose weights are at hand, as `model_of` gives it.
        task: by name; all tasks of whole pictures are alike.
    """
    made_for = _task_of(spec)
    wanted = task if task in BODIES else WHOLE
    if made_for == wanted:
        return spec
    encoder = spec if made_for == WHOLE else _encoder_in(spec)
    if encoder is None:
        return spec
    return encoder if wanted == WHOLE else str(Spec(BODIES[wanted], {"encoder": encoder}))


def told_of(spec: str, task: str) -> str:
    """What to do where weights of a network do not fit one for a task: the model to name, if there is one."""
    own = suited_to(spec, task)
    if _task_of(own) != (task if task in BODIES else WHOLE):
        return f"they are of {spec}, in which no classifier is: `netwright embed` gives its codes as they are"
    return f'they are of {spec}: --model "{own}"'


def _task_of(spec: str) -> str:
    name = Spec.parse(spec).name
    return summaries()[name].task if name in summaries() else WHOLE


def _encoder_in(spec: str) -> str | None:
    """The classifier whose body a network has; None where it has none, or one that is no classifier of ours.

    Dense layers see pictures of one size, which is that of the network.
    """
    options = {option.name: option.default for option in model_options(spec)}
    encoder = options.get("encoder")
    if "hidden" in options and "tied" in options and options["activation"] != "none":
        encoder = str(Spec("mlp", {"widths": tuple(options["hidden"]), "activation": options["activation"]}))
    if not isinstance(encoder, str):
        return None
    inner = Spec.parse(encoder)
    return str(inner.with_options(image_size=options["image_size"]) if inner.name == "mlp" else inner)


def task_of(model: Family) -> str:
    """The task that a network is for; all of whole pictures are alike."""
    return DENSE if isinstance(model, Segmenter) else CODES if isinstance(model, Autoencoding) else WHOLE


def layers_behind(spec: str | None) -> tuple[str, ...]:
    """Layers of the classifier whose body a network has that are not in it, being behind its maps: dense ones, mostly.

    None where it has no such body. Nothing is computed, and no memory used for weights.
    """
    try:
        encoder = None if spec is None or _task_of(spec) == WHOLE else _encoder_in(spec)
        if encoder is None or Spec.parse(encoder).name == "mlp":
            return ()
        with torch.device("meta"):
            return make_encoder(encoder).dropped
    except (NetwrightError, RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError):
        return ()
