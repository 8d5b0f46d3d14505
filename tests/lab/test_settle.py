"""Arms of a plan are computed alike, cost what they cost, and are measured on the same pictures."""

from dataclasses import replace

import pytest

from netwright.core.errors import NetwrightError
from netwright.lab.plan import leave_one_out, named_arms
from netwright.lab.preflight import Cost, preflight
from netwright.lab.settle import (
    Known,
    computed_alike,
    equalised,
    known,
    opened,
    plan_key,
    processes_for,
    refuse_other_pictures,
    settled,
    threads_for,
)
from netwright.lab.trial import data_of
from netwright.recipes._assemble import assemble
from netwright.recipes._recipe import recipe

COST = Cost(
    step=0.1,
    picture=0.001,
    steps_an_epoch=10,
    epochs=8,
    overhead=0.5,
    validated=100,
    measured=200,
    memory=2**30,
    precision="fp32",
)


def test_seconds_are_those_of_updates_and_evaluations():
    assert COST.epoch == pytest.approx(10 * 0.1 + 100 * 0.001)
    assert COST.seconds == pytest.approx(0.5 + 8 * 1.1 + 200 * 0.001)
    assert COST.of(16).seconds - COST.seconds == pytest.approx(8 * 1.1)
    assert Cost.from_json(COST.to_json()) == COST


def test_preflight_counts_updates_of_the_whole_data():
    chosen = recipe("digits", epochs=7, threads=1)
    data = data_of(chosen)
    cost = preflight(chosen, data, "test")
    assert cost.steps_an_epoch == len(data.splits["train"]) // 64
    assert (cost.epochs, cost.measured, cost.validated) == (7, len(data.splits["test"]), len(data.splits["val"]))
    assert cost.step > 0
    assert cost.picture > 0
    assert cost.precision == "fp32"


@pytest.mark.parametrize("trick", ["flip", "repeated_augmentation(repeats=4)", "balanced_sampling"])
def test_preflight_counts_updates_as_the_run_makes_them(trick):
    chosen = recipe("digits", epochs=1, threads=1).with_(trick)
    data = data_of(chosen)
    assert preflight(chosen, data, "test").steps_an_epoch == assemble(chosen, data=data).run.loader.steps


def test_what_is_open_is_the_same_in_every_arm():
    plan = leave_one_out(recipe("modern", data="digits"))
    data = opened(plan)
    assert len({id(each) for each in data.values()}) == 1  # opened once
    rows = settled(plan, data).rows
    assert {(arm.recipe.model, arm.recipe.batch_size, arm.recipe.image_size, arm.recipe.channels) for arm in rows} == {
        ("resnet20", 16, 32, 1)
    }


@pytest.mark.parametrize("change", ["batch_size=largest", "lr=find"])
def test_what_would_have_to_be_tried_is_refused(change):
    plan = named_arms(recipe("digits"), f"odd: {change}")
    with pytest.raises(NetwrightError, match="odd leaves the batch size or the learning rate"):
        settled(plan, opened(plan))


def test_other_pictures_are_refused():
    plan = named_arms(recipe("digits"), "without ema")
    data = opened(plan)
    arm = plan.arms[0].name
    test = data[arm].splits["test"]
    other = replace(data[arm], splits=data[arm].splits | {"test": replace(test, ids=test.ids[::-1].copy())})
    refuse_other_pictures(plan, data, "test")
    with pytest.raises(NetwrightError, match="without ema is measured on other pictures"):
        refuse_other_pictures(plan, data | {arm: other}, "test")


def test_equal_time_and_equal_updates():
    plan = named_arms(recipe("digits", epochs=8), ["slow: sam", "large: batch_size=128"])
    costs = {
        plan.baseline.name: COST,
        "slow": replace(COST, step=0.21, picture=0.0),
        "large": replace(COST, steps_an_epoch=5),
    }
    same, kept = equalised(plan, costs, "epochs")
    assert (same, kept) == (plan, costs)
    timed, dearer = equalised(plan, costs, "time")
    # 1.1 s an epoch against 2.1 and 0.6: 8 · 1.1 / 2.1 = 4.2 and 8 · 1.1 / 0.6 = 14.7 epochs
    assert [arm.recipe.epochs for arm in timed.rows] == [8, 4, 15]
    assert [dearer[arm.name].epochs for arm in timed.rows] == [8, 4, 15]
    updated, _ = equalised(plan, costs, "steps")
    assert [arm.recipe.epochs for arm in updated.rows] == [8, 8, 16]


def test_never_less_than_an_epoch():
    plan = named_arms(recipe("digits", epochs=1), "slow: sam")
    costs = {plan.baseline.name: COST, "slow": replace(COST, step=10.0)}
    assert equalised(plan, costs, "time")[0].arms[0].recipe.epochs == 1


def test_arms_are_computed_alike_unless_they_say_otherwise():
    plan = named_arms(recipe("digits", device="cpu"), ["plain: without ema", "coarse: precision=bf16"])
    costs = {arm.name: COST for arm in plan.rows}
    rows = computed_alike(plan, costs, 1).rows
    assert [arm.recipe.precision for arm in rows] == ["fp32", "fp32", "bf16"]
    assert {arm.recipe.threads for arm in rows} == {1}


def test_threads_are_shared_among_processes_unless_the_recipe_says(monkeypatch):
    monkeypatch.setattr("netwright.lab.settle.available_threads", lambda: 16)
    plan = named_arms(recipe("digits"), "without ema")
    assert [threads_for(plan, processes) for processes in (1, 5, 64)] == [16, 3, 1]
    assert threads_for(named_arms(recipe("digits", threads=3), "without ema"), 1) == 3


def test_processes_are_as_many_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr("netwright.lab.settle.available_threads", lambda: 16)
    monkeypatch.setattr("netwright.lab.settle.left", lambda: 10 * 2**30)
    on_cpu = recipe("digits", device="cpu")
    assert processes_for({"a": COST}, on_cpu) == 8  # of 1 GiB each, in four fifths of ten
    assert processes_for({"a": COST}, on_cpu.changed(threads=4)) == 4
    assert processes_for({"a": replace(COST, memory=2**40)}, on_cpu) == 1
    monkeypatch.setattr("netwright.lab.settle.left", lambda: float("inf"))
    assert processes_for({"a": COST}, on_cpu) == 16


def test_what_is_known_is_kept_for_the_same_plan_only(tmp_path):
    plan = named_arms(recipe("digits"), "without ema")
    data = opened(plan)
    file, key = tmp_path / "deep" / "known.json", plan_key(plan, data)
    assert known(file, key) is None
    Known({"without ema": COST}, threads=2).keep(file, key)
    assert known(file, key) == Known({"without ema": COST}, threads=2)
    assert known(file, plan_key(named_arms(recipe("digits", epochs=3), "without ema"), data)) is None
    file.write_text("not json")
    assert known(file, key) is None
