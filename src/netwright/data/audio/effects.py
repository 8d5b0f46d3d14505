"""What happens to a sound on its way: noise, a room's echo (Ko et al., ICASSP 2017), a codec. Shapes: … T -> … T."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from netwright.core.errors import NetwrightError, unknown
from netwright.data.changes import Strength, drawn
from netwright.data.extras import optional
from netwright.engine.random import generator

CODECS = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "vorbis": ("OGG", "VORBIS")}
BLOCK = 4096
_MOST = 0.99  # libsndfile refuses 1 for MP3


def add_noise(wave: Tensor, decibels: Strength = (5.0, 30.0), *, noise: Tensor | None = None, seed: int = 0) -> Tensor:
    """Noise at a signal-to-noise ratio: 10 log10 of the two mean squares, the sound's by the noise's.

    Args:
        wave: the sound; silence stays silent.
        decibels: the ratio, or the lowest and the highest.
        noise: one channel of recorded noise, begun at a drawn place and repeated as needed; by default white noise.
        seed: decides what is drawn.

    Raises:
        NetwrightError: the recorded noise is silent.
    """
    draw = generator("add_noise", seed)
    ratio = 10 ** (drawn(decibels, draw) / 10)
    if noise is None:
        added = torch.from_numpy(draw.standard_normal(wave.shape)).to(wave)
    else:
        places = (int(draw.integers(len(noise))) + torch.arange(wave.shape[-1], device=noise.device)) % len(noise)
        added = noise[places].to(wave).expand_as(wave)
    loudness = added.double().square().mean()
    if not loudness:
        raise NetwrightError("the noise to add is silent", "give another recording, or none for white noise")
    return wave + added * (wave.double().square().mean() / (ratio * loudness)).sqrt().to(wave)


def reverberate(wave: Tensor, response: Tensor | Sequence[Tensor], *, seed: int = 0) -> Tensor:
    """The sound as heard in a room: its convolution with the room's impulse response, cut where the sound ends.

    Args:
        wave: the sound.
        response: what an impulse sounds like there, one channel at the rate of the sound; of several, one is drawn.
            `read_wave(path, rate=rate)[0][0]` reads a measured one.
        seed: decides what is drawn.
    """
    if not isinstance(response, Tensor):
        response = response[int(generator("reverberate", seed).integers(len(response)))]
    length = next_fast_len(wave.shape[-1] + len(response) - 1, real=True)
    spectrum = torch.fft.rfft(wave.double(), length) * torch.fft.rfft(response.to(wave.device).double(), length)
    return torch.fft.irfft(spectrum, length)[..., : wave.shape[-1]].to(wave.dtype)


def room_response(rate: int, seconds: float, *, seed: int = 0) -> Tensor:
    """A made-up room of some reverberation time: an impulse, then noise that decays (Polack, 1988). Shape: T.

    Half of its energy, which is 1, comes straight from the source.

    Args:
        rate: samples a second.
        seconds: until the echo has lost 60 dB.
        seed: decides the noise.
    """
    length = max(2, round(rate * seconds))
    times = np.arange(1, length) / length
    echo = generator("room_response", seed).standard_normal(length - 1) * 10 ** (-3 * times)
    response = np.concatenate([[1.0], echo / np.sqrt(np.square(echo).sum())]) / np.sqrt(2)
    return torch.from_numpy(response).float()


def in_a_room(wave: Tensor, rate: int, seconds: Strength = (0.2, 1.0), *, seed: int = 0) -> Tensor:
    """The sound in a made-up room, another one for each seed.

    Args:
        wave: the sound.
        rate: its samples a second.
        seconds: the room's reverberation time, or the shortest and the longest.
        seed: decides what is drawn.
    """
    return reverberate(wave, room_response(rate, drawn(seconds, generator("in_a_room", seed)), seed=seed))


def compress(
    wave: Tensor, rate: int, *, codec: str = "vorbis", strength: Strength = (0.2, 1.0), seed: int = 0
) -> Tensor:
    """The sound after it went through a codec. Needs soundfile.

    Args:
        wave: the sound, T or C T.
        rate: its samples a second.
        codec: mp3, opus or vorbis.
        strength: from 0, the best quality, to 1, the smallest file; or the least and the greatest.
        seed: decides what is drawn.

    Raises:
        NetwrightError: an unknown codec, one that does not know this rate, or soundfile is missing.
    """
    if codec not in CODECS:
        raise unknown("codec", codec, CODECS)
    library = optional("soundfile", "soundfile", "compress")
    level = min(_MOST, drawn(strength, generator("compress", seed)))
    samples = wave.detach().cpu().float().reshape(-1, wave.shape[-1]).T.numpy()
    form, coding = CODECS[codec]
    held = BytesIO()
    options = {"format": form, "subtype": coding, "compression_level": level}
    try:
        with library.SoundFile(held, "w", rate, samples.shape[1], **options) as file:
            for start in range(0, len(samples), BLOCK):  # the Vorbis writer overflows its stack on long pieces
                file.write(samples[start : start + BLOCK])
    except library.LibsndfileError as error:
        fix = "resample to 8000, 16000, 24000 or 48000, or take vorbis"
        raise NetwrightError(f"{codec} does not take {rate} samples a second ({error})", fix) from None
    held.seek(0)
    heard = torch.from_numpy(library.read(held, dtype="float32", always_2d=True)[0].T.copy())
    heard = F.pad(heard, (0, max(0, len(samples) - heard.shape[1])))[:, : len(samples)]
    return heard.reshape(wave.shape).to(wave)
