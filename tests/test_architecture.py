"""The architecture as a table: imports point down, and asking for help imports nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import netwright

ROOT = Path(netwright.__file__).parent

LAYERS = {
    0: ("core",),
    1: ("nn", "records", "report"),
    2: ("engine",),
    3: ("models", "data", "optim", "tasks", "tricks", "explain"),
    4: ("recipes", "bundle"),
    5: ("lab", "doctor"),
    6: ("cli", "web", "serve"),
}
LAYER = {package: layer for layer, packages in LAYERS.items() for package in packages}

# On one layer, who may know whom: a report is made of records, a recipe ends in a bundle.
NEIGHBOURS = {("report", "records"), ("recipes", "bundle")}

# The package's own `__init__` names what users import, and `__main__` starts the command: both stand above everything.
ABOVE = ("__init__", "__main__")

HEAVY = (
    "torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "sqlalchemy", "pandas", "safetensors", "datasets",
    "pyarrow",
)  # fmt: skip


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem not in ABOVE)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything of ours that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif _is_import_module(node):
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield node.lineno, str(argument.value)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _is_import_module(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not node.args:
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__")


def package_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def edges() -> Iterator[tuple[str, str, str]]:
    """(where, importing package, imported package) for every import of one package of ours by another."""
    for path in modules():
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] == "netwright" and len(parts) > 1:
                target = parts[1] if parts[1] in LAYER or (ROOT / parts[1]).exists() else "netwright"
                if target != package_of(path):
                    yield f"{path.relative_to(ROOT)}:{line}", package_of(path), target


def allowed(one: str, other: str) -> bool:
    # `netwright` itself: only its version may be read, and only from above, where everything else is known anyway.
    if other == "netwright":
        return LAYER[one] >= 4
    return LAYER[other] < LAYER[one] or (one, other) in NEIGHBOURS


def test_the_walk_sees_imports_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "netwright"
    (root / "nn").mkdir(parents=True)
    path = root / "nn" / "norm.py"
    path.write_text(
        "import netwright.cli.main\n"
        "from netwright import tricks\n"
        "from ..data import loader\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from netwright.engine.run import Run\n"
        "def late():\n    from netwright.lab import plan\n    import_module('netwright.doctor.check')\n"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", root)
    found = {name for _, name in imports(path)}
    assert {
        "netwright.cli.main", "netwright.tricks", "netwright.data.loader", "netwright.engine.run.Run",
        "netwright.lab.plan", "netwright.doctor.check",
    } <= found  # fmt: skip
    assert {target for _, _, target in edges()} == {"cli", "tricks", "data", "engine", "lab", "doctor"}
    assert not any(allowed(one, other) for _, one, other in edges())


def test_every_package_is_in_the_table() -> None:
    packages = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packages <= set(LAYER)
    assert {path.stem for path in ROOT.glob("*.py")} == set(ABOVE)


def test_imports_point_down() -> None:
    wrong = [f"{where}: {one} imports {other}" for where, one, other in edges() if not allowed(one, other)]
    assert not wrong, "\n".join(wrong)


def test_exceptions_are_used() -> None:
    used = {(one, other) for _, one, other in edges()}
    assert used >= NEIGHBOURS


def test_nothing_but_tricks_names_a_trick() -> None:
    """Every package below recipes knows tricks by their protocol: none imports one."""
    for where, one, other in edges():
        assert other != "tricks" or LAYER[one] >= 4, where
    for path in modules():
        if package_of(path) not in ("tricks", "recipes"):
            names = [name for _, name in imports(path)]
            assert not [n for n in names if n.startswith("netwright.tricks.") and n != "netwright.tricks.TRICKS"], path


def test_relative_imports_are_not_used() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded after some code, in a process of its own."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {line.split(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "code",
    [
        "import netwright",
        "import netwright.core.spec, netwright.core.registry, netwright.core.options, netwright.core.symptoms",
        "import netwright.tricks, netwright.optim, netwright.optim.schedules, netwright.tasks, netwright.models",
        "from netwright.cli.main import code_of; assert code_of(['--help']) == 0",
        "from netwright.cli.main import code_of; assert code_of(['train', '--help']) == 0",
        "from netwright.cli.main import code_of; assert code_of(['--version']) == 0",
        "from netwright.cli.main import code_of; assert code_of(['trian']) == 2",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


def test_plain_import_needs_the_standard_library_only() -> None:
    outside = loaded_by("before = set(sys.modules)\nimport netwright") - loaded_by("") - set(sys.stdlib_module_names)
    assert outside == {"netwright"}


# What runs code that a file brings along, or takes a file's word for where its parts go.
RUNS_CODE = (
    "pickle", "_pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "yaml", "torch.hub", "torch.jit.load",
    "torch.package", "pandas.read_pickle", "torch.distributed.checkpoint", "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "shutil.unpack_archive",
)  # fmt: skip
HARMLESS = ("pickle.UnpicklingError", "torch.hub.get_dir")
METHODS = ("extractall", "unpack_archive")
MUST_SAY = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
MUST_NOT_SAY = (("weights_only", False), ("allow_pickle", True), ("trust_remote_code", True), ("shell", True))
# Who imports what a name stands for, having looked it up in a list of ours, or being given it by code of ours.
LOOK_UP = (
    "__init__.py", "bundle/__init__.py", "core/registry.py", "data/__init__.py", "data/extras.py", "data/kinds.py",
    "models/__init__.py",
)  # fmt: skip


def unsafe(code: str) -> list[str]:
    """Line and name of everything in some code that could run what a file says."""
    tree = ast.parse(code)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            pairs = [(alias.asname or alias.name.split(".")[0], alias) for alias in node.names]
            known |= {name: alias.name if alias.asname else name for name, alias in pairs}
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = [f"imports {name}" for name in set(known.values()) if _runs_code(name)]
    safe = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _says_so(node, known)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in inner:
            name = _dotted(node, known)
            if _runs_code(name) or name.split(".")[-1] in METHODS or (name in MUST_SAY and id(node) not in safe):
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            found += [f"{node.lineno}: {node.arg}"] if (node.arg, node.value.value) in MUST_NOT_SAY else []
    return found


def _dotted(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, known)}.{node.attr}"
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _runs_code(name: str) -> bool:
    beneath = (name == forbidden or name.startswith(f"{forbidden}.") for forbidden in RUNS_CODE)
    return any(beneath) and name not in HARMLESS


def _says_so(call: ast.Call, known: dict[str, str]) -> bool:
    wanted = MUST_SAY.get(_dotted(call.func, known))
    said = [(k.arg, k.value.value) for k in call.keywords if isinstance(k.value, ast.Constant)]
    return wanted in said


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p\nread = p.loads",
        "from pickle import loads as read",
        "from pickle import Unpickler",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=how)",
        "from torch import load as read\nread(path)",
        "import torch\nread = torch.load",
        "import torch\ntorch.hub.load('somebody/something')",
        "import torch.hub\ntorch.hub.load_state_dict_from_url(url)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from numpy import load\nload(path)",
        "import yaml\nyaml.load(text)",
        "import marshal",
        "import joblib",
        "eval('1')",
        "exec(code)",
        "compile(code, '', 'exec')",
        "__import__(name)",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import tarfile\ntarfile.open(path).extractall(folder)",
        "import shutil\nshutil.unpack_archive(path)",
        "datasets.load_dataset(name, trust_remote_code=True)",
    ],
)
def test_the_gate_sees_what_runs_code(code: str) -> None:
    assert unsafe(code)


def test_the_gate_lets_pass_what_does_not() -> None:
    code = (
        "import numpy as np, re, torch\nfrom pickle import UnpicklingError\n"
        "torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)\n"
        "model.eval()\nre.compile('a')\ntorch.compile(model)\ntorch.hub.get_dir()\nexcept_ = UnpicklingError\n"
    )
    assert not unsafe(code)


@pytest.mark.fault(64, "no code of ours unpickles, evaluates or unpacks what a file says: the whole tree is searched")
def test_nothing_runs_what_a_file_says() -> None:
    tree = Path(__file__).parents[1]
    paths = [*modules(), *(path for name in ("docs", "examples", "bench") for path in (tree / name).rglob("*.py"))]
    wrong = [f"{path}: {what}" for path in paths for what in unsafe(path.read_text("utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.fault(66, "modules are imported by name only where the name was looked up in a list of ours")
def test_names_are_looked_up_before_they_are_imported() -> None:
    def chosen(path: Path) -> bool:
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if _is_import_module(node)]
        return not all(isinstance(call, ast.Call) and isinstance(call.args[0], ast.Constant) for call in calls)

    assert {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if chosen(path)} == set(LOOK_UP)
