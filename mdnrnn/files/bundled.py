"""Paths of the datasets and checkpoints that are part of the package."""

from pathlib import Path


def bundled_path(folder: str) -> Path:
    """Return the path of the bundled folder "datasets" or "checkpoints".

    The folder is inside an installed package. In a checkout of the repository it is beside the package.
    """
    package = Path(__file__).parents[1]
    installed = package / folder
    return installed if installed.exists() else package.parent / folder
