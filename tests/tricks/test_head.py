"""The head trick: what it puts in the place of a network's own head."""

import torch
from torch import nn

from netwright.models import create_model
from netwright.tricks.head import Head, Power


class TestHead:
    def test_scores_are_linear_in_standardised_powers_of_the_features(self) -> None:
        torch.manual_seed(0)
        headed = Head(norm="batch", power=0.5).model(create_model("resnet20", classes=4))
        x = torch.rand(6, 3, 32, 32)
        headed.backbone.eval()
        with torch.no_grad():
            features = headed.backbone(x)
            roots = features.sign() * features.abs().sqrt()
            standard = (roots - roots.mean(0)) / (roots.var(0, unbiased=False) + headed.head[1].eps).sqrt()
            last = headed.head[-1]
            expected = standard @ last.weight.T + last.bias
            torch.testing.assert_close(headed(x), expected, rtol=1e-4, atol=1e-5)  # float32, 64 terms each

    def test_an_mlp_head_has_a_hidden_layer_dropout_and_standardised_features(self) -> None:
        headed = Head(kind="mlp", hidden=7, norm="batch", dropout=0.5).model(create_model("resnet20", classes=4))
        norm, first, relu, dropout, last = headed.head
        assert (norm.num_features, first.in_features, first.out_features) == (64, 64, 7)
        assert isinstance(relu, nn.ReLU)
        assert (dropout.p, last.in_features, last.out_features) == (0.5, 7, 4)

    def test_a_power_keeps_the_sign_and_has_no_slope_at_zero(self) -> None:
        x = torch.tensor([[-4.0, 0.0, 9.0, 0.25]], requires_grad=True)
        y = Power(0.5)(x)
        assert y.tolist() == [[-2.0, 0.0, 3.0, 0.5]]
        y.sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad, torch.tensor([[0.25, 0.0, 1 / 6, 1.0]]))
