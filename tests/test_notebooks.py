"""Notebooks in examples/: they are saved with their outputs, and run from top to bottom on a tiny budget."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
BUDGETS = {"static_mdn": "STEPS = 20", "sketches": "STEPS = 2", "handwriting": "STEPS = 1\nLINES = 2"}
"""Contents of the cells with the tag "parameters" in the tests."""


def read_cells(path: Path) -> list[Any]:
    """Return the code cells of a notebook."""
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_has_a_budget() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(BUDGETS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_saved_with_its_outputs(path: Path) -> None:
    cells = read_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))  # in order, in a new kernel
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert path.stat().st_size < 1_500_000


@pytest.mark.filterwarnings("default")  # warnings of Jupyter's packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == 1
    parameters[0].source = BUDGETS[path.stem]
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # raises CellExecutionError if a cell fails
