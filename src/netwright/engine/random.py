"""Counter-based randomness: every draw is a pure function of its key and counter, so nothing needs saving.

Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011); the mixing function is SplitMix64,
Steele, Lea & Flood, Fast splittable pseudorandom number generators (OOPSLA 2014).
"""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

# The constants of SplitMix64 as signed 64-bit integers, which is what tensors multiply with.
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
SECOND = 0x94D049BB133111EB - (1 << 64)


def key(*parts: str | int) -> int:
    """A signed 64-bit key from words and numbers, the same on every machine."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def bits(stream: int, counter: Tensor) -> Tensor:
    """64 random bits for each counter: the counter-th number of a SplitMix64 stream. Shape as `counter`."""
    return _mix(counter * GOLDEN + stream)


def uniform(stream: int, ids: Tensor, n: int = 1) -> Tensor:
    """`n` numbers in [0, 1) for each id. Shape: N -> N n, float32; on the device of `ids`."""
    slots = torch.arange(1, n + 1, device=ids.device) * GOLDEN
    return _shift(_mix(bits(stream, ids)[:, None] + slots), 40).float() * 2.0**-24


def normal(stream: int, ids: Tensor, n: int) -> Tensor:
    """`n` standard normal numbers for each id, by Box and Muller's transform. Shape: N -> N n, float32."""
    pairs = (n + 1) // 2
    draws = uniform(stream, ids, 2 * pairs)
    radius = (-2.0 * torch.log1p(-draws[:, :pairs])).sqrt()
    angle = (2.0 * math.pi) * draws[:, pairs:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :n]


def generator(*parts: str | int) -> np.random.Generator:
    """A NumPy generator over the counter-based Philox, for distributions that have no short formula."""
    return np.random.Generator(np.random.Philox(key=key(*parts) & ((1 << 64) - 1)))


def _shift(x: Tensor, places: int) -> Tensor:
    """Logical shift right; tensors only have the arithmetic one."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * FIRST
    x = (x ^ _shift(x, 27)) * SECOND
    return x ^ _shift(x, 31)
