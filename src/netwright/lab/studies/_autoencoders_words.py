"""What the study of autoencoders allows to say, in sentences."""

from collections.abc import Sequence

import numpy as np

from netwright.core.errors import listed
from netwright.lab.studies._autoencoders_arms import (
    CORRUPTIONS,
    DRAWN,
    PIXELS,
    PLAIN,
    SPARSE,
    Arm,
    denoiser,
    pca_name,
    sparse_name,
)
from netwright.lab.studies._autoencoders_values import (
    Floats,
    Results,
    at_most,
    less_error,
    mean_share,
    more_right,
    points,
    resolved,
    thousandths,
)
from netwright.records.intervals import Interval


def said(results: Results, labels: Sequence[int]) -> list[str]:
    """Sentences, by question."""
    words = [_mended(results, kind) for kind in CORRUPTIONS]
    words += [_harmless(results), _price(results), _algebra(results)]
    words += [_probe(results, many) for many in labels]
    words += [_controls(results, many) for many in labels]
    words += [each for many in labels for each in _edges(results, many)]
    return [*_alone(results), *_caution(results), *words, *_codes(results)]


def _alone(results: Results) -> list[str]:
    """What one seed cannot say."""
    if len(results.by_arm[PLAIN]) > 1:
        return []
    return [
        "All that follows is said for this training, of one seed: intervals hold other pictures only, and another "
        "training may say otherwise; give more --seeds."
    ]


def _caution(results: Results) -> list[str]:
    """A warning where networks have not come as far as algebra does."""
    plain = next(arm for arm in results.arms if arm.name == PLAIN)
    behind = less_error(results.errors(PLAIN), results.errors(pca_name(plain.latent)))
    if behind.low <= 0:
        return []
    return [
        f"The plain autoencoder gives clean pictures back worse than {pca_name(plain.latent)} "
        f"({thousandths(behind, signed=True)} thousandths), so what follows says little of kinds. Why, this does not "
        "tell: too few steps, a learning rate that does not suit, or too close a fit to few training pictures."
    ]


def _mended(results: Results, kind: str) -> str:
    """What learning to undo a corruption is worth, and who mends it best."""
    name = denoiser(kind)
    own, plain = results.errors(name, kind), results.errors(PLAIN, kind)
    less = less_error(own, plain)
    left = 100 * own.mean() / plain.mean()
    words = kind.replace("_", " ")
    if not resolved(less):
        return (
            f"{words}: that the network which learnt to undo it mends it better than the plain one is not resolved; "
            f"no difference larger than {1000 * at_most(less):.2f} thousandths."
        )
    does = f"leaves {left:.0f} % of the plain autoencoder's error ({thousandths(less, signed=True)} thousandths)"
    others = [arm for arm in _menders(results) if arm.name != name]
    next_ = min(others, key=lambda arm: results.errors(arm.name, kind).mean())
    return f"{words}: the network that learnt to undo it {does}; {_beside(results, next_, own, kind, len(others))}."


def _beside(results: Results, other: Arm, own: Floats, kind: str, many: int) -> str:
    """The best of all others against the one that learnt it: chosen for what it reached, and so a little too good."""
    apart = less_error(own, results.errors(other.name, kind))
    who = "doing nothing" if other.name == PIXELS else other.name
    far = f"({thousandths(apart, signed=True)} against it)"
    if not resolved(apart):
        return f"whether {who}, the best of the {many} others, is better or worse is not resolved {far}"
    if apart.high < 0:
        return f"clearly less than the best of the {many} others, {who} {far}"
    return f"{who}, the best of the {many} others, leaves clearly less still {far}"


def _harmless(results: Results) -> str:
    """Whether a network that never saw corruption mends any."""
    better = [
        kind.replace("_", " ")
        for kind in CORRUPTIONS
        if less_error(results.errors(PLAIN, kind), results.errors(PIXELS, kind)).high < 0
    ]
    first = pca_name(max(arm.latent for arm in results.arms))
    behind = [
        kind.replace("_", " ")
        for kind in CORRUPTIONS
        if less_error(results.errors(PLAIN, kind), results.errors(first, kind)).low > 0
    ]
    one = (
        f"The plain autoencoder, which never saw a corrupted picture, is better than doing nothing on {_these(better)}"
    )
    return f"{one}; projecting on {first} is clearly better than it on {_these(behind)}."


def _price(results: Results) -> str:
    """What learning to undo corruptions costs on clean pictures."""
    plain = results.errors(PLAIN)
    costs = {kind: less_error(results.errors(denoiser(kind)), plain) for kind in CORRUPTIONS}
    words = [f"{kind.replace('_', ' ')} {_signed(each)}" for kind, each in costs.items()]
    return f"On clean pictures learning to mend changes the squared error by, in thousandths: {'; '.join(words)}."


def _algebra(results: Results) -> str:
    """Reconstructions against principal components with as many numbers."""
    better, worse, open_ = [], [], []
    for arm in results.arms:
        if not arm.trains:
            continue
        less = less_error(results.errors(arm.name), results.errors(pca_name(arm.latent)))
        (better if less.high < 0 else worse if less.low > 0 else open_).append(arm.name)
    parts = [f"better than principal components with as many numbers: {_these(better)}"]
    parts += [f"worse: {_these(worse)}"] if worse else []
    parts += [f"not told apart: {_these(open_)}"] if open_ else []
    return f"Clean pictures are given back {'; '.join(parts)}."


def _probe(results: Results, many: int) -> str:
    """Which codes a probe is clearly better or worse on than the plain ones."""
    plain = results.right(PLAIN, many)
    seen = {
        arm.name: more_right(results.right(arm.name, many), plain)
        for arm in results.arms
        if arm.trains and arm.name != PLAIN
    }
    better = [f"{name} ({points(each)})" for name, each in seen.items() if each.low > 0]
    worse = [f"{name} ({points(each)})" for name, each in seen.items() if each.high < 0]
    open_ = {name: each for name, each in seen.items() if not resolved(each)}
    whole = mean_share(plain).percent()
    parts = [f"clearly better: {_these(better)}", f"clearly worse: {_these(worse)}"]
    if open_:
        most = 100 * max(map(at_most, open_.values()))
        parts.append(f"not resolved: {_these([*open_])}, with no difference larger than {most:.1f} points")
    return f"Probe with {many} labels, points against the plain autoencoder's {whole}: {'; '.join(parts)}."


def _controls(results: Results, many: int) -> str:
    """The plain codes, and the best, against what has learnt nothing."""
    trained = [arm for arm in results.arms if arm.trains]
    best, second = sorted(trained, key=lambda arm: -results.right(arm.name, many).mean())[:2]
    names = [PIXELS, pca_name(max(arm.latent for arm in results.arms)), DRAWN]
    words: list[str] = []
    for who in dict.fromkeys((PLAIN, best.name)):
        parts = [
            f"{name} {_pointed(more_right(results.right(who, many), results.right(name, many)))}" for name in names
        ]
        words.append(f"{who} against {', '.join(parts)}")
    ahead = _pointed(more_right(results.right(best.name, many), results.right(second.name, many)))
    chosen = f"{best.name} was chosen as the best of {len(trained)}, and so looks a little too good"
    return f"With {many} labels, in points: {'; '.join(words)}; {chosen}: {ahead} against the next, {second.name}."


def _edges(results: Results, many: int) -> list[str]:
    """Penalties that might have been chosen still weaker or stronger."""
    there, whole = results.edges(many)
    if not there:
        return []
    return [f"With {many} labels {there} of {whole} probes chose a penalty at the end of what was tried."]


def _codes(results: Results) -> list[str]:
    """Sparse codes that are not, dead numbers, and variational ones that do not use theirs."""
    words: list[str] = []
    zeros = [f"{kind} {100 * np.mean(results.code(sparse_name(kind), 'zeros')):.0f} %" for kind in SPARSE]
    words.append(f"Entries of sparse codes that are exactly 0: {', '.join(zeros)}.")
    dead = [f"{arm.name} ({np.mean(results.code(arm.name, 'dead')):g} of {arm.latent})" for arm in _dead(results)]
    words += [f"Numbers of codes that are the same for every picture: {listed(dead)}."] if dead else []
    idle = [
        f"{arm.name} uses {np.mean(results.code(arm.name, 'active')):g}"
        for arm in results.arms
        if arm.group == "variational"
    ]
    return [*words, f"Of their numbers, {', '.join(idle)} (more than 0.01 nats of divergence)."]


def _dead(results: Results) -> list[Arm]:
    return [arm for arm in results.arms if arm.trains and np.mean(results.code(arm.name, "dead")) > 0]


def _menders(results: Results) -> list[Arm]:
    """Everything that makes pictures, and doing nothing."""
    return [arm for arm in results.arms if results.makes(arm.name)]


def _signed(found: Interval) -> str:
    return thousandths(found, signed=True) + ("" if resolved(found) else " (not resolved)")


def _pointed(found: Interval) -> str:
    return points(found) + ("" if resolved(found) else " (not resolved)")


def _these(names: Sequence[str]) -> str:
    return listed(names) if names else "none"


def legend(seeds: int, tested: int, split: str, amount: float, labels: Sequence[int]) -> str:
    """What the numbers hold and what they don't."""
    over = (
        f"{seeds} seeds and the same {tested:,} {split} pictures for all"
        if seeds > 1
        else (f"{tested:,} {split} pictures with one seed: another seed may say otherwise")
    )
    probes = (
        "The probe is multinomial logistic regression, its penalty chosen by cross-validation among the labelled "
        "pictures alone; each seed draws these anew, the same for all arms. Codes, pixels too, are centred and divided "
        "by one number for all their dimensions, the root of the mean variance over the labelled pictures: each by its "
        "own deviation would make the faintest principal components as loud as the first. "
        if labels
        else ""
    )
    return (
        f"95 % intervals over {over}; each holds by itself, so of twenty comparisons one misses by chance. Squared "
        "errors are means over values in [0, 1] of reconstructions clipped to it, in thousandths; below is better. "
        f"Corruptions have the amount {amount:g} for every kind, in training as in the test, where each seed draws "
        "them anew, the same for all arms. Principal components are of the same training pictures, and no seed "
        f"changes them. {probes}All networks but the variational ones have the same layers and see as many pictures; "
        "theirs differ in the code's length and its variances, and in an observation model that weighs errors against "
        "the prior. active: numbers of a code that say something of the picture; dead: the same for every picture; "
        "zeros: share of entries that are exactly 0; sparseness: from 0, all entries of a code alike in size, to 1, a "
        "single one not 0 (Hoyer, JMLR 5, 2004); means over seeds. Weights of the sparse penalties are the "
        "defaults, tuned by nobody."
    )
