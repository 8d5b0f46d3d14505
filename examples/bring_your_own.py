"""An existing PyTorch project gains netwright in five lines: run it with `python examples/bring_your_own.py`."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset


class Digits(Dataset):
    """The project's own data: scikit-learn's digits as float tensors, every fourth one held out."""

    def __init__(self, *, held_out: bool) -> None:
        found = load_digits()
        chosen = [i for i in range(len(found.target)) if (i % 4 == 0) == held_out]
        self.images = torch.tensor(found.images[chosen], dtype=torch.float32)[:, None] / 16
        self.targets = found.target[chosen].tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


class Network(nn.Module):
    """The project's own network."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).flatten(1))


if __name__ == "__main__":
    # The five lines. They stand in the place of the training loop, the evaluation and the plots.
    from netwright import fit, recipe

    plan = recipe("digits", epochs=10).without("rotate").with_("crop(pad=1)", "label_smoothing")
    data = (Digits(held_out=False), Digits(held_out=True))
    run = fit(plan, data=data, model=Network())
    print(f"accuracy {run.accuracy:.1%}; look at {run.path / 'report.html'}")
