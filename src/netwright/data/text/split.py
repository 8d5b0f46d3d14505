"""Texts as words with the gaps between them, as sentences, or as characters; joined, they are the text again."""

import re
import unicodedata

# A full stop ends a sentence before a space; those of Chinese and Japanese are followed by none.
_SENTENCE = re.compile(r".+?(?:[.!?…]+[\"'”’»)\]]*(?=\s|\Z)|[。！？]+[”’」』）]*|\Z)", re.DOTALL)
_JOINER = "\u200d"
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def words_of(text: str) -> tuple[list[str], list[str]]:
    """Words, from their first letter or digit to their last, and the one more gaps around them."""
    words: list[str] = []
    gaps = [""]
    for run in re.split(r"(\s+)", text):
        start, stop = _core(run)
        gaps[-1] += run[:start]
        if stop > start:
            words.append(run[start:stop])
            gaps.append(run[stop:])
    return words, gaps


def joined(words: list[str], gaps: list[str]) -> str:
    """The text again."""
    return gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=True))


def sentences_of(text: str) -> tuple[list[str], list[str]]:
    """Sentences without the spaces around them, and the one more gaps around them."""
    sentences: list[str] = []
    gaps = [""]
    for match in _SENTENCE.finditer(text):
        sentence = match.group().strip()
        before, after = match.group().split(sentence, 1) if sentence else (match.group(), "")
        gaps[-1] += before
        if sentence:
            sentences.append(sentence)
            gaps.append(after)
    return sentences, gaps


def characters_of(text: str) -> list[str]:
    """What a reader calls characters: letters with their marks, emoji with what modifies and joins them."""
    found: list[str] = []
    for letter in text:
        if found and (_modifies(letter) or found[-1].endswith(_JOINER)):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def is_wordlike(character: str) -> bool:
    """Whether it is a letter or a digit of any script."""
    return unicodedata.category(character[0])[0] in "LN"


def gap_without_word(left: str, right: str) -> str:
    """What stands where the word between two gaps was taken out: no doubled space, none before punctuation."""
    before, after = left.rstrip(), right.lstrip()
    spaces = left[len(before) :], right[: len(right) - len(after)]
    if all(spaces):
        between = max(spaces, key=lambda space: space.count("\n"))
    elif spaces[0]:
        between = spaces[0] if after and _opens(after[0]) else ""
    else:
        between = spaces[1] if before and not _opens(before[-1]) else ""
    return before + between + after


def _core(run: str) -> tuple[int, int]:
    """Where the word in a run without spaces begins and ends; (all, all) where there is none."""
    places = [place for place, letter in enumerate(run) if is_wordlike(letter)]
    if not places:
        return len(run), len(run)
    stop = places[-1] + 1
    while stop < len(run) and _modifies(run[stop]):
        stop += 1
    return places[0], stop


def _modifies(letter: str) -> bool:
    return unicodedata.category(letter)[0] == "M" or letter == _JOINER or letter in _SKIN_TONES


def _opens(letter: str) -> bool:
    return unicodedata.category(letter) in ("Ps", "Pi")
