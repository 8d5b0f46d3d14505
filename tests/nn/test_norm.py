"""Norms of parts of a batch and of channels: against torch's own, part by part."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.nn.batch_channel_norm import BatchChannelNorm2d
from netwright.nn.ghost_batch_norm import GhostBatchNorm2d


def maps(n: int) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, 5, 5, generator=draw) * torch.rand(n, 6, 1, 1, generator=draw) + 2


@pytest.mark.parametrize(("n", "size", "parts"), [(8, 4, 2), (11, 4, 2), (12, 4, 3), (3, 4, 1), (4, 4, 1)])
def test_every_part_has_its_own_statistics(n: int, size: int, parts: int) -> None:
    x = maps(n)
    norm = GhostBatchNorm2d(6, size)
    wanted, plain = [], nn.BatchNorm2d(6)
    for part in x.tensor_split(parts):
        mean, variance = part.mean((0, 2, 3), keepdim=True), part.var((0, 2, 3), correction=0, keepdim=True)
        wanted.append((part - mean) / (variance + 1e-5).sqrt())
        plain(part)  # running statistics take in part after part
    torch.testing.assert_close(norm(x), torch.cat(wanted), rtol=0, atol=1e-5)
    assert torch.equal(norm.running_mean, plain.running_mean)
    assert torch.equal(norm.running_var, plain.running_var)
    torch.testing.assert_close(norm.eval()(x), plain.eval()(x), rtol=0, atol=0)


def test_a_gradient_passes_through_the_statistics_of_its_part_alone() -> None:
    x = maps(8).requires_grad_()
    GhostBatchNorm2d(6, 4)(x)[:4].square().sum().backward()
    assert x.grad[:4].any()
    assert not x.grad[4:].any()


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_batch_then_channel(groups: int) -> None:
    x = maps(8)
    norm = BatchChannelNorm2d(6, groups)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.uniform_(0.5, 2)
    first = F.batch_norm(x, None, None, norm.batch.weight, norm.batch.bias, training=True)
    cells = first.view(8, groups, -1)
    centred = (cells - cells.mean(2, keepdim=True)) / (cells.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    wanted = centred.view_as(x) * norm.channel.weight.view(-1, 1, 1) + norm.channel.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(x), wanted, rtol=0, atol=1e-5)
