"""Changes of texts, and texts as pictures."""

import subprocess
import sys
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright import fit, recipe
from netwright.core.errors import NetwrightError
from netwright.data.loader import DatasetSource
from netwright.data.text import (
    TextImages,
    delete_characters,
    delete_words,
    replace_words,
    shuffle_sentences,
    swap_characters,
    swap_words,
    token_image,
)
from netwright.data.text import wordnet as wordnets
from netwright.data.text.images import ALPHABET
from netwright.data.text.split import characters_of, joined, sentences_of, words_of
from tests.support import CPU

TABLE = {"big": ["large", "huge"], "good": ["fine"], "nato": ["alliance"]}
CHANGES = [
    delete_words,
    swap_words,
    partial(replace_words, synonyms=TABLE),
    shuffle_sentences,
    delete_characters,
    swap_characters,
]
LONG = " ".join(f"word{i}" for i in range(4000))


def near_binomial(count: int, n: int, probability: float) -> bool:
    return abs(count - n * probability) < 4.5 * np.sqrt(n * probability * (1 - probability))


@pytest.mark.parametrize("change", CHANGES)
@given(text=st.text(), probability=st.floats(0, 1), seed=st.integers(0, 1 << 62))
def test_every_change_is_a_function_that_leaves_something(change, text, probability, seed):
    found = change(text, probability=probability, seed=seed)
    assert found == change(text, probability=probability, seed=seed)
    assert bool(found.strip()) == bool(text.strip())
    assert change(text, probability=0.0, seed=seed) == text


@given(text=st.text())
def test_parts_joined_are_the_text(text):
    assert joined(*words_of(text)) == joined(*sentences_of(text)) == "".join(characters_of(text)) == text


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_probabilities_are_checked(change, probability):
    with pytest.raises(NetwrightError, match="from 0 to 1"):
        change("a b", probability=probability)


@pytest.mark.parametrize("change", [delete_words, swap_words, delete_characters, swap_characters])
def test_another_seed_is_another_text(change):
    assert len({change(LONG, probability=0.1, seed=seed) for seed in range(20)}) == 20


def test_words_end_where_their_letters_do():
    text = "  “Don't”, she said—(well-known) नमस्ते! $5 ❤️ e\u0301te\u0301… 東京"
    assert words_of(text)[0] == ["Don't", "she", "said—(well-known", "नमस्ते", "5", "e\u0301te\u0301", "東京"]


def test_characters_keep_their_marks():
    assert characters_of("e\u0301a👩‍👩‍👧👍🏽❤️") == ["e\u0301", "a", "👩‍👩‍👧", "👍🏽", "❤️"]


def test_deleted_words_are_binomial():
    left = len(words_of(delete_words("word " * 40_000, probability=0.3, seed=1))[0])
    assert near_binomial(40_000 - left, 40_000, 0.3)


def test_deletion_leaves_each_word_of_a_text_equally_often():
    counts = Counter(delete_words("a b c", probability=1.0, seed=seed) for seed in range(3000))
    assert set(counts) == set("abc") and all(near_binomial(count, 3000, 1 / 3) for count in counts.values())


@pytest.mark.parametrize(
    ("text", "word", "says"),
    [
        ("one two three", "two", "one three"),
        ("one two.", "two", "one."),
        ("one two, three", "two", "one, three"),
        ("one two", "one", "two"),
        ("one two", "two", "one"),
        ("one\ntwo three", "two", "one\nthree"),
        ("see (big house) now", "big", "see (house) now"),
        ("one two (three)", "two", "one (three)"),
        ("one  two\tthree", "two", "one  three"),
    ],
)
def test_spaces_close_around_a_deleted_word(text, word, says):
    words, _ = words_of(text)
    others = (found for seed in range(2000) if words_of(found := delete_words(text, probability=0.4, seed=seed))[0])
    wanted = [other for other in words if other != word]
    assert next(found for found in others if words_of(found)[0] == wanted) == says


def test_swapping_keeps_the_words_and_the_gaps():
    text = "One, two; three (four) five!\nSix?"
    for seed in range(50):
        found = swap_words(text, probability=0.5, seed=seed)
        assert Counter(words_of(found)[0]) == Counter(words_of(text)[0]) and words_of(found)[1] == words_of(text)[1]
    assert {swap_words("a b", probability=1.0, seed=seed) for seed in range(5)} == {"a b"}  # there and back
    assert swap_words("alone", probability=1.0) == "alone"


def test_swaps_are_binomial_and_their_partners_uniform():
    """A first word that moves changes places with each other one equally often."""
    counts = Counter(swap_words("a b c d", probability=0.2, seed=seed).split()[0] for seed in range(8000))
    # P(a first): all swaps of the four words, two of which each have one third chance to touch it, enumerated below.
    chance = first_place_chances(0.2)
    assert all(near_binomial(counts[word], 8000, chance[word]) for word in "abcd")


def first_place_chances(probability: float) -> dict[str, float]:
    """Where the words of "a b c d" are after each place in turn may swap with one of the three others."""
    orders = {("a", "b", "c", "d"): 1.0}
    for place in range(4):
        after: Counter[tuple[str, ...]] = Counter()
        for order, chance in orders.items():
            after[order] += chance * (1 - probability)
            for other in {0, 1, 2, 3} - {place}:
                moved = list(order)
                moved[place], moved[other] = moved[other], moved[place]
                after[tuple(moved)] += chance * probability / 3
        orders = dict(after)
    return {word: sum(chance for order, chance in orders.items() if order[0] == word) for word in "abcd"}


def test_synonyms_take_the_case_of_their_word():
    text = "Big and BIG, big: not bigger. NATO is Good"
    for seed in range(20):
        found = words_of(replace_words(text, synonyms=TABLE, probability=1.0, seed=seed))[0]
        assert found[0] in ("Large", "Huge") and found[2] in ("LARGE", "HUGE") and found[3] in ("large", "huge")
        assert found[1] == "and" and found[4:6] == ["not", "bigger"] and found[6:] == ["ALLIANCE", "is", "Fine"]


def test_replaced_words_are_binomial_and_synonyms_uniform():
    counts = Counter(replace_words("big " * 4000, synonyms=TABLE, probability=0.25, seed=3).split())
    assert near_binomial(4000 - counts["big"], 4000, 0.25) and near_binomial(counts["huge"], 4000, 0.125)


def test_sentences_change_places_whole():
    text = ' He said "go." Then 3.5 came?  Nobody…\n終わり。はい！ The end.'
    assert sentences_of(text)[0] == ['He said "go."', "Then 3.5 came?", "Nobody…", "終わり。", "はい！", "The end."]
    found = shuffle_sentences(text, seed=1)
    assert sorted(sentences_of(found)[0]) == sorted(sentences_of(text)[0]) and found != text
    counts = Counter(shuffle_sentences("A. B. C.", seed=seed) for seed in range(3000))
    assert len(counts) == 6 and all(near_binomial(count, 3000, 1 / 6) for count in counts.values())


def test_deleted_and_swapped_characters():
    text = "abcdefghij " * 500
    left = delete_characters(text, probability=0.2, seed=2)
    assert left.count(" ") == 500 and near_binomial(5500 - len(left), 5000, 0.2)
    swapped = swap_characters(text, probability=0.3, seed=2)
    assert [sorted(word) for word in swapped.split(" ")] == [sorted(word) for word in text.split(" ")]
    moved = [abs("abcdefghij".index(letter) - i % 11) for i, letter in enumerate(swapped) if letter != " "]
    assert set(moved) == {0, 1}
    assert swap_characters("ab", probability=1.0) == "ba" and swap_characters("a, b", probability=1.0) == "a, b"
    assert delete_characters("e\u0301", probability=1.0) == "e\u0301"


@pytest.fixture
def no_wordnet(monkeypatch):
    """As if neither nltk nor wn were installed."""
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    monkeypatch.setitem(sys.modules, "wn", None)
    wordnets._source.cache_clear()
    yield monkeypatch
    wordnets._source.cache_clear()


def test_without_wordnet_the_error_has_the_commands(no_wordnet):
    with pytest.raises(NetwrightError, match=r"(?s)pip install nltk.*downloader wordnet.*pip install wn.*synonyms="):
        replace_words("happy", probability=1.0)


def test_nltk_is_asked_first_then_wn(no_wordnet):
    lemmas = [SimpleNamespace(name=partial(str, name)) for name in ("glad_to", "Happy", "content")]
    synset = SimpleNamespace(lemmas=lambda: lemmas)
    reader = SimpleNamespace(ensure_loaded=lambda: None, synsets=lambda word: [synset] if word == "happy" else [])
    no_wordnet.setitem(sys.modules, "nltk.corpus", SimpleNamespace(wordnet=reader))
    assert wordnets.wordnet("happy") == ["content", "glad to"] and wordnets.wordnet("in") == []
    assert replace_words("Happy in it", probability=1.0, seed=1) in ("Content in it", "Glad to in it")

    def lacking():
        raise LookupError

    reader.ensure_loaded = lacking
    other = SimpleNamespace(lemmas=lambda: ["happy", "blissful"])
    wn = SimpleNamespace(lexicons=lambda lang: ["oewn"], synsets=lambda word, lang: [other])
    no_wordnet.setitem(sys.modules, "wn", wn)
    wordnets._source.cache_clear()
    assert wordnets.wordnet("happy") == ["blissful"]
    wn.lexicons = lambda lang: []
    wordnets._source.cache_clear()
    with pytest.raises(NetwrightError, match="nltk"):
        wordnets.wordnet("happy")


LEXICON = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
  <Lexicon id="tiny" label="Tiny" language="en" email="a@b.c" license="none" version="1">
    <LexicalEntry id="tiny-big"><Lemma writtenForm="big" partOfSpeech="a"/><Sense id="s1" synset="tiny-1-a"/>
    </LexicalEntry>
    <LexicalEntry id="tiny-large"><Lemma writtenForm="large" partOfSpeech="a"/><Sense id="s2" synset="tiny-1-a"/>
    </LexicalEntry>
    <Synset id="tiny-1-a" ili="" partOfSpeech="a"/>
  </Lexicon>
</LexicalResource>"""


def test_a_lexicon_of_wn_itself(tmp_path):
    pytest.importorskip("wn", reason="wn is an extra: python -m pip install wn")
    (tmp_path / "tiny.xml").write_text(LEXICON, "utf-8")
    script = (
        f"import sys, wn; wn.config.data_directory = {str(tmp_path / 'data')!r}; sys.modules['nltk.corpus'] = None\n"
        f"wn.add({str(tmp_path / 'tiny.xml')!r}, progress_handler=None)\n"
        "from netwright.data.text.wordnet import wordnet; print(wordnet('big'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['large']"


def test_real_synonyms_of_nltk():
    nltk = pytest.importorskip("nltk", reason="nltk is an extra: python -m pip install nltk")
    try:
        nltk.corpus.wordnet.ensure_loaded()
    except LookupError:
        pytest.skip("nltk has no WordNet: python -m nltk.downloader wordnet")
    assert {"large", "great"} <= set(wordnets.wordnet("big")) and wordnets.wordnet("qqqq") == []


def test_characters_are_one_hot_by_position():
    picture = token_image("Ab 9é\n", size=(72, 8))
    assert picture.shape == (1, 72, 8) and picture.dtype == torch.uint8
    assert picture.sum(dtype=torch.long) == 5 * 255 and set(picture.unique().tolist()) == {0, 255}
    rows = picture[0].float().argmax(0).tolist()
    assert rows[:2] == [0, 1] and rows[3] == 26 + 9 and rows[5] == ALPHABET["\n"]
    assert not picture[0, :, 2].any() and not picture[0, :, 6:].any() and picture[0, :, 4].any()
    assert len(ALPHABET) == 69 and sorted(ALPHABET.values()) == list(range(69))
    assert token_image("abc" * 100, size=(5, 4)).shape == (1, 5, 4) and not token_image("").any()


def test_words_have_the_row_of_their_hash():
    one, two = (token_image(text, unit="word", size=(64, 4)) for text in ("Good, bad", "good bad … good very long"))
    assert torch.equal(one[..., :2], two[..., :2]) and torch.equal(two[..., 0], two[..., 2])
    assert (two.sum(1, dtype=torch.long) == 255).all() and not one[..., 2:].any()
    rows = {int(token_image(f"w{i}", unit="word", size=(512, 1)).flatten().argmax()) for i in range(512)}
    # A hash into n rows leaves a share of 1/e empty: variance n (1/e - 2/e²).
    expected, spread = 512 * (1 - np.exp(-1)), np.sqrt(512 * (np.exp(-1) - 2 * np.exp(-2)))
    assert abs(len(rows) - expected) < 4.5 * spread


def test_what_no_picture_can_be_made_of():
    with pytest.raises(NetwrightError, match="did you mean 'word'"):
        token_image("a", unit="words")
    with pytest.raises(NetwrightError, match="1 or more"):
        token_image("a", size=(0, 4))


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        ([0], None, "2 samples have labels of shape"),
        ([0, 2], ["a", "b"], "go from 0 to 2, but there are 2 classes"),
        ([-1, 0], None, "go from -1 to 0"),
        (["a", "x"], ["a", "b"], "unknown class 'x'"),
        ([0.5, 1.0], None, "type float64"),
    ],
)
def test_labels_are_checked(labels, classes, says):
    with pytest.raises(NetwrightError, match=says):
        TextImages(["one", "two"], labels, classes=classes)


def test_words_and_numbers_as_labels():
    words = TextImages(["one", "two"], ["b", "a"])
    assert words.targets == [1, 0] and words.classes == ("a", "b") and len(words) == 2
    assert TextImages(["one", "two"], ["b", "a"], classes=("b", "a", "c")).targets == [0, 1]
    assert TextImages(["one", "two"], [0, 2]).classes == ("0", "1", "2")


def test_a_text_changes_from_epoch_to_epoch_and_not_otherwise():
    changes = (partial(delete_words, probability=0.3), partial(swap_words, probability=0.3))
    source = DatasetSource(TextImages([LONG[:400]] * 4, [0, 1, 0, 1], changes=changes), CPU)
    first, again, other = (next(iter(source.batches([np.arange(4)], stream=stream))).image for stream in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[2])


def sentence(label: int, seed: int) -> str:
    """Words of one of two vocabularies among words of neither."""
    draw = np.random.default_rng(seed)
    own = [["river", "forest", "lake", "meadow"], ["engine", "wheel", "piston", "brake"]][label]
    common = ["the", "old", "was", "near", "seen", "again", "and", "some"]
    return " ".join(draw.choice(own) if draw.random() < 0.4 else draw.choice(common) for _ in range(16))


def test_a_network_learns_to_tell_two_vocabularies(tmp_path):
    labels = [i % 2 for i in range(384)]
    texts = [sentence(label, seed) for seed, label in enumerate(labels)]
    options = {"unit": "word", "size": (32, 32)}
    train = TextImages(texts[:256], labels[:256], changes=(partial(delete_words, probability=0.1),), **options)
    val = TextImages(texts[256:], labels[256:], **options)
    plan = recipe("digits", epochs=2, batch_size=16, optimizer="adamw(lr=3e-3)").without("rotate", "crop")
    assert fit(plan, data=(train, val), output=tmp_path).accuracy > 0.8
