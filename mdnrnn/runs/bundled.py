"""Find a run by the path of its folder, or by name if it is a trained model that ships with mdnrnn."""

from __future__ import annotations

from pathlib import Path

from mdnrnn.errors import InputError
from mdnrnn.files.bundled import bundled_path
from mdnrnn.runs.config import CONFIG_FILE


def bundled_runs() -> dict[str, Path]:
    """Return the folders of the trained models that ship with mdnrnn, by name."""
    configs = sorted(bundled_path("checkpoints").glob(f"*/{CONFIG_FILE}"))
    return {config.parent.name: config.parent for config in configs}


def find_run(run: Path | str) -> Path:
    """Return the run folder `run` or, if no such run folder exists, the folder of the bundled model named `run`.

    Raises:
        InputError: there is neither a folder nor a bundled model of that name.
    """
    folder, bundled = Path(run), bundled_runs()
    if (folder / CONFIG_FILE).exists():
        return folder
    if str(run) in bundled:
        return bundled[str(run)]
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder; expected one made by mdnrnn train, or {', '.join(bundled)}")
    return folder


def name_run(folder: Path) -> str:
    """Return the name of a bundled model or, for another run folder, its absolute path; `find_run` accepts both."""
    names = {path.resolve(): name for name, path in bundled_runs().items()}
    return names.get(folder.resolve(), str(folder.resolve()))
