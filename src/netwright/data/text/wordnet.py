"""Synonyms from WordNet (Miller, Communications of the ACM 1995), through whichever of nltk and wn is installed."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from netwright.core.errors import NetwrightError

# WordNet knows "in" as indium and "it" as information technology; Wei & Zou leave such words alone, and so do we.
_STOP_WORDS = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just may me might more most must my myself no nor not now
    of off on once only or other our ours ourselves out over own same shall she should so some such than that the their
    theirs them themselves then there these they this those through to too under until up us very was we were what when
    where which while who whom why will with would you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def wordnet(word: str) -> list[str]:
    """Synonyms of an English word, in all its meanings, sorted; none of words like "in" and "it".

    Raises:
        NetwrightError: neither nltk nor wn is installed with its data.
    """
    if word in STOP_WORDS:
        return []
    found = {lemma.replace("_", " ") for lemma in _source()(word)}
    return sorted(lemma for lemma in found if lemma.lower() != word.lower())


@cache
def _source() -> Callable[[str], list[str]]:
    for opened in (_nltk, _wn):
        try:
            return opened()
        except (ImportError, LookupError):
            continue
    raise NetwrightError(
        "synonyms come from WordNet, which neither nltk nor wn has here",
        "python -m pip install nltk && python -m nltk.downloader wordnet; "
        "or python -m pip install wn && python -m wn download oewn:2024; "
        "or give a table of your own: synonyms={'good': ['fine', 'decent']}",
    )


def _nltk() -> Callable[[str], list[str]]:
    reader: Any = import_module("nltk.corpus").wordnet
    reader.ensure_loaded()  # a LookupError without the data
    return lambda word: [lemma.name() for synset in reader.synsets(word) for lemma in synset.lemmas()]


def _wn() -> Callable[[str], list[str]]:
    reader: Any = import_module("wn")
    if not reader.lexicons(lang="en"):
        raise LookupError("wn has no English lexicon")
    return lambda word: [lemma for synset in reader.synsets(word, lang="en") for lemma in synset.lemmas()]
