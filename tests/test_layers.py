"""Imports point down only, and importing the package does no work."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mdnrnn

ROOT = Path(mdnrnn.__file__).parent
LAYERS = {
    "errors": 0, "files": 0, "version": 0, "device": 0, "processes": 0, "workers": 0, "kernels": 0,
    "distributions": 0, "data": 0,
    "nn": 1, "render": 1,
    "models": 2,
    "training": 3, "beginnings": 3, "manner": 3, "generation": 3, "evaluation": 3, "completion": 3,
    "presets": 4, "runs": 4, "run_config": 4, "launch": 4, "latents": 4, "saving": 4, "writing": 4,
    "performing": 4, "dreaming": 4, "environment": 4,
    "benchmark": 4, "demos": 4, "cli": 5, "__main__": 6, "__init__": 6,
}  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def layer(module: str) -> int:
    """Of a dotted name below the package, "nn.lstm" say."""
    return LAYERS[module.split(".")[0]]


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
    concrete = {path.stem for path in (ROOT / "models").glob("*.py")} - {"__init__", "base", "latent"}
    for name in concrete:
        others = {f"models.{other}" for other in concrete - {name}}
        assert not imported(ROOT / "models" / f"{name}.py") & others


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, mdnrnn, mdnrnn.cli; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(mdnrnn, name) is not None for name in mdnrnn.__all__)
