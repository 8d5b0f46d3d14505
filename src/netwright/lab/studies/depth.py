"""What more layers do, and more halvings: VGG networks over a grid of blocks × convolutions a block.

Simonyan & Zisserman 2014 (arXiv:1409.1556) ask it of ImageNet in 74 epochs; here the protocol is short, so the answer
is how fast networks of a depth begin to learn. Every cell has the same seeds, which are the blocks of an analysis of
variance. Arms repeat the grid with a norm, or with shortcuts, for what these do to the effect of depth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any, cast

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.spec import Spec
from netwright.lab.studies._depth_found import found
from netwright.lab.studies._depth_grid import Cell
from netwright.lab.studies._study import Setting
from netwright.lab.trial import Trial
from netwright.models._anatomy import anatomy
from netwright.models._family import Count
from netwright.nn.norm import NormKind
from netwright.recipes._recipe import Recipe
from netwright.tricks import TRICKS

BASE: Mapping[str, Any] = {"dropout": 0.0, "head": "dense", "hidden": (128,), "width": 32}
GRID = ("blocks", "layers", "norm", "skip", "side")


@dataclass
class Depth:
    """What the number of blocks and of convolutions in each do to accuracy after a short training.

    Attributes:
        blocks: how often the map is halved; each has twice the channels of the one before.
        layers: 3x3 convolutions in each block.
        norm: after each convolution; a grid for each that is named.
        skip: whether blocks have shortcuts; a grid for each.
        init: how first weights are drawn, as of the trick `init`; "keep" for what the family begins with.
        seeds: runs of each network, the same seeds and so the same order of the pictures in all cells.
    """

    blocks: tuple[Count, ...] = (1, 2, 3)
    layers: tuple[Count, ...] = (1, 2, 3)
    norm: tuple[NormKind, ...] = ("none",)
    skip: tuple[bool, ...] = (False,)
    init: str = "he"
    seeds: Annotated[int, Between(2, 1000)] = 3

    def __post_init__(self) -> None:
        for name in ("blocks", "layers", "norm", "skip"):
            levels: tuple[Any, ...] = getattr(self, name)
            if not levels or len(set(levels)) < len(levels):
                raise NetwrightError(f"{name} cannot be {levels}", "name one or more, each once")
        if len(self.blocks) * len(self.layers) < 2:
            given = f"blocks={self.blocks} and layers={self.layers}"
            raise NetwrightError(f"{given} are one network, and depth compares some", "give more: --blocks 1,2,3")
        TRICKS.build(Spec("init", {"kind": self.init}))

    def __call__(self, setting: Setting) -> dict[str, Any]:
        """Train every network with every seed, and analyse what came of it."""
        base = base_of(setting.protocol)
        cells = list(self.cells(base, setting))
        setting.total = len(cells) * self.seeds
        seeds = range(setting.protocol.seed, setting.protocol.seed + self.seeds)
        trials: dict[str, list[Trial]] = {cell.model: [] for cell in cells}
        for seed in seeds:  # a study that is stopped has whole blocks
            for cell in cells:
                trials[cell.model].append(self._trained(cell, seed, setting))
        known = [replace(cell, trials=tuple(trials[cell.model])) for cell in cells]
        protocol = setting.protocol.changed("recipe", model=str(base)).model_dump(mode="json", exclude={"name"})
        return found(setting, known, self.seeds) | {"protocol": protocol}

    def cells(self, base: Spec, setting: Setting) -> Iterator[Cell]:
        """Every network of every arm, laid out on the meta device: what cannot be built is told before training.

        Raises:
            NetwrightError: more blocks than the pictures can be halved, or options that no network has.
        """
        size = setting.data.preprocess.image_size
        deepest = max(self.blocks)
        if size < 2**deepest:
            fix = f"give at most {size.bit_length() - 1} blocks, or --image-size {2**deepest}"
            raise NetwrightError(f"{deepest} blocks leave nothing of pictures of {size}x{size} pixels", fix)
        for norm, skip, blocks, layers in product(self.norm, self.skip, sorted(self.blocks), sorted(self.layers)):
            own = {"blocks": blocks, "layers": layers, "norm": norm, "skip": skip, "side": size // 2**blocks}
            spec = base.with_options(**own)
            as_built = spec.with_options(in_channels=setting.channels)
            *maps, head = anatomy(as_built, classes=len(setting.data.classes), image_size=size)
            params, macs = (sum(getattr(part, name) for part in (*maps, head)) for name in ("params", "macs"))
            yield Cell(norm, skip, blocks, layers, str(spec), params, macs, cast(int, maps[-1].receptive_field))

    def _trained(self, cell: Cell, seed: int, setting: Setting) -> Trial:
        recipe = setting.protocol.changed(model=cell.model, seed=seed)
        if self.init != "keep":
            recipe = recipe.with_(Spec("init", {"kind": self.init}))
        trial = setting.trials.run(recipe, setting.data)
        arm = f", {cell.arm}" if len(self.norm) * len(self.skip) > 1 else ""
        setting.count(f"blocks × layers {cell.name}{arm}, seed {seed}", trial.accuracy, trial.seconds)
        return trial


def base_of(protocol: Recipe) -> Spec:
    """What all networks of the grid share: the protocol's options of `vgg`, over the study's own.

    Raises:
        NetwrightError: the user named another family, or an option that the grid sets.
    """
    spec, named = Spec.parse(protocol.model), protocol.sources["model"] == "user"
    if spec.name != "vgg":
        if named:
            fix = "leave --model out, or name options of vgg: --model \"vgg(width=16, activation='gelu')\""
            raise NetwrightError(f"the study of depth builds VGG networks, not {spec.name}", fix)
        return Spec("vgg", BASE)
    for name in GRID:
        if name in spec.options:
            fix = "it follows from the pictures; leave it out" if name == "side" else f"give it as --{name} instead"
            raise NetwrightError(f"{name} of {spec} is what the grid decides", fix)
    return Spec("vgg", {**BASE, **spec.options})
