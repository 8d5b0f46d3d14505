"""The grammar `name(option=value)`: what is written can be read back, and nothing is ever executed."""

import keyword
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec, literal

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./-]{0,12}", fullmatch=True)
OPTIONS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda word: not keyword.iskeyword(word))
PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
)
LITERALS = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple), max_leaves=6
)


@settings(deadline=None)
@given(NAMES, st.dictionaries(OPTIONS, LITERALS, max_size=4))
def test_what_is_printed_is_read_back(name: str, options: dict) -> None:
    spec = Spec(name, options)
    again = Spec.parse(str(spec))
    assert again == spec
    assert str(again) == str(spec)
    assert hash(again) == hash(spec)
    # Equality calls 1, 1.0 and True the same; what is read back has the same types too.
    assert repr(sorted(again.options.items())) == repr(sorted(options.items()))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinity_is_read_back(value: float) -> None:
    spec = Spec("grad_clip", {"norm": value})
    assert Spec.parse(str(spec)) == spec


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        spec = Spec.parse(text)
    except NetwrightError as error:
        assert error.fix
    else:
        assert Spec.parse(str(spec)) == spec


@pytest.mark.parametrize("options", ["{[1]: 2}", "{{}: 1}", "{[1], [2]}"])
def test_literals_that_python_itself_refuses(options: str) -> None:
    with pytest.raises(NetwrightError):
        Spec.parse(f"mixup(alpha={options})")


def test_order_of_options_does_not_matter() -> None:
    one, other = Spec.parse("a(x=1, y=2)"), Spec.parse("a( y = 2,x=1 )")
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == str(other) == "a(x=1, y=2)"


@pytest.mark.parametrize(("one", "other"), [("a(x=1)", "a(x=1.0)"), ("a(x=1)", "a(x=True)"), ("a(x=0.0)", "a(x=-0.0)")])
def test_equal_specs_have_equal_hashes(one: str, other: str) -> None:
    first, second = Spec.parse(one), Spec.parse(other)
    assert first != second or hash(first) == hash(second)


def test_names_of_other_libraries() -> None:
    assert Spec.parse("timm/resnet18.a1_in1k(drop_rate=0.1)") == Spec("timm/resnet18.a1_in1k", {"drop_rate": 0.1})
    assert Spec.parse(" mixup ") == Spec.parse("mixup()") == Spec("mixup")
    assert Spec.parse(Spec("mixup", {"alpha": 1})) == Spec("mixup", {"alpha": 1})


@pytest.mark.parametrize(
    "text",
    [
        "mixup(alpha=__import__('os').system('touch executed'))",
        "mixup(alpha=open('executed', 'w'))",
        "mixup(alpha=[open('executed', 'w') for _ in 'a'])",
        "mixup(alpha=(lambda: 1)())",
        "mixup(alpha=f'{open(1)}')",
        "__import__('os')",
        "mixup(**{'alpha': 1})",
        "mixup(0.4)",
        "mixup(alpha=x)",
        "mixup(alpha=1)(beta=2)",
        "mixup(alpha=1) + 1",
        "mixup(alpha=1",
        "mixup[1]",
        "mixup x(alpha=1)",
        "(alpha=1)",
        "3mixup",
        "mixup(alpha=\0)",
        "mixup(alpha=1, alpha=2)",
        "",
    ],
)
def test_nothing_but_literals(text: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetwrightError) as caught:
        Spec.parse(text)
    assert caught.value.fix
    assert not list(tmp_path.iterdir())


def test_a_bare_word_is_told_to_be_quoted() -> None:
    with pytest.raises(NetwrightError, match=r"option norm .* is not a literal: group") as caught:
        Spec.parse("resnet18(norm=group)")
    assert "norm='group'" in caught.value.fix


def test_with_options_leaves_the_original_alone() -> None:
    spec = Spec.parse("mixup(alpha=1)")
    assert spec.with_options(alpha=2, beta=3) == Spec("mixup", {"alpha": 2, "beta": 3})
    assert spec == Spec("mixup", {"alpha": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-3", 3e-3), ("True", True), ("true", True), ("none", None), ("(1, 2)", (1, 2)), ("cosine", "cosine")],
)
def test_literals_of_the_command_line(text: str, value: object) -> None:
    assert literal(text) == value
    assert type(literal(text)) is type(value)
