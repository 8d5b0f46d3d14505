"""timm's models behind our protocol."""

from pathlib import Path

import pytest
import timm
import torch

from netwright.core.errors import NetwrightError
from netwright.models import create_model, list_models
from netwright.models._weights import load_weights

NAME = "timm/test_resnet"


def test_it_answers_as_timm_does() -> None:
    torch.manual_seed(0)
    model = create_model(NAME, classes=7).eval()
    reference = timm.create_model("test_resnet", num_classes=7).eval()
    reference.load_state_dict({name.removeprefix("model."): tensor for name, tensor in model.state_dict().items()})
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(model(x), reference(x))
    assert model.get_head() is model.get_submodule("model.fc")


def test_its_stages_halve_and_share_its_weights() -> None:
    model = create_model(NAME).eval()
    before = sum(parameter.numel() for parameter in model.parameters())
    maps = model.stages(torch.rand(2, 3, 64, 64))
    assert [map_.shape[-1] for map_ in maps] == [32, 16, 8, 4, 2]
    assert sum(parameter.numel() for parameter in model.parameters()) == before
    maps[-1].sum().backward()
    assert next(model.parameters()).grad is not None


def test_a_transformer_shows_its_last_map() -> None:
    model = create_model("timm/test_vit", classes=3).eval()
    maps = model.stages(torch.rand(2, 3, 160, 160))
    assert [map_.shape[-1] for map_ in maps] == [10]
    assert model.get_head().weight.shape[0] == 3


def test_options_go_to_timm() -> None:
    model = create_model(f"{NAME}(drop_rate=0.5)", in_channels=1)
    assert model.get_submodule("model").drop_rate == 0.5
    assert model(torch.rand(2, 1, 64, 64)).shape == (2, 10)


@pytest.mark.parametrize("option", ["drop_rat=0.5", "num_classes=3"])
def test_an_option_timm_refuses_is_said(option: str) -> None:
    with pytest.raises(NetwrightError, match="timm refuses test_resnet") as caught:
        create_model(f"{NAME}({option})")
    assert option.split("=")[0] in caught.value.problem


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(NetwrightError, match="unknown model 'timm/test_resnett'") as caught:
        create_model("timm/test_resnett")
    assert "did you mean 'timm/test_resnet'?" in caught.value.fix


def test_names_are_listed() -> None:
    assert list_models("timm/test_resnet*") == ["timm/test_resnet"]
    assert "timm/resnet10t" in list_models("timm/*")
    assert not any(name.startswith("timm/") for name in list_models())


def test_weights_saved_by_timm_and_by_us_both_load(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor = create_model(NAME)
    torch.save(donor.state_dict(), tmp_path / "ours.pt")
    torch.save(donor.get_submodule("model").state_dict(), tmp_path / "timms.pt")
    for file in ("ours.pt", "timms.pt"):
        model = create_model(NAME, classes=3)
        result = load_weights(model, tmp_path / file)
        assert result.missing == ["model.fc.weight", "model.fc.bias"]
        for name in result.loaded:
            assert torch.equal(model.state_dict()[name], donor.state_dict()[name]), name


def test_imagenet_weights_come_through_timms_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    donor = timm.create_model("test_resnet")
    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **kw: donor if kw.get("pretrained") else real(name, **kw))
    model = create_model(NAME, classes=4, weights="imagenet")
    assert torch.equal(model.state_dict()["model.conv1.0.weight"], donor.state_dict()["conv1.0.weight"])
