"""How much memory tensors take while something is computed: counted, so the same on every machine."""

import weakref
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made between `with` and its end, for as long as they live.

    What operations take for themselves while they run is not seen.

    Attributes:
        now: bytes alive.
        peak: the most that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._users: dict[int, set[int]] = {}  # of each storage: the tensors that look at it

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nobody compiles this, and keeping the compiler out imports it, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made."""
        before = {tensor.untyped_storage()._cdata for tensor in tensors_of(args)}
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_of(result):
            storage = tensor.untyped_storage()
            if storage._cdata in self._users or storage._cdata not in before:
                self._count(tensor, storage._cdata, storage.nbytes())
        return result

    def _count(self, tensor: Tensor, key: int, size: int) -> None:
        if key not in self._users:
            self._users[key] = set()
            self.now += size
            self.peak = max(self.peak, self.now)
        if id(tensor) not in self._users[key]:
            self._users[key].add(id(tensor))
            weakref.finalize(tensor, self._gone, id(tensor), key, size).atexit = False

    def _gone(self, tensor: int, key: int, size: int) -> None:
        self._users[key].discard(tensor)
        if not self._users[key]:
            del self._users[key]
            self.now -= size


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Those in nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_of(part)
