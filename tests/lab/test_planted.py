"""Arms whose verdict is known beforehand: one that surely harms, and two that do nothing."""

import pytest

from netwright.lab.ablate import Wanted, Where, ablate
from netwright.lab.plan import named_arms
from netwright.recipes._recipe import recipe

ARMS = ["null: mixup(alpha=0)", "tiny: label_smoothing(smoothing=1e-6)", "harmful: mixup(alpha=8)"]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Of eight seeds; one epoch is too short for pictures that are all mixed."""
    plan = named_arms(recipe("digits", epochs=1, lr=0.1, threads=1), ARMS)
    where, output = Where(processes=1), tmp_path_factory.mktemp("planted")
    return {arm["name"]: arm for arm in ablate(plan, Wanted(seeds=8), where=where, output=output)["arms"]}


def test_what_harms_is_found_to_harm(verdicts):
    harmful = verdicts["harmful"]
    assert harmful["verdict"] == "harms"
    assert harmful["interval"][1] < 0
    assert harmful["p"] < 0.05
    assert harmful["same_sign"] == 1


def test_neutral_options_change_nothing_at_all(verdicts):
    null = verdicts["null"]
    assert null["by_seed"] == [0.0] * 8
    assert null["verdict"] == "no difference larger than 1 point"
    assert null["p"] == 1


def test_what_changes_rounding_only_is_not_said_to_act(verdicts):
    tiny = verdicts["tiny"]
    assert tiny["verdict"] in ("no difference larger than 1 point", "not resolved")
    low, high = tiny["interval"]
    assert low < 0 < high
