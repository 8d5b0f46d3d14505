"""A package of one thing a file is the registry."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError, nearest
from netwright.core.registry import Registry, camel, snake
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.tasks import TASKS
from netwright.tricks import TRICKS

REGISTRIES = {"trick": TRICKS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "task": TASKS}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    package = tmp_path / "shop_of_things"
    package.mkdir()
    (package / "__init__.py").write_text('"""Things."""\n')
    (package / "_shared.py").write_text('raise RuntimeError("imported")\n')
    (package / "small_hat.py").write_text(
        '"""A hat."""\nfrom dataclasses import dataclass\n@dataclass\nclass SmallHat:\n    size: int = 1\n'
    )
    (package / "coat.py").write_text(
        '"""A coat.\n\nLong."""\ndef coat(*, length: float = 1.5):\n    return ("coat", length)\n'
    )
    (package / "broken.py").write_text('"""Never imported."""\nraise RuntimeError("imported")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("shop_of_things", "thing")
    for name in [name for name in sys.modules if name.startswith("shop_of_things")]:
        del sys.modules[name]


def test_names_and_summaries_import_no_entry(shop: Registry) -> None:
    assert shop.names() == ["broken", "coat", "small_hat"]
    assert shop.summary("coat") == "A coat."
    assert shop.summary("broken") == "Never imported."
    assert "shop_of_things.broken" not in sys.modules


def test_classes_and_functions_are_built(shop: Registry) -> None:
    assert shop.build("small_hat(size=3)").size == 3
    assert shop.build("coat(length=2)") == ("coat", 2.0)
    assert type(shop.build("coat(length=2)")[1]) is float


def test_unknown_names_and_options_name_the_nearest(shop: Registry) -> None:
    with pytest.raises(NetwrightError, match="unknown thing 'smal_hat'") as caught:
        shop.build("smal_hat")
    assert "did you mean 'small_hat'?" in caught.value.fix
    assert "coat" in caught.value.fix
    assert "netwright list things" in caught.value.fix
    with pytest.raises(NetwrightError, match="unknown option of small_hat 'sise'") as caught:
        shop.build("small_hat(sise=3)")
    assert "did you mean 'size'?" in caught.value.fix


@pytest.mark.parametrize("name", ["_shared", "../coat", "__init__", "shop_of_things.coat", "coat.py"])
def test_only_entries_can_be_named(shop: Registry, name: str) -> None:
    with pytest.raises(NetwrightError, match=r"unknown thing|cannot read"):
        shop.build(name)


def test_a_users_own_thing(shop: Registry) -> None:
    @shop.register
    @dataclass
    class WarmScarf:
        """A scarf."""

        length: int = 2

    assert "warm_scarf" in shop.names()
    assert shop.build("warm_scarf(length=5)") == WarmScarf(5)
    assert shop.summary("warm_scarf") == "A scarf."


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), min_size=1, max_size=4))
def test_names_of_files_and_classes(words: list[str]) -> None:
    # A word that begins with a digit after an underscore cannot come back; words here begin with letters.
    stem = "_".join(words)
    assert snake(camel(stem)) == stem or any(len(word) == 1 for word in words)


@pytest.mark.parametrize(
    ("stem", "name"),
    [("label_smoothing", "LabelSmoothing"), ("l2_penalty", "L2Penalty"), ("ema", "Ema"), ("adamw", "Adamw")],
)
def test_known_names(stem: str, name: str) -> None:
    assert camel(stem) == name
    assert snake(name) == stem


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_entry_loads_and_describes_itself(kind: str) -> None:
    registry = REGISTRIES[kind]
    assert registry.names()
    for name in registry.names():
        assert registry.summary(name)
        assert callable(registry.load(name))
        registry.build(name)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from netwright.tricks import TRICKS\n"
        "from netwright.optim import OPTIMIZERS, SCHEDULES\n"
        "from netwright.tasks import TASKS\n"
        "for registry in (TRICKS, OPTIMIZERS, SCHEDULES, TASKS):\n"
        "    [registry.summary(name) for name in registry.names()]\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nearest() -> None:
    assert nearest("Mixpu", ["mixup", "cutmix"]) == "mixup"
    assert nearest("qqqqqq", ["mixup", "cutmix"]) is None
