"""What drawn pictures were worth, in words and as a page, with those that lie nearest to training pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.records.intervals import Interval
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.tables import table
from netwright.report.words import count, percent, plural

REAL, DRAWN, BOTH = "real", "synthetic", "real + synthetic"
STYLE = """
.drawn { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: 1rem; margin: 0 0 1.6rem; }
.drawn figure { min-width: 0; margin: 0; }
.drawn img { display: block; width: 100%; image-rendering: pixelated; background: var(--raised); }
.drawn img + img { margin-top: .3rem; }
"""


def rows_of(found: Mapping[str, Any]) -> list[list[str]]:
    """A row for each kind of training pictures, under a head."""
    rows = [["trained on", "pictures", "updates", "accuracy on real ones", "against real alone, points"]]
    for name, arm in found["arms"].items():
        accuracy = Interval.from_json(arm["accuracy"]).percent()
        said = _points(arm["difference"]) if "difference" in arm else ""
        rows.append([name, count(found["pictures"][name]), count(found["updates"]), accuracy, said])
    return rows


def words(found: Mapping[str, Any]) -> list[str]:
    """What the table says, and what the pictures nearest to training pictures say."""
    return [*_worth(found), *_advantage(found), *copied_words(found["copied"]), *found["notes"]]


def copied_words(near: Mapping[str, Any]) -> list[str]:
    """Whether the network draws what it was shown, and what to do then."""
    trained = "training pictures" if near["of"] == "trained on" else "training pictures of the data given"
    compared = (
        f"of {plural(near['pictures'], 'synthetic picture')} {percent(near['share'])} have their nearest real one "
        f"among the {trained}; {percent(near['chance'])} would by chance"
    )
    if near["alarm"]:
        against = "against copying: a smaller latent or a larger beta, more training pictures, fewer epochs"
        if near["against"] == "test":
            return [
                f"perhaps copied: {compared} (p = {near['p']:.1g}). Either the network has partly learnt its training "
                "pictures by heart, or the test pictures, the only others there are, differ by themselves (other "
                "cameras, places or people): a network trained with a validation split would tell which",
                against,
            ]
        return [
            f"copied: {compared} (p = {near['p']:.1g}). The network has partly learnt its training pictures by heart: "
            "these pictures are less new than they look, and may give away what they were drawn from",
            against,
        ]
    told = [f"not copied, as far as pixels tell: {compared} (p = {near['p']:.2g})"]
    if near["closer"] > 0.5 and near["median"] < near["usual_median"]:
        told.append(
            f"in pixels they are nearer to training pictures than held-out real ones are ({near['median']:.3f} and "
            f"{near['usual_median']:.3f} in the median): drawn pictures are smoother, and smooth ones are near to all"
        )
    return told


def page(found: Mapping[str, Any], title: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The whole page.

    Args:
        found: as `lab.tstr.worth` gives it.
        title: the run that drew.
        pairs: a drawn picture and the nearest training picture, as data URIs, the nearest first.
    """
    head, *rows = rows_of(found)
    seeds, tested = plural(found["seeds"], "seed"), plural(found["tested"], "real test picture")
    caption = f"{found['model']}, {seeds}, {tested}; 95 % intervals for other seeds and pictures, differences paired"
    heads = [head[0], *(f"{name}#" for name in head[1:])]
    main = tag(
        "main",
        section("worth", "Worth", table(heads, rows, caption=caption, class_="dense"), _list(words(found))),
        section(
            "copies",
            "Nearest to training pictures",
            note("Each drawn picture that lies nearest in pixels to a training picture, and below it that one."),
            tag("div", *(_pair(*pair) for pair in pairs), class_="drawn"),
        ),
    )
    top = tag("header", tag("h1", tag("bdi", title)), note("Pictures that a network drew, and what they are worth."))
    foot = tag("footer", "Written by netwright synthesize.")
    return document(f"{title}: synthetic pictures", tag("style", Html(STYLE)), top, main, foot)


def _worth(found: Mapping[str, Any]) -> list[str]:
    alone, both = (Interval.from_json(found["arms"][name]["difference"]) for name in (DRAWN, BOTH))
    if alone.high < 0:
        first = f"synthetic pictures alone do not stand in for the real ones here: {_said(alone)} points"
    elif alone.low > 0:
        first = f"synthetic pictures alone are better than these real ones: {_said(alone)} points"
    else:
        first = f"synthetic pictures alone against real ones: {_said(alone)} points, a difference that may be none"
    if both.low > 0:
        second = (
            f"added to the real ones they help, at the same {count(found['updates'])} updates: {_said(both)} points"
        )
    elif both.high < 0:
        second = (
            f"added to the real ones they harm, at the same {count(found['updates'])} updates: {_said(both)} points"
        )
    else:
        second = f"added to the real ones they change nothing that these runs can tell: {_said(both)} points"
    return [first, second]


def _advantage(found: Mapping[str, Any]) -> list[str]:
    """Whoever drew knew more real pictures than those that the comparison trains on."""
    seen, real = found["seen"], found["pictures"][REAL]
    if seen is None or seen <= real:
        return []
    return [
        f"the network that drew them was trained on {count(seen)} real pictures with their classes, and the comparison "
        f"on {count(real)}: what synthetic pictures add here was learnt from pictures that the comparison did not get"
    ]


def _said(difference: Interval) -> str:
    return f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _points(fields: Mapping[str, Any]) -> str:
    found = Interval.from_json(fields)
    return _said(found) if found.low > 0 or found.high < 0 else f"{_said(found)} not resolved"


def _list(said: Sequence[str]) -> Html:
    return tag("ul", *(tag("li", each) for each in said), class_="notes")


def _pair(drawn: str, real: str) -> Html:
    images = (
        tag("img", src=uri, alt=alt) for uri, alt in ((drawn, "drawn picture"), (real, "nearest training picture"))
    )
    return tag("figure", *images)
