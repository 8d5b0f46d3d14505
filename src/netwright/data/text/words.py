"""Words deleted, swapped and replaced by synonyms; sentences in another order (EDA: Wei & Zou, EMNLP-IJCNLP 2019)."""

from collections.abc import Mapping, Sequence

import numpy as np

from netwright.data.changes import check_share
from netwright.data.text.split import gap_without_word, joined, sentences_of, words_of
from netwright.data.text.wordnet import wordnet
from netwright.engine.random import generator


def delete_words(text: str, *, probability: float = 0.1, seed: int = 0) -> str:
    """Each word is deleted with `probability`, but for one that stays where all would go."""
    check_share("probability", probability)
    words, gaps = words_of(text)
    if not words:
        return text
    draw = generator("delete_words", seed)
    kept = draw.random(len(words)) >= probability
    kept[draw.integers(len(words))] |= not kept.any()
    left, spaces = list[str](), gaps[:1]
    for word, gap, stays in zip(words, gaps[1:], kept, strict=True):
        if stays:
            left.append(word)
            spaces.append(gap)
        else:
            spaces[-1] = gap_without_word(spaces[-1], gap)
    return joined(left, spaces)


def swap_words(text: str, *, probability: float = 0.1, seed: int = 0) -> str:
    """Each word changes places with another one with `probability`; spaces and punctuation stay."""
    check_share("probability", probability)
    words, gaps = words_of(text)
    if len(words) < 2:
        return text
    draw = generator("swap_words", seed)
    for place in np.flatnonzero(draw.random(len(words)) < probability).tolist():
        other = int(draw.integers(len(words) - 1))
        other += other >= place
        words[place], words[other] = words[other], words[place]
    return joined(words, gaps)


def replace_words(
    text: str,
    *,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    probability: float = 0.1,
    seed: int = 0,
) -> str:
    """Each word that has synonyms is replaced by one of them with `probability`, in capitals where it was.

    Args:
        text: any.
        synonyms: of each word, in small letters; by default those of WordNet.
        probability: for each word.
        seed: decides what is drawn.

    Raises:
        NetwrightError: no table is given, and WordNet is not installed.
    """
    check_share("probability", probability)
    words, gaps = words_of(text)
    draw = generator("replace_words", seed)
    for place in np.flatnonzero(draw.random(len(words)) < probability).tolist():
        word = words[place]
        known = wordnet(word.lower()) if synonyms is None else synonyms.get(word, synonyms.get(word.lower(), ()))
        others = [other for other in known if other.lower() != word.lower()]
        if others:
            words[place] = _in_case_of(word, others[draw.integers(len(others))])
    return joined(words, gaps)


def shuffle_sentences(text: str, *, probability: float = 1.0, seed: int = 0) -> str:
    """Sentences, each chosen with `probability`, are put into each other's places, every order equally likely.

    A full stop with a space behind it ends a sentence, after an abbreviation too.
    """
    check_share("probability", probability)
    sentences, gaps = sentences_of(text)
    draw = generator("shuffle_sentences", seed)
    chosen = np.flatnonzero(draw.random(len(sentences)) < probability)
    result = list(sentences)
    for place, source in zip(chosen.tolist(), draw.permutation(chosen).tolist(), strict=True):
        result[place] = sentences[source]
    return joined(result, gaps)


def _in_case_of(word: str, synonym: str) -> str:
    if word.isupper() and len(word) > 1:
        return synonym.upper()
    return synonym[:1].upper() + synonym[1:] if word[:1].isupper() else synonym
