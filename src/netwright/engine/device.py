"""What the hardware does best: device, precision, memory format and threads, decided once and said aloud."""

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError

Precision = Literal["fp32", "bf16"]

# mallopt: M_MMAP_MAX, no piece is mapped by itself; M_TRIM_THRESHOLD, little is returned; M_TOP_PAD, much is fetched.
GLIBC = ((-4, 0), (-1, 2**31 - 1), (-2, 2**28))

# Below this many multiply-adds a sample, casting between precisions costs more than it saves (LeNet-5 has 0.4 million).
SMALL_MODEL = 5_000_000


@dataclass(frozen=True)
class Profile:
    """How a run uses its hardware, and why.

    Attributes:
        device: "cpu", "cuda:0", "mps".
        name: the processor's own name.
        precision: in which convolutions and matrix products are computed; weights always stay float32.
        channels_last: whether pictures lie in memory with their channels together.
        threads: CPU threads of one operation.
        why: one sentence for each choice.
    """

    device: torch.device
    name: str
    precision: Precision
    channels_last: bool
    threads: int
    why: tuple[str, ...] = ()

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which networks are called."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def place(self, model: nn.Module) -> nn.Module:
        """A model on the device, in the profile's memory format."""
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if self.channels_last else model

    def layout(self, image: Tensor) -> Tensor:
        """Pictures N C H W in the profile's memory format."""
        return image.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def apply(self) -> None:
        """Set what belongs to the whole process."""
        torch.set_num_threads(self.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.device.type == "cuda":
            # Matrix products in float32 are those of pictures' maps and colours, which are to be exact.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = self.precision != "fp32"

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return {
            "device": str(self.device),
            "name": self.name,
            "precision": self.precision,
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "threads": self.threads,
            "why": list(self.why),
        }


def profile(
    device: str = "auto", precision: str = "auto", *, macs: int | None = None, threads: int | None = None
) -> Profile:
    """Decide how to use this machine.

    Args:
        device: "auto", or a torch device.
        precision: "auto", "fp32" or "bf16".
        macs: multiply-adds of one sample's forward pass, if known; tiny networks stay in float32 on a CPU.
        threads: CPU threads; by default all that this process may use.

    Raises:
        NetwrightError: the device is not there.
    """
    where = _device(device)
    why: list[str] = []
    chosen = _precision(where, precision, macs, why)
    channels_last = where.type != "mps" and not (where.type == "cpu" and chosen == "fp32" and _small(macs))
    if channels_last:
        why.append("channels_last: convolutions read whole pixels")
    return Profile(where, _name(where), chosen, channels_last, threads or _threads(where, macs, why), tuple(why))


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors leave, for the next ones.

    Otherwise glibc hands large pieces back to the system, and every page of the next tensor is zeroed anew: a tenth of
    a ResNet-18 step (bench/memory.py). Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in GLIBC:
            libc.mallopt(parameter, value)


def available_threads() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(where: torch.device, macs: int | None, why: list[str]) -> int:
    if where.type == "cpu" and _small(macs):
        # Two threads are 1.4x faster on a quiet machine, and 50x slower on a busy one, where each waits for the other.
        why.append("1 thread: operations this small would spend their time waiting for each other")
        return 1
    return available_threads()


def _small(macs: int | None) -> bool:
    return macs is not None and macs < SMALL_MODEL


def _device(device: str) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise NetwrightError(f"device '{device}' cannot be used: {reason}", "use --device auto, or cpu") from None
    return chosen


def _precision(where: torch.device, precision: str, macs: int | None, why: list[str]) -> Precision:
    if precision in ("fp32", "bf16"):
        why.append(f"{precision}: asked for")
        return "fp32" if precision == "fp32" else "bf16"
    if where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        why.append("bf16: this GPU has tensor cores for it")
        return "bf16"
    if where.type == "cpu" and _cpu_computes_bf16():
        if _small(macs):
            why.append(f"fp32: {(macs or 0) / 1e6:.1f} M multiply-adds a sample are too few for bf16 to pay")
            return "fp32"
        why.append("bf16: this CPU multiplies it in hardware (AMX or AVX512-BF16)")
        return "bf16"
    why.append("fp32: this device does not multiply bf16 in hardware")
    return "fp32"


def _cpu_computes_bf16() -> bool:
    return bool({"amx_bf16", "avx512_bf16", "bf16"} & _cpu_flags())


def _cpu_flags() -> set[str]:
    """What the processor says it can do; empty where the system does not tell."""
    for line in _cpuinfo():
        if line.lower().startswith(("flags", "features")):
            return set(line.split(":", 1)[1].split())
    return set()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []


def _name(where: torch.device) -> str:
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    named = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
