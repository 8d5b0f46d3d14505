"""Sounds as tensors of samples from -1 to 1, time last: read from files, resampled, cut to a length."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.io import wavfile
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.data.extras import optional
from netwright.engine.random import generator


def read_wave(path: str | Path, *, rate: int | None = None) -> tuple[Tensor, int]:
    """A sound file as samples, C T, and their number a second.

    WAV needs nothing; everything else that libsndfile knows (FLAC, MP3, OGG, …) needs soundfile.

    Args:
        path: of the file.
        rate: what to resample to; by default the file's own.

    Raises:
        NetwrightError: it cannot be read, or soundfile is missing.
    """
    path = Path(path)
    try:
        samples, own = _read_wav(path) if path.suffix.lower() == ".wav" else _read_other(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise NetwrightError(
            f"{path} cannot be read as sound ({error})", "check the path, or convert the file to 16-bit WAV"
        ) from None
    wave = torch.from_numpy(np.ascontiguousarray(np.atleast_2d(samples.T)))
    return (wave, own) if rate in (None, own) else (resample(wave, round(wave.shape[-1] * rate / own)), rate)


def resample(wave: Tensor, length: int) -> Tensor:
    """The same sound in another number of samples, cut off at the lower Nyquist frequency. Shape: … T -> … length."""
    spectrum = torch.fft.rfft(wave.double())
    return (torch.fft.irfft(spectrum, n=length) * (length / wave.shape[-1])).to(wave.dtype)


def cut(wave: Tensor, length: int, *, seed: int = 0) -> Tensor:
    """A stretch of a sound from anywhere in it; shorter sounds stay as they are. Shape: … T -> … length."""
    last = max(0, wave.shape[-1] - length)
    start = int(generator("cut", seed).integers(last + 1))
    return wave[..., start : start + length]


def one_channel(wave: Any) -> Tensor:
    """A sound from Python as one channel of floats: T or C T -> T.

    Raises:
        NetwrightError: whole numbers, whose scale nobody knows, no samples, another shape, or NaN.
    """
    wave = torch.as_tensor(wave)
    if not wave.is_floating_point():
        raise NetwrightError(f"a sound has samples of type {wave.dtype}", "divide 16-bit samples by 32768.0")
    if wave.dim() not in (1, 2) or not wave.numel():
        raise NetwrightError(f"a sound has shape {tuple(wave.shape)}", "give samples, or channels and samples: C T")
    if not wave.isfinite().all():
        raise NetwrightError("a sound has samples that are NaN or infinite", "leave it out, or mend its file")
    return wave.float() if wave.dim() == 1 else wave.float().mean(0)


def of_length(wave: Tensor, length: int) -> Tensor:
    """Cut at its end, or with silence after it: T -> length."""
    return F.pad(wave[:length], (0, max(0, length - len(wave))))


def _read_wav(path: Path) -> tuple["np.ndarray[Any, Any]", int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold titles and the like
        rate, samples = wavfile.read(path)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128, rate
    whole = samples.dtype.kind == "i"
    return samples.astype(np.float32) / (-float(np.iinfo(samples.dtype).min) if whole else 1.0), rate


def _read_other(path: Path) -> tuple["np.ndarray[Any, Any]", int]:
    return optional("soundfile", "soundfile", f"reading {path.suffix} files").read(
        path, dtype="float32", always_2d=True
    )
