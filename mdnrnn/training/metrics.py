"""The lines of a training's metrics.jsonl."""

import contextlib
import json
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records in a folder that was trained in; a line cut short by a crash is left out; none before the first."""
    records: list[dict[str, Any]] = []
    if not (folder / METRICS_FILE).exists():
        return records
    for line in (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records
