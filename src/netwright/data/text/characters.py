"""Characters deleted and swapped, as by a hasty writer (Belinkov & Bisk, ICLR 2018)."""

from netwright.data.changes import check_share
from netwright.data.text.split import characters_of, is_wordlike
from netwright.engine.random import generator


def delete_characters(text: str, *, probability: float = 0.05, seed: int = 0) -> str:
    """Each character that is no space is deleted with `probability`, but for one that stays where all would go."""
    check_share("probability", probability)
    characters = characters_of(text)
    visible = [place for place, character in enumerate(characters) if not character.isspace()]
    if not visible:
        return text
    draw = generator("delete_characters", seed)
    gone = {place for place, chance in zip(visible, draw.random(len(visible)), strict=True) if chance < probability}
    survivor = visible[draw.integers(len(visible))]
    if len(gone) == len(visible):
        gone.remove(survivor)
    return "".join(character for place, character in enumerate(characters) if place not in gone)


def swap_characters(text: str, *, probability: float = 0.05, seed: int = 0) -> str:
    """Each character of a word changes places with the next one of it with `probability`; none moves twice."""
    check_share("probability", probability)
    characters = characters_of(text)
    chances = generator("swap_characters", seed).random(len(characters))
    moved = -1
    for place in range(len(characters) - 1):
        pair = characters[place : place + 2]
        if place > moved and chances[place] < probability and all(map(is_wordlike, pair)):
            characters[place : place + 2] = reversed(pair)
            moved = place + 1
    return "".join(characters)
