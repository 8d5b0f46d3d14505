"""Learning without forgetting: its loss against the formula written out, and its gradient where nothing has changed."""

import torch
from torch import Tensor, nn

from netwright.lab.studies._distilled import Careful, Distilled, distillation


class Scores(nn.Module):
    """Gives what it was made of, whatever the picture."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def forward(self, x: Tensor) -> Tensor:
        """N K."""
        return self.scores


def drawn(n: int, k: int, seed: int) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGE, LABEL = torch.zeros(6, 1, 4, 4), torch.tensor([3, 4, 3, 4, 4, 3])


def test_the_loss_is_the_formula() -> None:
    teacher, output, temperature, weight = drawn(6, 3, 0), drawn(6, 5, 1), 2.0, 0.7
    for first in (0, 3):
        task = Distilled(5, first, teacher=Scores(teacher), temperature=temperature, weight=weight)
        target = task.batch(IMAGE, LABEL)
        assert target.shape == (6, 8)
        new = nn.functional.cross_entropy(output[:, first:], LABEL - first)
        p, q = (teacher / temperature).softmax(1), (output[:, :3] / temperature).softmax(1)
        old = (p * (p / q).log()).sum(1).mean()
        wanted = new + weight * temperature**2 * old
        torch.testing.assert_close(task.loss(output, target).double(), wanted, rtol=1e-5, atol=1e-6)  # float32


def test_a_network_like_its_teacher_is_left_alone() -> None:
    scores = drawn(6, 3, 2).float()
    output = scores.clone().requires_grad_()
    distillation(output, (scores / 2).softmax(1), 2.0).backward()
    assert output.grad is not None
    assert output.grad.abs().max() <= 4 * 3 * torch.finfo(torch.float32).eps  # T² times the rounding of 3 terms
    changed = (scores + drawn(6, 3, 3)).float().requires_grad_()
    distillation(changed, (scores / 2).softmax(1), 2.0).backward()
    assert changed.grad is not None and changed.grad.abs().max() > 0.01


def test_distillation_is_zero_only_there_and_never_less() -> None:
    scores = drawn(50, 4, 4)
    same = distillation(scores, (scores / 2).softmax(1).float(), 2.0)
    assert abs(float(same)) < 1e-5
    assert distillation(drawn(50, 4, 5), (scores / 2).softmax(1).float(), 2.0) > 0.1


def test_a_teacher_that_is_sure_gives_no_nan() -> None:
    soft = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert distillation(torch.tensor([[30.0, -30.0], [0.0, 5.0]]), soft, 2.0).isfinite()


def test_older_scores_take_no_part_where_only_new_classes_compete() -> None:
    output = drawn(6, 5, 6).float().requires_grad_()
    task = Careful(5, 3)
    task.loss(output, task.batch(IMAGE, LABEL)).backward()
    assert output.grad is not None
    assert not output.grad[:, :3].any() and output.grad[:, 3:].any()


def test_metrics_are_over_all_classes() -> None:
    output = torch.eye(5)[[0, 4, 3, 4, 4, 3]] * 5
    for task in (Careful(5, 3), Distilled(5, 3, teacher=Scores(torch.zeros(6, 3)))):
        found = task.metrics(output, LABEL)
        assert found["accuracy"].tolist() == [0, 1, 1, 1, 1, 1]
        wanted = nn.functional.cross_entropy(output, LABEL, reduction="none")
        torch.testing.assert_close(found["loss"], wanted)
