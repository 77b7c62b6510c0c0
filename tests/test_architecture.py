"""Imports go downwards only, and the judgement knows nothing of the world."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "retrain_trigger"

FLOORS: tuple[tuple[set[str], ...], ...] = (
    ({"__main__"},),
    ({"cli"},),
    ({"questions"},),
    ({"pipeline"},),
    ({"config"},),
    ({"judge"}, {"engines"}, {"serving"}, {"process"}),
    ({"store"}, {"logs"}),
    ({"core", "__init__"},),
    ({"counts"},),
)
"""From the top down. Each floor has rooms: a module imports from its own room and from any floor below."""

PURE = {"bisect", "collections", "dataclasses", "datetime", "enum", "functools", "itertools", "math", "numpy", "typing"}
PURE |= {"statistics"}  # quantiles; its samples of chance are found by name
"""All that the judgement may import from."""

CLOCKS = {"now", "utcnow", "today", "localtime"}


def test_imports_go_downwards_only() -> None:
    assert upward(PACKAGE) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    assert cycle(PACKAGE) == []


@pytest.mark.parametrize("door", ["engines", "judge.gates"])
def test_a_door_opens_to_every_module_that_is_asked_for(door: str) -> None:
    package = import_module(f"retrain_trigger.{door}")
    asked = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == door.rpartition(".")[2]
    }
    modules = {path.stem for path in PACKAGE.joinpath(*door.split(".")).glob("*.py")}
    assert asked & modules == set(package.__all__)
    assert all(getattr(package, name).__name__ == f"retrain_trigger.{door}.{name}" for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'attic'"):
        package.attic  # noqa: B018  (asking for it is the test)


def test_the_judgement_has_no_clock_disk_process_or_unseeded_randomness() -> None:
    assert impure(PACKAGE / "judge") == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("judge/policy.py", "from retrain_trigger.process import tree"),
        ("judge/policy.py", "def late():\n    from retrain_trigger import config"),
        ("store/files.py", "import retrain_trigger.judge.policy"),
        ("store/files.py", "from ..judge import policy"),
        ("store/files.py", "from retrain_trigger.logs import formats"),
        ("core/findings.py", "if TYPE_CHECKING:\n    from retrain_trigger.store.files import write"),
        ("config/load.py", "from retrain_trigger.pipeline.run import run"),
        ("pipeline/run.py", "from retrain_trigger.cli import printing"),
        ("attic.py", ""),
    ],
)
def test_an_import_that_goes_upwards_is_found(tmp_path: Path, module: str, line: str) -> None:
    house = a_house(tmp_path)
    assert upward(house) == []
    (house / module).write_text(line)
    assert len(upward(house)) == 1
    assert upward(house)[0].startswith(module)


def test_a_circle_is_found(tmp_path: Path) -> None:
    house = a_house(tmp_path)
    assert cycle(house) == []
    (house / "pipeline/tick.py").write_text("def later():\n    from retrain_trigger.pipeline import run")
    assert set(cycle(house)) == {"retrain_trigger.pipeline.run", "retrain_trigger.pipeline.tick"}


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "from pathlib import Path",
        "def f():\n    import yaml.loader",
        "now = datetime.now(UTC)",
        "date.today()",
        "np.random.default_rng()",
        "np.random.normal()",
        "file = open('x')",
    ],
)
def test_a_judge_that_looks_out_of_the_window_is_found(tmp_path: Path, line: str) -> None:
    house = a_house(tmp_path)
    allowed = "from datetime import datetime\nimport numpy as np\nnp.random.default_rng(seed)\n"
    (house / "judge/policy.py").write_text(allowed)
    assert impure(house / "judge") == []
    (house / "judge/policy.py").write_text(allowed + line)
    assert len(impure(house / "judge")) == 1


def a_house(folder: Path) -> Path:
    house = folder / "retrain_trigger"
    modules = {
        "__init__.py": "__version__ = '1'",
        "pipeline/run.py": "from retrain_trigger import __version__\nfrom retrain_trigger.pipeline import tick",
        "pipeline/tick.py": "from retrain_trigger.store import files",
        "cli/printing.py": "from retrain_trigger.pipeline.run import run",
        "config/load.py": "from retrain_trigger.judge.policy import Patience",
        "judge/policy.py": "from retrain_trigger.core.findings import Finding",
        "process/tree.py": "from retrain_trigger.store import files",
        "logs/formats.py": "",
        "store/files.py": "import os",
        "core/findings.py": "",
    }
    for name, text in modules.items():
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text(text)
    return house


def upward(package: Path) -> list[str]:
    """Return the imports that no floor allows, as `file:line: ...`; an unknown module is one too."""
    found = []
    for path in sorted(package.rglob("*.py")):
        here, name = room(path.relative_to(package).parts[0].removesuffix(".py")), path.relative_to(package)
        if here is None:
            found.append(f"{name}: is on no floor")
            continue
        for line, module in imports(path, package):
            there = room([*module.split("."), "__init__"][1]) if module else None
            if there is None or (there != here and there[0] <= here[0]):
                found.append(f"{name}:{line}: imports {module or 'by a relative name'}")
    return found


def cycle(package: Path) -> list[str]:
    """Return the modules of a circle of imports, none where there is none."""
    graph = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): {
            module for _, module in imports(path, package) if module
        }
        for path in package.rglob("*.py")
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def impure(package: Path) -> list[str]:
    """Return what reaches for the clock, the disk, a process or chance, as `file:line: ...`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            if names - PURE - {"retrain_trigger"} or (isinstance(node, ast.Call) and reaches_out(node)):
                found.append(f"{path.name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


def reaches_out(call: ast.Call) -> bool:
    called = ast.unparse(call.func)
    last = called.rpartition(".")[2]
    if last == "default_rng":
        return not call.args
    return called in {"open", "__import__", "input"} or last in {*CLOCKS, "samples"} or ".random." in f".{called}"


def room(name: str) -> tuple[int, int] | None:
    places = {(f, r) for f, floor in enumerate(FLOORS) for r, rooms in enumerate(floor) if name in rooms}
    return places.pop() if places else None


def imports(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import of our own, wherever it stands; a relative one has no module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            modules = [""]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name if is_module(name, package) else str(node.module) for name in whole]
        else:
            continue
        for module in modules:
            if not module or module.partition(".")[0] == "retrain_trigger":
                yield node.lineno, module


def is_module(name: str, package: Path) -> bool:
    path = package.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()
