"""Structure of the package: imports point down, packages have no cycle, imports are light, public names exist."""

import ast
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mdnrnn

ROOT = Path(mdnrnn.__file__).parent
LAYERS = {
    "errors": 0, "pen_events": 0, "version": 0, "files": 1,
    "device": 1, "multiprocess": 1, "kernels": 0,
    "distributions": 2,
    "data": 3, "data.synthetic": 4, "data.formats": 4, "data.importing": 5, "data.catalog": 6,
    "nn": 4, "models": 5,
    "training": 6, "generation": 6, "evaluation": 7,
    "render": 5, "render.figures": 6, "render.save": 7,
    "runs": 8, "export": 9, "tasks": 10, "notebook": 10, "benchmark": 11, "studio": 11,
    "cli": 12, "__main__": 13, "__init__": 13,
}  # fmt: skip
"""Layer of each module by its longest prefix; a module may import from its own layer and from lower layers."""
FILES = sorted(ROOT.rglob("*.py"))
LIGHT_MODULES = [
    "device", "errors", "files.atomic", "files.locks", "files.regular", "multiprocess", "pen_events", "version",
    "generation.sampling", "models.configs", "nn.covariance", "runs.config",
    "runs.presets", "training.config", "training.schedule",
]  # fmt: skip
"""Modules that do not import torch, so that the help of a command does not wait for it."""


def module_name(path: Path) -> str:
    """Return the dotted name of a file inside the package, for example "nn.lstm"."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def find_unit(module: str) -> str:
    """Return the longest prefix of a dotted name that is listed in LAYERS."""
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(prefix for prefix in prefixes if prefix in LAYERS)


def find_layer(module: str) -> int:
    return LAYERS[find_unit(module)]


def find_package(module: str) -> str:
    return module.split(".")[0]


@cache
def find_imports(path: Path) -> set[str]:
    """Return the dotted names inside the package that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "mdnrnn":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mdnrnn."):
            names.add(node.module.removeprefix("mdnrnn."))
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("mdnrnn.") for a in node.names if a.name.startswith("mdnrnn.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    layer = find_layer(module_name(path))
    assert not {name for name in find_imports(path) if find_layer(name) > layer}


@pytest.mark.parametrize("group", [find_package, find_unit], ids=["packages", "units of LAYERS"])
def test_imports_have_no_cycle(group: Callable[[str], str]) -> None:
    """`TopologicalSorter.prepare` raises `CycleError`, which lists the members of a cycle."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        node = group(module_name(path))
        graph.setdefault(node, set()).update(group(name) for name in find_imports(path))
    del graph["__init__"]  # imports the whole package, for type checkers only
    TopologicalSorter({node: imports - {node} for node, imports in graph.items()}).prepare()


def test_model_modules_do_not_import_each_other() -> None:
    models = {path.stem for path in (ROOT / "models").glob("*.py")} - {
        "__init__",
        "base",
        "configs",
        "kl_annealing",
        "latent",
        "state",
    }
    for name in models:
        others = {f"models.{other}" for other in models - {name}}
        assert not find_imports(ROOT / "models" / f"{name}.py") & others


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (["mdnrnn", "mdnrnn.cli"], ["torch", "numpy", "matplotlib"]),
        ([f"mdnrnn.{name}" for name in LIGHT_MODULES], ["torch", "matplotlib"]),
    ],
    ids=["package", "light modules"],
)
def test_import_does_not_load_heavy_libraries(modules: list[str], heavy: list[str]) -> None:
    code = f"import sys, {', '.join(modules)}; print([name for name in {heavy} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert process.stdout.strip() == "[]"


def test_public_names_exist_and_are_declared_for_type_checkers() -> None:
    assert all(getattr(mdnrnn, name) is not None for name in mdnrnn.__all__)
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    declared = {alias.asname for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared | {"__version__"} == set(mdnrnn.__all__)
    assert (ROOT / "py.typed").exists()


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mdnrnn' has no attribute 'unknown'"):
        _ = mdnrnn.unknown
