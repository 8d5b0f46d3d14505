"""The study of autoencoders: principal components, few labels, arms, statistics, and a small study from end to end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.data import Data, from_arrays
from netwright.data.preprocess import Preprocess
from netwright.lab.few_labels import drawn, few_labels
from netwright.lab.probe import Way
from netwright.lab.reduction import components
from netwright.lab.studies import STUDIES
from netwright.lab.studies._autoencoders_arms import CORRUPTIONS, PIXELS, PLAIN, Arm, arms_of, body_for, denoiser
from netwright.lab.studies._autoencoders_kept import Kept
from netwright.lab.studies._autoencoders_measure import (
    CLEAN,
    Answers,
    Bench,
    Codes,
    Measured,
    Projection,
    as_they_are,
    measured,
    probed,
    sparseness,
)
from netwright.lab.studies._autoencoders_values import Results, at_most, less_error, mean_error, resolved
from netwright.lab.studies._autoencoders_words import said
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._study import Setting
from netwright.lab.studies.autoencoders import Autoencoders, Studied
from netwright.lab.trial import Trials
from netwright.models import check_model
from netwright.recipes._recipe import Recipe, recipe
from netwright.report.study_figures import figures, pictures, sheet

Floats = NDArray[np.float64]
TEST = 60
ARMS = arms_of("mlp_autoencoder(hidden=(16,))", (2, 4), 0.25)


@pytest.fixture
def protocol() -> Recipe:
    body = "mlp_autoencoder(hidden=(8,))"
    return recipe("autoencoders", model=body, epochs=1, batch_size="auto", device="cpu", threads=1)


def tiny() -> Data:
    """Two kinds of pictures of 8x8 pixels, 84 to learn from where 12 are held out."""
    draw = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = (draw.integers(0, 100, (120, 8, 8, 1)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    return from_arrays(train=(images[:96], labels[:96]), test=(images[96:], labels[96:]))


def setting(protocol: Recipe, folder: Path, told: list[str] | None = None) -> Setting:
    heard: list[str] = [] if told is None else told
    return Setting(protocol, tiny(), Trials(folder / "trials"), Networks(folder / "trials"), heard.append)


def foretold(self: Studied, left: int, on: Bench) -> None:
    """Instead of a training that only says how long others will take."""
    self.setting.told(f"{left} left")


def without_seconds(found: dict[str, Any]) -> dict[str, Any]:
    """What two studies of the same have in common."""
    cut = {arm: {k: v for k, v in one.items() if k != "seconds"} for arm, one in found["measured"].items()}
    return found | {"measured": cut}


def planted(seeds: int = 3) -> Results:
    """Every denoiser leaves half of the plain one's error on its own kind; its codes are right 10 points more often."""
    by_arm: dict[str, list[Measured]] = {arm.name: [] for arm in ARMS}
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        base: Floats = 0.02 + 0.005 * draw.random(TEST)
        for arm in ARMS:
            worse = 2.0 if arm.name == PIXELS else 1.0
            seen = {kind: base * (0.5 if arm.own == kind else worse) for kind in CORRUPTIONS}
            right = (np.arange(TEST) < (0.6 + 0.3 * (arm.group == "denoising")) * TEST).astype(float)
            errors = {} if arm.name == "encoder as drawn" else {CLEAN: base / 4, **seen}
            codes = {"active": 3.0, "dead": 1.0, "zeros": 0.25, "sparseness": 0.5} if arm.model else {}
            by_arm[arm.name].append(Measured(errors, codes, {}, 1.0, probes={20: Answers(right, edge=seed == 0)}))
    return Results(ARMS, by_arm)


@pytest.mark.parametrize(("n", "wide"), [(60, 12), (20, 40)])
def test_components_are_those_of_scikit_learn(n: int, wide: int) -> None:
    """From covariances where vectors are short, from inner products where they are long: float32 agrees to 1e-4."""
    vectors = np.random.default_rng(0).normal(size=(n, wide)) @ np.diag(np.linspace(3, 0.5, wide))
    ours, theirs = components(vectors.astype(np.float32), 5), PCA(5, svd_solver="full").fit(vectors)
    assert np.abs(np.abs(np.sum(ours.axes * np.asarray(theirs.components_), 1)) - 1).max() < 1e-4
    assert np.allclose(ours.shares, theirs.explained_variance_ratio_, atol=1e-5)
    back = theirs.inverse_transform(theirs.transform(vectors))
    assert np.abs(ours.back(ours.codes(vectors)) - back).max() < 1e-3
    assert np.array_equal(ours.first(2).axes, ours.axes[:2])
    assert (np.take_along_axis(ours.axes, np.abs(ours.axes).argmax(1)[:, None], 1) > 0).all()


def test_components_that_there_are_not_are_refused() -> None:
    with pytest.raises(NetwrightError, match="no 5 principal components") as error:
        components(np.zeros((5, 9), np.float32), 5)
    assert "from 1 to 4" in str(error.value)
    flat = components(np.ones((6, 9), np.float32), 2)
    assert np.isfinite(flat.axes).all() and not flat.shares.any()


def test_labels_are_drawn_as_many_of_each_class_and_nested() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 300)
    few, more = drawn(labels, 20, 7), drawn(labels, 53, 7)
    assert np.bincount(labels[few]).tolist() == [4] * 5
    assert sorted(np.bincount(labels[more]).tolist()) == [10, 10, 11, 11, 11]
    assert set(few) <= set(more) and len(set(more)) == 53
    assert not np.array_equal(few, drawn(labels, 20, 8))
    assert np.array_equal(drawn(labels, 300, 0), np.arange(300))
    rare = np.array([0] * 3 + [1] * 40)
    assert np.bincount(rare[drawn(rare, 20, 0)]).tolist() == [3, 17], "all of a class that has fewer"
    for many in (9, 301):
        with pytest.raises(NetwrightError, match="from 10 to 300"):
            drawn(labels, many, 0)


def test_a_probe_with_few_labels_finds_what_is_linear() -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(240) % 4
    vectors = (np.eye(4)[labels] * 6 + draw.normal(size=(240, 4))).astype(np.float32)
    assert few_labels(vectors[:20], labels[:20], vectors[20:], labels[20:]).right.mean() > 0.95
    noise = draw.normal(size=(240, 4))
    assert few_labels(noise[:20], labels[:20], noise[20:], labels[20:]).right.mean() < 0.4
    with pytest.raises(NetwrightError, match="single training picture"):
        few_labels(vectors[:5], labels[:5], vectors[20:], labels[20:])


def test_a_probe_with_few_labels_does_not_care_how_vectors_are_turned_or_scaled_as_a_whole() -> None:
    """Each number by its own deviation would, and would make faint axes of noise as loud as what tells classes."""
    draw = np.random.default_rng(0)
    labels = np.arange(260) % 2
    vectors = 0.05 * draw.normal(size=(260, 40))
    vectors[:, 0] += 2 * labels - 1
    turned = 7 * vectors @ np.linalg.qr(draw.normal(size=(40, 40)))[0] + 3
    plain, other = (few_labels(each[:20], labels[:20], each[20:], labels[20:]) for each in (vectors, turned))
    assert plain.right.mean() == 1.0 and np.array_equal(plain.right, other.right) and plain.c == other.c


def test_sparseness_is_hoyers() -> None:
    one, alike = np.eye(9)[:3], np.array([[1.0, -1.0] * 4 + [1.0]])
    assert sparseness(one) == pytest.approx(1.0) and sparseness(alike) == pytest.approx(0.0)
    assert sparseness(np.zeros((2, 9))) == 0.0 and sparseness(np.ones((3, 1))) == 0.0
    assert sparseness(np.array([[3.0, 4.0, 0, 0]])) == pytest.approx((2 - 7 / 5) / (2 - 1))


def test_arms_are_what_the_question_names() -> None:
    names = [arm.name for arm in ARMS]
    assert len(names) == len(set(names)) == 1 + 2 + 1 + 1 + 4 + 3 + 2
    assert sum(arm.trains for arm in ARMS) == 10
    for arm in ARMS:
        if arm.model:
            check_model(arm.model, "reconstruction")
            assert Spec.parse(arm.model).options["latent"] == arm.latent
    vae = next(arm for arm in ARMS if arm.name == "VAE 2")
    assert Spec.parse(vae.model).options["encoder"] == "mlp(widths=(16,))"
    dark = arms_of("mlp_autoencoder(observation='bernoulli', activation='gelu', tied=False)", (3,), 0.1)
    assert Spec.parse(dark[-1].model).options == {
        "encoder": "mlp(activation='gelu', widths=(512, 256))",
        "latent": 3,
        "activation": "gelu",
        "observation": "bernoulli",
    }
    deep = arms_of("autoencoder(encoder='resnet18', width=8, upsample='bilinear')", (3,), 0.1)
    assert Spec.parse(deep[-1].model).options == {
        "encoder": "resnet18",
        "latent": 3,
        "width": 8,
        "upsample": "bilinear",
    }
    assert body_for(Preprocess(28, 28, channels=1, mean=(0.5,), std=(0.5,))).startswith("mlp_autoencoder")
    for side, encoder in ((64, "resnet20"), (96, "resnet18")):
        assert encoder in body_for(Preprocess(side, side, mean=(0.5,) * 3, std=(0.5,) * 3))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("resnet18", "autoencoder to study"),
        ("mlp_autoencoder(latent=4)", "how long codes are"),
        ("mlp_autoencoder(tied=True)", "no tied weights"),
    ],
)
def test_bodies_that_the_study_cannot_compare_are_refused(body: str, problem: str) -> None:
    with pytest.raises(NetwrightError, match=problem):
        arms_of(body, (2,), 0.25)


def test_options_are_checked() -> None:
    for text in (
        "autoencoders(latent=())",
        "autoencoders(labels=(50, 50))",
        "autoencoders(amount=2)",
        "autoencoders(tested=3)",
    ):
        with pytest.raises(NetwrightError):
            STUDIES.build(Spec.parse(text))
    assert STUDIES.build(Spec.parse("autoencoders(labels=())")).labels == ()


def test_controls_measure_what_they_say() -> None:
    """Doing nothing leaves the corruption's own error; a projection on all directions gives everything back."""
    draw = torch.Generator().manual_seed(0)
    clean = torch.rand((40, 1, 3, 3), generator=draw)
    noisy = {"mask": clean * (torch.rand(clean.shape, generator=draw) > 0.5)}
    labels = np.arange(40) % 2
    on = Bench(clean, noisy, labels, clean[:8], labels[:8], np.arange(8) * 2, {8: np.arange(8), 4: np.arange(4)})
    nothing = measured(as_they_are, on, 0.0)
    assert nothing.errors["mask"] == pytest.approx(((noisy["mask"] - clean) ** 2).mean((1, 2, 3)).numpy(), rel=1e-5)
    assert nothing.vectors is not None and not nothing.errors[CLEAN].any()
    assert probed(nothing.vectors, on, 8).right.shape == (40,)
    more = Codes(np.repeat(nothing.vectors.few, 2, 0), np.arange(16), nothing.vectors.asked)
    assert np.array_equal(probed(more, on, 4).right, probed(nothing.vectors, on, 4).right), "rows by their places"
    whole = measured(Projection(components(clean.flatten(1).numpy(), 9)), on, 0.0)
    assert whole.errors[CLEAN].max() < 1e-10  # float32 squared
    some = measured(Projection(components(clean.flatten(1).numpy(), 3)), on, 0.0)
    assert some.errors[CLEAN].mean() > 1e-3 and some.shown[CLEAN].shape == (2, 3, 3, 1)


def test_what_was_measured_is_kept_and_a_broken_file_is_not_believed(tmp_path: Path, protocol: Recipe) -> None:
    one = replace(planted(1).by_arm[PLAIN][0], used={"threads": 1})
    kept = Kept(tmp_path, "something")
    assert kept("arm", protocol, lambda: one) is one
    again = kept("arm", protocol, lambda: pytest.fail("made twice"))
    assert again.codes == one.codes and again.used == one.used == {"threads": 1}
    answers = kept.answers("arm", protocol, 20, lambda: one.probes[20])
    known = kept.answers("arm", protocol, 20, lambda: pytest.fail("asked twice"))
    assert np.array_equal(known.right, answers.right) and known.edge is answers.edge is True
    assert again.errors[CLEAN] == pytest.approx(one.errors[CLEAN], rel=1e-6)
    assert kept.place("arm", protocol) != kept.place("other", protocol) != Kept(tmp_path, "").place("other", protocol)
    kept.place("arm", protocol).write_bytes(b"PK\x03\x04 broken")
    assert kept("arm", protocol, lambda: one) is one


def test_differences_are_paired() -> None:
    """A thousandth less on every picture is resolved beside pictures that differ thirty times as much."""
    errors = 0.03 + 0.03 * np.random.default_rng(0).random((3, TEST))
    less = less_error(errors - 0.001, errors)
    assert resolved(less) and less.value == pytest.approx(-0.001) and at_most(less) < 0.0011
    own = mean_error(errors)
    assert own.high - own.low > 0.004
    assert resolved(less_error(errors[:1] - 0.001, errors[:1])), "of one seed, for other pictures"
    noise = errors + 0.01 * np.random.default_rng(1).normal(size=errors.shape)
    assert not resolved(less_error(noise, errors))


def test_what_is_planted_is_said() -> None:
    results = planted()
    words = said(results, (20,))
    for kind in CORRUPTIONS:
        assert any(line.startswith(f"{kind.replace('_', ' ')}:") and "leaves 50 %" in line for line in words)
    assert all("clearly less than the best of the" in line for line in words[:4])
    assert any("14 of 42 probes" in line for line in words), "those of the first of three seeds"
    probe = next(line for line in words if line.startswith("Probe with 20 labels"))
    better = probe[probe.index("clearly better") : probe.index("clearly worse")]
    assert all(denoiser(kind) in better for kind in CORRUPTIONS) and "sparse" not in better
    assert "no difference larger than" in probe and "sparse l1" in probe
    assert "better than doing nothing on gaussian, salt and pepper, mask" in words[4]


def test_what_mends_best_may_have_learnt_nothing() -> None:
    for name, who in (("PCA 4", "PCA 4"), (PIXELS, "doing nothing")):
        results = planted()
        for one in results.by_arm[name]:
            one.errors["mask"][:] = one.errors["mask"] / 10
        words = next(line for line in said(results, ()) if line.startswith("mask:"))
        assert f"{who}, the best of the" in words and "clearly less still" in words


def test_a_difference_that_nobody_can_tell_is_no_victory() -> None:
    results = planted()
    name, draw = denoiser("mask"), np.random.default_rng(5)
    for one, near in zip(results.by_arm[name], results.by_arm["VAE 4"], strict=True):
        near.errors["mask"][:] = one.errors["mask"] * (1 + 0.2 * draw.normal(size=TEST))
    words = next(line for line in said(results, ()) if line.startswith("mask:"))
    assert "whether VAE 4, the best of the 12 others, is better or worse is not resolved" in words


def test_one_seed_speaks_for_one_training() -> None:
    assert said(planted(1), ())[0].startswith("All that follows is said for this training")
    assert not any("this training" in line for line in said(planted(2), ()))


def test_networks_that_are_behind_algebra_are_told_without_a_cause() -> None:
    results = planted()
    for one in results.by_arm["PCA 4"]:
        one.errors[CLEAN][:] = one.errors[CLEAN] / 2
    first = said(results, ())[0]
    assert first.startswith("The plain autoencoder gives clean pictures back worse than PCA 4") and "Why, this" in first
    assert not said(planted(), ())[0].startswith("The plain")


def test_a_study_from_end_to_end_and_again(tmp_path: Path, protocol: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds; nothing is trained twice; what was lost is made again, and nothing else; parts make one study."""
    made: list[tuple[str, int]] = []
    once = Studied._measured  # pyright: ignore[reportPrivateUsage]

    def counted(self: Studied, arm: Arm, seed: int) -> Measured:
        made.append((arm.name, seed))
        return once(self, arm, seed)

    monkeypatch.setattr(Studied, "_measured", counted)
    monkeypatch.setattr(Studied, "_foretell", foretold)
    monkeypatch.setattr("netwright.lab.few_labels.WAY", Way((0.01, 1.0), common=True))
    threads = torch.get_num_threads()

    def run(spec: str, told: list[str]) -> dict[str, Any]:
        made.clear()
        return STUDIES.build(Spec.parse(spec))(setting(protocol, tmp_path, told))

    whole = "autoencoders(seeds=2, tested=20, latent=(2,), labels=(20,))"
    run(whole.replace("seeds=2", "seeds=1, first=1"), [])
    assert {seed for _, seed in made} == {1}, "a part of it"
    told: list[str] = []
    first = run(whole, told)
    assert told[0] == "9 left" and told[1].startswith("1 of 24: raw pixels, seed 0") and len(told) == 25
    assert {seed for _, seed in made} == {0} and len(made) == 12
    assert torch.get_num_threads() == threads
    assert first["protocol"]["batch_size"] == 16 and first["protocol"]["threads"] == 1
    assert first["protocol"]["image_size"] == 8 and first["protocol"]["precision"] == "fp32"
    assert first["options"]["amount"] == 0.25 and first["pictures"] == {"train": 84, "test": 20}
    assert run(whole, told) == first and not made
    for path in sorted((tmp_path / "trials").iterdir())[:8]:
        path.unlink()
    again = run(whole, told)
    assert without_seconds(again) == without_seconds(first) and 0 < len(made) <= 8
    more = run(whole.replace("labels=(20,)", "labels=(40, 20)").replace("seeds=2", "seeds=1"), told)
    assert not made, "other labels want no other training"
    by_seed = [each["measured"][PLAIN]["probe"]["20"]["by_seed"] for each in (more, first)]
    assert by_seed[0] == by_seed[1][:1]
    _shown(more, tmp_path)


def _shown(found: dict[str, Any], folder: Path) -> None:
    assert all(len(table["heads"]) == len(row) for table in found["tables"] for row in table["rows"])
    assert [len(table["rows"]) for table in found["tables"]] == [10, 11, 10, 12]
    json.dumps(found, allow_nan=False)
    assert set(pictures(found)) == {"denoising.png", "probe.png"} and "<svg" in figures(found)
    assert "data:image/png" in str(sheet(found, folder)) and sheet({}, folder) is None
    held = found["measured"]["denoising mask"]
    assert set(held["mse"]) == {CLEAN, *CORRUPTIONS} and held["own"] == "mask" and set(held["probe"]) == {"20", "40"}


def test_batch_sizes_that_follow_from_the_pictures_are_in_keys(tmp_path: Path, protocol: Recipe) -> None:
    study = Autoencoders(seeds=1, latent=(2,), labels=(), tested=20)
    auto, named = (Studied(study, setting(each, tmp_path)) for each in (protocol, protocol.changed(batch_size=16)))
    assert auto.recipe(auto.arms[-1], 0).key == named.recipe(named.arms[-1], 0).key
    for open_ in (protocol.changed(batch_size="largest"), protocol.changed(lr="find")):
        with pytest.raises(NetwrightError, match="of its own"):
            Studied(study, setting(open_, tmp_path))


def test_too_little_is_refused_before_anything_is_trained(
    tmp_path: Path, protocol: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*given: Any) -> None:
        pytest.fail("trained")

    monkeypatch.setattr(Studied, "_foretell", trained)
    with pytest.raises(NetwrightError, match="500 labels cannot be drawn from 50"):
        Autoencoders(seeds=1, limit=50, labels=(500,), tested=20)(setting(protocol, tmp_path))
    whole = setting(protocol, tmp_path)
    whole.data.splits["test"] = whole.data.splits["test"].taken(np.arange(5))
    with pytest.raises(NetwrightError, match="5 test pictures are too few"):
        Autoencoders()(whole)


def test_how_long_it_takes_is_told_first(tmp_path: Path, protocol: Recipe) -> None:
    told: list[str] = []
    studied = Studied(Autoencoders(seeds=1, latent=(2,), labels=(20,), tested=20), setting(protocol, tmp_path, told))
    on = studied._bench(0)  # pyright: ignore[reportPrivateUsage]
    studied._foretell(9, on)  # pyright: ignore[reportPrivateUsage]
    studied._foretell(0, on)  # pyright: ignore[reportPrivateUsage]
    assert told[0].startswith("9 trainings of 1 epochs on 84 pictures: about ") and told[1].startswith("everything is")
