"""Time and pitch, each without the other, by a phase vocoder (Flanagan & Golden, Bell Syst. Tech. J. 1966)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.data.audio.waves import resample
from netwright.data.changes import Strength, drawn
from netwright.engine.random import generator

WINDOW = 1024


def time_stretch(wave: Tensor, factor: Strength = (0.9, 1.1), *, seed: int = 0, window: int = WINDOW) -> Tensor:
    """The same tones in another time: 1.1 takes 10 % longer. Shape: … T -> … factor T.

    Args:
        wave: the sound.
        factor: of its length, or the least and the greatest.
        seed: decides what is drawn.
        window: of the spectrum in samples; longer ones tell deeper tones apart and blur what is sudden.
    """
    return _stretched(wave, drawn(factor, generator("time_stretch", seed)), window)


def pitch_shift(wave: Tensor, semitones: Strength = (-2.0, 2.0), *, seed: int = 0, window: int = WINDOW) -> Tensor:
    """All frequencies times 2^(semitones / 12), in the same time: stretched, then resampled. Shape: … T -> … T.

    Args:
        wave: the sound.
        semitones: up or, if negative, down; or the lowest and the highest.
        seed: decides what is drawn.
        window: of `time_stretch`.
    """
    factor = 2 ** (drawn(semitones, generator("pitch_shift", seed)) / 12)
    return resample(_stretched(wave, factor, window), wave.shape[-1])


def _stretched(wave: Tensor, factor: float, window: int) -> Tensor:
    length = max(1, round(wave.shape[-1] * factor))
    shape, hop = torch.hann_window(window, dtype=torch.float64, device=wave.device), window // 4
    flat = F.pad(wave.reshape(-1, wave.shape[-1]).double(), (0, window))  # silence to end in
    spectrum = torch.stft(flat, window, hop, window=shape, pad_mode="constant", return_complex=True)
    turned = vocoder(spectrum, factor, hop, frames=math.ceil(length / hop) + 1)
    sound = torch.istft(turned, window, hop, window=shape, length=length)
    return sound.reshape(*wave.shape[:-1], length).to(wave.dtype)


def vocoder(spectrum: Tensor, factor: float, hop: int, *, frames: int) -> Tensor:
    """A spectrum's frames further apart or closer, with phases that lead from each to the next.

    Only loudest bins carry their phase on; those around take theirs from them (Laroche & Dolson, IEEE Transactions on
    Speech and Audio Processing 1999), without which neighbours cancel each other and tones lose a fifth of their power.

    Args:
        spectrum: N bins time, complex, of frames `hop` samples apart.
        factor: how much longer it becomes.
        hop: samples from frame to frame.
        frames: how many to give.
    """
    places = (torch.arange(frames, device=spectrum.device) / factor).clamp(max=spectrum.shape[-1] - 1)
    before = places.long()
    after = (before + 1).clamp(max=spectrum.shape[-1] - 1)
    size, phase = spectrum.abs(), spectrum.angle()
    between = torch.lerp(size[..., before], size[..., after], (places - before).to(size.dtype))
    loudest = nearest_peak(between)
    own = phase[..., before]
    turned = [own[..., 0]]
    for frame, steps in enumerate(_advance(phase[..., before], phase[..., after], hop).unbind(-1)[:-1], 1):
        turn = turned[-1] + steps - own[..., frame]
        turned.append(own[..., frame] + turn.gather(-1, loudest[..., frame]))
    return torch.polar(between, torch.stack(turned, dim=-1))


def nearest_peak(size: Tensor) -> Tensor:
    """For each bin the nearest one that is as loud as the two on each side of it. Shape: N bins time."""
    bins = torch.arange(size.shape[-2], device=size.device)[:, None].expand_as(size)
    around = F.max_pool2d(size, (5, 1), stride=1, padding=(2, 0))
    below = bins.where(size >= around, -2 * size.shape[-2]).cummax(-2).values
    above = bins.where(size >= around, 2 * size.shape[-2]).flip(-2).cummin(-2).values.flip(-2)
    return torch.where(bins - below <= above - bins, below, above)


def _advance(before: Tensor, after: Tensor, hop: int) -> Tensor:
    """How far each bin turns in a hop: as its own frequency does, give or take less than half a turn."""
    bins = torch.arange(before.shape[-2], device=before.device, dtype=before.dtype)
    expected = (math.pi * hop / (len(bins) - 1) * bins)[:, None]
    excess = after - before - expected
    return expected + excess - 2 * math.pi * torch.round(excess / (2 * math.pi))
