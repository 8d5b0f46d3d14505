"""How often the lab errs, counted in studies of networks whose truth is known.

A network is right about a picture where what the picture asks, what the arm makes of that picture, the luck of the
seed, and the luck of this seed with this picture add up to more than 0. All arms share the baseline's runs
and the pictures.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import special

from netwright.lab._stat_intervals import pictures_interval, scalar_interval
from netwright.lab._stat_spread import spread
from netwright.lab.compare import _Part, compare, difference_p, holm
from netwright.lab.looks import Spending, kept
from netwright.lab.power import chosen, power

HARD = 1.5


def noise(rounds: int) -> float:
    """Three standard deviations of a share of 5 in 100 that is counted."""
    return 3 * (0.05 * 0.95 / rounds) ** 0.5


@dataclass(frozen=True)
class World:
    """Parts of the log odds, as standard deviations, and how often the baseline is right."""

    pictures: int
    accuracy: float
    own: float  # of an arm on a picture
    seed: float  # of a seed with an arm
    each: float  # of a seed with a picture
    shared: float = 0.05  # of a seed with all arms
    skewed: bool = False

    @property
    def whole(self) -> float:
        return (HARD**2 + self.own**2 + self.each**2 + self.seed**2 + self.shared**2) ** 0.5

    def threshold(self, gain: float = 0.0) -> float:
        return float(special.ndtri(self.accuracy + gain) * self.whole)

    def luck(self, draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if not self.skewed:
            return self.seed * draw.standard_normal(shape)
        return self.seed * (draw.gamma(1.5, size=shape) - 1.5) / 1.5**0.5

    def parts(self, draw: np.random.Generator, arms: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """Of pictures (arms 1 N) and of seeds (arms S 1)."""
        hard = HARD * draw.standard_normal(self.pictures, dtype=np.float32)
        own = self.own * draw.standard_normal((arms, 1, self.pictures), dtype=np.float32)
        lucky = self.shared * draw.standard_normal((1, seeds, 1)) + self.luck(draw, (arms, seeds, 1))
        return hard + own, lucky.astype(np.float32)

    def right(self, draw: np.random.Generator, of_pictures: np.ndarray, of_seeds: np.ndarray) -> np.ndarray:
        shape = (len(of_seeds), of_seeds.shape[1], self.pictures)
        each = self.each * draw.standard_normal(shape, dtype=np.float32)
        return (of_pictures + of_seeds + each > 0).astype(np.float32)

    def differences(self, number: object, seeds: int, effects: int, gain: float = 0.0) -> np.ndarray:
        """Of arms with the baseline; the first is better by `gain`. effects S N."""
        draw = np.random.default_rng(number)
        of_pictures, of_seeds = self.parts(draw, effects + 1, seeds)
        of_pictures += self.threshold()
        of_pictures[1] += self.threshold(gain) - self.threshold()
        runs = self.right(draw, of_pictures, of_seeds)
        return runs[1:] - runs[:1]


SMALL = World(pictures=200, accuracy=0.9, own=0.2, seed=0.03, each=0.4)
MIDDLE = World(pictures=500, accuracy=0.75, own=0.1, seed=0.1, each=0.4)
LARGE = World(pictures=1000, accuracy=0.6, own=0.3, seed=0.06, each=0.5)
SKEWED = World(pictures=500, accuracy=0.75, own=0.1, seed=0.1, each=0.4, skewed=True)
WORLDS = {"small": SMALL, "middle": MIDDLE, "large": LARGE, "skewed": SKEWED}


@pytest.mark.parametrize("seeds", [6, 8, 12])
def test_one_study_in_twenty_at_most_names_an_effect_that_is_not_there(seeds: int) -> None:
    """Six effects, none there."""
    rounds, named = 250, {}
    for place, (name, world) in enumerate(WORLDS.items()):
        named[name] = np.zeros(2)
        for number in range(rounds):
            found = world.differences((1, place, seeds, number), seeds, 6)
            parts = [_Part.of("it", each) for each in found]
            named[name] += [min(holm([part.p(test, 0) for part in parts])) <= 0.05 for test in ("t", "sign_flip")]
        assert (named[name] / rounds <= 0.05 + noise(rounds)).all(), name
    together = sum(named.values()) / (rounds * len(WORLDS))
    assert (together <= 0.05 + noise(rounds * len(WORLDS))).all()


def covered(world: World, seeds: int, rounds: int, gain: float) -> np.ndarray:
    """How often each interval holds what it says it covers: both, seeds, pictures."""
    draw = np.random.default_rng(2)
    lucks = world.shared * draw.standard_normal(20_000) + world.luck(draw, (20_000,))
    thresholds = np.array([world.threshold(), world.threshold(gain)])[:, None, None]
    of_picture = (HARD**2 + world.own**2 + world.each**2) ** 0.5
    means = [special.ndtr((each + lucks) / of_picture).mean() for each in thresholds.ravel()]
    # How often seeds are right about a picture that asks for so much.
    places, quantiles = np.linspace(-9, 9, 400), np.quantile(lucks, (np.arange(200) + 0.5) / 200)
    chances = special.ndtr((places[:, None] + quantiles) / world.each).mean(1)
    held = np.zeros(3)
    for number in range(rounds):
        draw = np.random.default_rng((3, number))
        of_pictures, of_seeds = world.parts(draw, 2, seeds)
        runs = world.right(draw, of_pictures + thresholds.astype(np.float32), of_seeds)
        part = _Part.of("it", runs[1] - runs[0])
        by_seed = np.interp((of_pictures + thresholds)[:, 0], places, chances).mean(1)
        by_picture = special.ndtr((of_seeds + thresholds) / of_picture)[..., 0].mean(1)
        truths = (means[1] - means[0], by_seed[1] - by_seed[0], by_picture[1] - by_picture[0])
        found = (
            part.both(part.p("t", 0)),
            scalar_interval(part.values.mean(1), seed=number),
            part.over_pictures(number),
        )
        held += [each.low <= truth <= each.high for each, truth in zip(found, truths, strict=True)]
    return held / rounds


def test_intervals_of_six_seeds_hold_what_they_cover_in_93_to_97_of_100() -> None:
    rounds, gains = 400, {"small": 0.0, "middle": 0.02, "large": 0.03, "skewed": 0.0}
    held = {name: covered(world, 6, rounds, gains[name]) for name, world in WORLDS.items()}
    off = noise(rounds)
    for name, shares in held.items():
        assert (shares >= 0.93 - off / 3).all() and (shares <= 0.97 + off / 3).all(), name
    together = sum(held.values()) / len(held)
    assert (together >= 0.93).all() and (together <= 0.97).all()


@pytest.mark.parametrize(
    ("seeds", "effects", "gain"), [(6, 6, 0.05), (8, 1, 0.02), (10, 1, 0.025), (12, 6, 0.03)], ids=str
)
def test_power_is_as_predicted_within_five_points(seeds: int, effects: int, gain: float) -> None:
    rounds, shown, parts = 600, 0, np.zeros(2)
    test = chosen("auto", seeds, effects)
    for number in range(rounds):
        found = MIDDLE.differences((4, seeds, number), seeds, effects, gain)
        shown += holm([difference_p(each, test=test) for each in found])[0] <= 0.05
        first = spread(found[0])
        parts += [float(first.of_seeds) * seeds / rounds, float(first.of_pictures) / rounds]
    sds = np.sqrt(parts)
    predicted = power(gain, seeds=seeds, sd_seeds=sds[0], sd_pictures_of_mean=sds[1], effects=effects)
    assert 0.3 < predicted < 0.95, "where power is certain, anything predicts it"
    assert abs(shown / rounds - predicted) <= 0.05


@pytest.mark.parametrize("test", ["t", "sign_flip"])
def test_looking_repeatedly_names_no_more(test: str) -> None:
    """Three effects; seeds go to those that look best, as they would where somebody hopes."""
    rounds, wrong, naive = 300, 0, 0
    plan = Spending(12, effects=3, test=test)
    for number in range(rounds):
        found = MIDDLE.differences((5, number), 12, 3)
        have, named, hoped = [plan.looks[0]] * 3, False, False
        while True:
            p = [difference_p(each[:count], test=test) for each, count in zip(found, have, strict=True)]
            levels = [plan.level(count) for count in have]
            looked = holm([min(1.0, each * 0.05 / level) for each, level in zip(p, levels, strict=True)])
            named, hoped = named or min(looked) <= 0.05, hoped or min(holm(p)) <= 0.05
            open_ = [place for place in np.argsort(p)[:2] if plan.after(have[place])]
            if not open_:
                break
            for place in open_:
                have[place] = plan.after(have[place]) or 12
        wrong, naive = wrong + named, naive + hoped
    assert wrong / rounds <= 0.05 + noise(rounds)
    assert test == "sign_flip" or naive > wrong


def test_what_looks_found_and_kept_names_no_more() -> None:
    """Three effects; all get seeds at every look, as where they share arms, and what was found stays."""
    rounds, wrong, last = 400, 0, 0
    plan = Spending(12, effects=3)
    (like,) = compare({"it": MIDDLE.differences((5, 0), 4, 1)[0]}).values()
    for number in range(rounds):
        found, verdicts = MIDDLE.differences((8, number), 12, 3), {}
        for look in plan.looks:
            p = holm([min(1.0, difference_p(each[:look]) * 0.05 / plan.level(look)) for each in found])
            words = [("helps" if each[:look].mean() > 0 else "harms") for each in found]
            now = {
                str(place): replace(like, n=look, effect=each[:look].mean(), p=found_p, verdict=word)
                for place, (each, found_p, word) in enumerate(zip(found, p, words, strict=True))
            }
            now = {
                name: each if each.p <= 0.05 else replace(each, verdict="not resolved") for name, each in now.items()
            }
            verdicts = kept(verdicts, now)
        last += any(each.resolved for each in now.values())
        wrong += any(each.resolved for each in verdicts.values())
    assert last <= wrong <= rounds * (0.05 + noise(rounds))


def contrast(draw: np.random.Generator, pictures: int, seeds: int, hard: float, changed: float) -> np.ndarray:
    """A main effect of 8 runs: luck in each on hard pictures, and others that the trick turns right in all. S N."""
    signs = np.repeat([-1, 1], 4)[None, :, None]
    kind = draw.random(pictures)
    right = np.where(kind < hard, draw.random((seeds, 8, pictures)) < 0.5, True)
    right = np.where((kind >= hard) & (kind < hard + changed), signs > 0, right)
    return (signs * right).sum(1) / 4


@pytest.mark.parametrize(("pictures", "hard"), [(50, 0.03), (200, 0.0), (200, 0.03)])
def test_few_pictures_claim_no_difference_of_contrasts_in_one_of_twenty_at_most(pictures: int, hard: float) -> None:
    """The effect is as large as the margin, on pictures of which the study may hold none."""
    rounds, claimed = 300, 0
    for number in range(rounds):
        draw = np.random.default_rng((9, pictures, number))
        claimed += _Part.of("it", contrast(draw, pictures, 6, hard, 0.01)).p_within(0.01) <= 0.05
    assert claimed / rounds <= 0.05 + noise(rounds)


def test_no_difference_is_claimed_wrongly_in_one_of_twenty_at_most() -> None:
    """An effect just as large as the margin."""
    rounds, claimed = 300, 0
    for number in range(rounds):
        found = MIDDLE.differences((6, number), 8, 1, 0.02)
        part = spread(found[0])
        claimed += max(float(part.p_above(-0.02)), float(part.p_below(0.02))) <= 0.05
    assert claimed / rounds <= 0.05 + noise(rounds)


def test_the_whole_of_it_agrees_with_its_parts() -> None:
    found = LARGE.differences((7,), 6, 3, 0.06)
    verdicts = compare({str(place): each for place, each in enumerate(found)}, test="t")
    p = [difference_p(each) for each in found]
    assert [each.p_raw for each in verdicts.values()] == p
    assert [each.p for each in verdicts.values()] == holm(p)
    assert verdicts["0"].pictures == pictures_interval(found[0])
