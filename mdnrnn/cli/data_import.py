"""`mdnrnn data import`: import drawings, and print the report."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from mdnrnn.cli.options import Json, print_json
from mdnrnn.data import catalog
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.report import Report
from mdnrnn.errors import quantity


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Import drawings in any supported format as a corpus.

    A corpus is a data set in the format of this package. It is read from disk as needed, so that it opens at once and
    can be larger than the memory.
    """

    sources: Annotated[list[str], Positional, arg(metavar="SOURCE [SOURCE ...]")]
    """Data to import: catalog names, files, folders, patterns such as 'cats/*.svg', or - for JSON lines from stdin."""
    out: Path
    """Corpus to write: a file if the name ends in .npz, else a folder."""
    name: str | None = None
    """Name of the corpus; by default the name of --out."""
    license: str | None = None
    """License of the drawings."""
    recipe: Annotated[Recipe, OmitArgPrefixes, arg(name="")] = dataclasses.field(default_factory=Recipe)
    workers: int = 1
    """Number of worker processes. It has no effect on the corpus."""
    json: Json = False

    def run(self) -> None:
        """Import the drawings and print a report."""
        sources = [str(catalog.resolve(each)) if catalog.is_catalog_name(each) else each for each in self.sources]
        report = import_corpus(
            sources,
            self.out,
            self.recipe,
            name=self.name,
            license=self.license,
            workers=self.workers,
            progress=sys.stderr.isatty(),
        )
        if warning := report.describe_fills():
            print(f"warning: {warning}", file=sys.stderr)
        if self.json:
            print_json(asdict(report))
        else:
            print(_format_report(report, self.out))


def _format_report(report: Report, out: Path) -> str:
    """Return the report of an import as text."""
    splits = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    classes = f"; {quantity(report.classes, 'classes')}" if report.classes else ""
    lengths = ", ".join(f"{length} ({quantile})" for quantile, length in report.lengths.items())
    lines = [
        f"{out}: {report.kept} of {quantity(report.read, 'sequences')} kept, {quantity(report.points, 'points')}",
        f"  {splits}{classes}",
        f"  points per sequence: {lengths}",
    ]
    remarks = {
        "dropped": report.dropped,
        "repaired": report.repaired,
        "not imported": report.lost,
        "bad files": report.bad_files,
    }
    for kind, counts in remarks.items():
        lines += [f"  {kind} ({reason}): {count}; first: {first}" for reason, (count, first) in counts.items()]
    lines += [f"  notice: {notice}" for notice in report.notices]
    count, first = report.unknown_files
    if count:
        kinds = ", ".join(f"{number} {kind}" for kind, number in report.unknown_kinds.items())
        lines.append(f"  ignored: {quantity(count, 'files of unknown format')} ({kinds}); first: {first}")
    for split, kept in report.splits.items():
        if not kept:
            lines.append(
                f"  the split {split} is empty, but training needs it; import more data, or pass --split 0.8,0.1,0.1"
            )
    return "\n".join(lines)
