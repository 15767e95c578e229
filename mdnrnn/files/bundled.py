"""Paths of the datasets and checkpoints that are part of the package."""

from pathlib import Path


def bundled_path(folder: str) -> Path:
    """Return the path of the bundled folder "datasets" or "checkpoints".

    If the package is installed, the folder is inside it. In a checkout of the repository, the folder is beside it.
    """
    package = Path(__file__).parents[1]
    installed = package / folder
    return installed if installed.exists() else package.parent / folder
