"""A hash of a network's tensors, by which it is known again whatever file it comes from."""

from collections.abc import Mapping
from hashlib import sha256

import torch
from torch import Tensor


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, types and shapes; their order does not matter."""
    found = sha256()
    for name, tensor in sorted(state.items()):
        value = tensor.detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
