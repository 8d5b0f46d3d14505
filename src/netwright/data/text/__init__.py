"""Texts: changed as augmentation, and turned into pictures that every network here can classify."""

from netwright.data.text.characters import delete_characters, swap_characters
from netwright.data.text.images import TextImages, token_image
from netwright.data.text.words import delete_words, replace_words, shuffle_sentences, swap_words

__all__ = [
    "TextImages",
    "delete_characters",
    "delete_words",
    "replace_words",
    "shuffle_sentences",
    "swap_characters",
    "swap_words",
    "token_image",
]
