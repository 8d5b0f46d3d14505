"""A picture painted so that a class or channel answers strongly (Olah, Mordvintsev & Schubert 2017, distill.00007)."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.explain._colour import pixels
from netwright.explain._maps import passed
from netwright.explain._method import Sheet, Subject, What, with_gradients
from netwright.nn.places import Staged

# Deviations of photos' colours along grey, red against blue, and green against both, as measured on 130 photos.
AXES = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]) / torch.tensor([[3.0], [2.0], [6.0]]).sqrt()
DEVIATIONS = torch.tensor([0.41, 0.14, 0.08])
SETTLED = 8  # steps at each end over which the objective is averaged, since each step sees the picture moved


@dataclass(frozen=True)
class Dream(What):
    """Starts from noise and climbs. What appears is what the network looks for, in its own hand.

    The picture is kept as a Fourier spectrum in uncorrelated colours, so that all frequencies are climbed alike; at
    each step the network sees it moved, turned and resized a little, so that nothing but stable shapes pays.

    Attributes:
        channel: of the stage's map whose mean is raised; None raises the score of a class.
        stage: whose channel: 0 is the largest map, -1 the last.
        size: side of the picture in pixels; by default what the network was trained on, up to 192.
        steps: of Adam.
        lr: its rate.
        jitter: the largest shift in pixels, for each 100 of the side.
        rotate: the largest turn, in degrees.
        scale: the largest resizing, as a share.
        l2: weight of the mean squared distance from grey.
        smooth: weight of the total variation: the mean distance between neighbours.
        seed: of the noise and of all moves.
    """

    channel: Annotated[int | None, Between(0)] = None
    stage: Annotated[int, Between(-100, 100)] = -1
    size: Annotated[int | None, Between(8, 1024)] = None
    steps: Annotated[int, Between(1, 10_000)] = 128
    lr: Annotated[float, Between(1e-4, 1)] = 0.05
    jitter: Annotated[float, Between(0, 25)] = 5.0
    rotate: Annotated[float, Between(0, 45)] = 5.0
    scale: Annotated[float, Between(0, 0.5)] = 0.1
    l2: Annotated[float, Between(0)] = 1.0
    smooth: Annotated[float, Between(0)] = 5.0
    seed: int = 0

    @property
    def wants_class(self) -> bool:
        """Where no channel is named."""
        return self.channel is None

    def sheets(self, subject: Subject, image: Tensor | None = None, target: int | None = None) -> list[Sheet]:
        """One picture; see `What.sheets`."""
        if self.channel is None and target is None:
            raise NetwrightError("dream needs something to look for", "name a class, or give channel=…")
        if self.channel is None and self.stage != -1:
            fix = "give channel=… too, or leave out the stage"
            raise NetwrightError(f"stage {self.stage} is that of a channel, and dream was asked for a class", fix)
        if self.channel is not None and target is not None:
            fix = "leave out the class, or channel=…"
            raise NetwrightError("dream was asked for a channel and for a class, and paints one of them", fix)
        value, course = self.painted(subject, target)
        what = f"class {target}" if self.channel is None else f"channel {self.channel} of stage {self.stage}"
        first, last = (sum(part) / len(part) for part in (course[:SETTLED], course[-SETTLED:]))
        note = course_of(first, last, self.steps)
        facts = {"answer_first": first, "answer_last": last, "steps": self.steps, "seed": self.seed}
        return [Sheet(f"What {what} looks for", [pixels(value[0])], [""], note, facts)]

    def painted(self, subject: Subject, target: int | None) -> tuple[Tensor, list[float]]:
        """The picture, 1 C H W in [0, 1], and the answer at each step."""
        if subject.shape is None:
            raise NetwrightError("it is not known what pictures this network wants", "give Subject(shape=(C, H, W))")
        channels, height, width = subject.shape
        side = self.size or min(192, height, width)
        device = next(subject.network.parameters()).device
        random = torch.Generator().manual_seed(self.seed)
        spectrum = (0.01 * torch.randn(1, channels, side, side // 2 + 1, 2, generator=random)).to(device)
        spectrum.requires_grad_()
        climber = _Adam(spectrum, self.lr)
        course: list[float] = []
        with with_gradients():
            for _ in range(self.steps):
                value = developed(spectrum, side)
                answer = self._answer(subject, subject.input(self._moved(value, random)), target)
                # Adam's steps do not depend on the answer's scale, but its balance with the regularisers would.
                loss = -answer / (1 + answer.detach().abs()) + self.l2 * far_from_grey(value)
                loss = loss + self.smooth * total_variation(value)
                climber.step(torch.autograd.grad(loss, [spectrum])[0])
                course.append(float(answer.detach()))
        return developed(spectrum, side).detach(), course

    def _answer(self, subject: Subject, image: Tensor, target: int | None) -> Tensor:
        if self.channel is not None:
            return _of_channel(passed(subject, image, keep=True).maps, self.stage, self.channel)
        subject.network.eval()
        return class_score(subject, image, target or 0)

    def _moved(self, value: Tensor, random: torch.Generator) -> Tensor:
        """The picture turned, resized and shifted by as much as the options allow."""
        turn, grow, right, down = (2 * torch.rand(4, generator=random) - 1).tolist()
        if not (self.rotate or self.scale or self.jitter):
            return value
        angle, factor = math.radians(self.rotate) * turn, 1 + self.scale * grow
        cos, sin, reach = math.cos(angle) / factor, math.sin(angle) / factor, 2 * self.jitter / 100
        theta = torch.tensor([[[cos, -sin, reach * right], [sin, cos, reach * down]]], device=value.device)
        grid = F.affine_grid(theta, list(value.shape), align_corners=False)
        return F.grid_sample(value, grid, padding_mode="reflection", align_corners=False)


class _Adam:
    """Kingma & Ba 2015, for one tensor: torch's own loads its compiler first, which takes seconds."""

    def __init__(self, value: Tensor, lr: float) -> None:
        self.value, self.lr, self.steps = value, lr, 0
        self.mean, self.square = torch.zeros_like(value), torch.zeros_like(value)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move against a gradient."""
        self.steps += 1
        self.mean.lerp_(gradient, 0.1)
        self.square.lerp_(gradient**2, 0.001)
        spread = (self.square / (1 - 0.999**self.steps)).sqrt() + 1e-8
        self.value -= self.lr / (1 - 0.9**self.steps) * self.mean / spread


def course_of(first: float, last: float, steps: int) -> str:
    """How the answer changed, with as many digits as tell its ends apart."""
    digits = next((n for n in range(3, 8) if f"{first:.{n}g}" != f"{last:.{n}g}"), None)
    if digits is None:
        return f"Its mean answer stayed at {first:.3g} in {steps} steps: what was painted does not move it."
    moved = "rose" if last > first else "fell"
    return f"Its mean answer {moved} from {first:.{digits}g} to {last:.{digits}g} in {steps} steps."


def developed(spectrum: Tensor, side: int) -> Tensor:
    """A spectrum, 1 C S S/2+1 2, as values in [0, 1], 1 C S S: each frequency falls as 1/f, as in photos."""
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    frequency = (down**2 + across**2).sqrt().clamp_min(1 / side).to(spectrum.device)
    value = torch.fft.irfft2(torch.view_as_complex(spectrum) * side / frequency / 4, s=(side, side), norm="backward")
    if value.shape[1] == 3:
        colours = (AXES * DEVIATIONS[:, None] / DEVIATIONS[0]).to(value.device)
        value = torch.einsum("nkhw,kc->nchw", value, colours)
    return value.sigmoid()


def far_from_grey(value: Tensor) -> Tensor:
    """The mean squared distance from 0.5."""
    return ((value - 0.5) ** 2).mean()


def total_variation(value: Tensor) -> Tensor:
    """The mean distance between neighbours, across and down (Rudin, Osher & Fatemi 1992). N C H W -> a number."""
    return (value.diff(dim=2).abs().mean() + value.diff(dim=3).abs().mean()) / 2


def class_score(subject: Subject, image: Tensor, target: int) -> Tensor:
    """The score as the head gives it: before a rectifier behind the head, which is 0 for most classes in noise."""
    gave: list[Tensor] = []
    staged = next((layer for layer in subject.network.modules() if isinstance(layer, Staged)), None)
    if isinstance(staged, nn.Module):
        head = staged.get_submodule(str(staged.head_name))

        def hook(layer: nn.Module, given: Any, output: Tensor) -> None:
            gave.append(output)

        handle = head.register_forward_hook(hook)
        try:
            scores = subject.scores(image)
        finally:
            handle.remove()
    else:
        scores = subject.scores(image)
    if gave and gave[0].dim() == 4 and gave[0].shape[1] == scores.shape[1]:
        scores = gave[0].mean((2, 3))
    return scores[0, target]


def _of_channel(maps: list[Tensor], stage: int, channel: int) -> Tensor:
    if not -len(maps) <= stage < len(maps):
        fix = f"give stage=0 to stage={len(maps) - 1}, or -1 for the last"
        raise NetwrightError(f"this network has {len(maps)} stages, and no stage {stage}", fix)
    map_ = maps[stage]
    if channel >= map_.shape[1]:
        fix = f"give channel=0 to channel={map_.shape[1] - 1}"
        raise NetwrightError(f"stage {stage} has {map_.shape[1]} channels, and no channel {channel}", fix)
    return map_[:, channel].mean()
