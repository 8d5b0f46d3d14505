"""The door to timm: any of its models behind our protocol (Wightman 2019, doi:10.5281/zenodo.4414861)."""

from collections.abc import Mapping
from fnmatch import fnmatch
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from netwright.core.errors import NetwrightError, unknown
from netwright.models._family import Family

PREFIX = "timm/"
# What makes timm load weights itself, which `weights` is for: a name that came in a file could choose another file.
LOADING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


class TimmModel(Family):
    """A timm model; its maps come from its own `forward_intermediates`, so there is one set of weights."""

    def __init__(self, name: str, model: nn.Module) -> None:
        super().__init__()
        self.reference = PREFIX + name
        self.model = model
        self.head_name = f"model.{_classifier_name(model)}"

    @property
    def configured(self) -> dict[str, Any]:
        """What timm says of the weights it has for this model: `mean`, `std` and more."""
        return getattr(self.model, "pretrained_cfg", None) or {}

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last map at each resolution; a plain transformer has one.

        Raises:
            NetwrightError: the model does not show its maps.
        """
        intermediates = getattr(self.model, "forward_intermediates", None)
        if intermediates is None:
            raise NetwrightError(f"{self.reference} does not show its feature maps", "choose another timm model")
        maps: list[Tensor] = intermediates(x, intermediates_only=True)
        return list({tuple(map_.shape[-2:]): map_ for map_ in maps}.values())

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.model(x)


def timm_names(pattern: str) -> list[str]:
    """Every timm model that matches, as `timm/NAME`, sorted."""
    return sorted(name for name in map(PREFIX.__add__, _timm().list_models()) if fnmatch(name, pattern))


def timm_model(name: str, classes: int, in_channels: int, options: Mapping[str, Any]) -> TimmModel:
    """The timm model called `name`, with fresh weights; options go to timm unchanged.

    Raises:
        NetwrightError: timm has no such model, or refuses an option.
    """
    for option in options:
        if option in LOADING:
            fix = "leave it out, and give weights=… (--weights) a file, 'imagenet' or 'hf-hub:owner/name'"
            raise NetwrightError(f"{option} is no option of {PREFIX}{name} here", fix)
    timm = _timm()
    if not timm.is_model(name):
        raise unknown("model", PREFIX + name, timm_names(PREFIX + "*"), see="netwright list models 'timm/*'")
    try:
        return TimmModel(name, timm.create_model(name, num_classes=classes, in_chans=in_channels, **options))
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        fix = "options go to timm.create_model unchanged: give only those this model takes"
        raise NetwrightError(f"timm refuses {name} with {dict(options)}: {error}", fix) from error


def timm_weights(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Pretrained weights, downloaded by timm's own loader, and what timm says of them."""
    model = _timm().create_model(name, pretrained=True)
    return model.state_dict(), model.pretrained_cfg


def _classifier_name(model: nn.Module) -> str:
    get_classifier: Any = model.get_classifier
    found = get_classifier()
    wanted = found[0] if isinstance(found, tuple) else found  # distilled transformers have two
    return next(name for name, layer in model.named_modules() if layer is wanted)


def _timm() -> ModuleType:
    import timm  # costs seconds: only when somebody names one of its models

    return timm
