"""Imports point down only, and importing the package does no work."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mdnrnn

ROOT = Path(mdnrnn.__file__).parent
LAYERS = {
    "errors": 0, "events": 0, "version": 0, "files": 1, "device": 1, "multiprocess": 1, "kernels": 0,
    "distributions": 2,
    "data": 3, "data.synthetic": 4, "data.formats": 4, "data.importing": 5, "data.catalog": 6,
    "nn": 4, "models": 5,
    "training": 6, "generation": 6, "evaluation": 7,
    "render": 5, "render.figures": 6, "render.save": 7,
    "runs": 8, "tasks": 9, "export": 10, "benchmark": 10, "studio": 11,
    "cli": 12, "__main__": 13, "__init__": 13,
}  # fmt: skip
"""A module may import from its own layer and from those below."""
FILES = sorted(ROOT.rglob("*.py"))


def layer(module: str) -> int:
    """Return the layer of a dotted name inside the package, for example "nn.lstm": that of its longest listed prefix."""
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(LAYERS[prefix] for prefix in prefixes if prefix in LAYERS)


def imported(path: Path) -> set[str]:
    """Names of this package's modules that a file imports, without the package's name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "mdnrnn":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mdnrnn."):
            names.add(node.module.removeprefix("mdnrnn."))
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("mdnrnn.") for a in node.names if a.name.startswith("mdnrnn.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_points_up(path: Path) -> None:
    own = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    upward = {name for name in imported(path) if layer(name) > layer(own)}
    assert not upward


def test_concrete_models_do_not_import_each_other() -> None:
    concrete = {path.stem for path in (ROOT / "models").glob("*.py")} - {"__init__", "base", "configs", "latent"}
    for name in concrete:
        others = {f"models.{other}" for other in concrete - {name}}
        assert not imported(ROOT / "models" / f"{name}.py") & others


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, mdnrnn, mdnrnn.cli; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(mdnrnn, name) is not None for name in mdnrnn.__all__)
