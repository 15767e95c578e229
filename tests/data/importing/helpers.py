"""Functions that write source files, import them, and identify drawings in the corpus by a number."""

from pathlib import Path
from typing import Any

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.report import Report
from mdnrnn.data.metadata import SPLITS

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path fill="none" stroke="black" d="{}"/></svg>'


def write_text(path: Path, content: str) -> Path:
    """Write `content` to `path`, create its folder, and return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def import_files(sources: Path | list[Path], recipe: Recipe | None = None, **options: Any) -> tuple[Corpus, Report]:
    """Import files, check that the report agrees with the corpus, and return both."""
    sources = [sources] if isinstance(sources, Path) else sources
    out = sources[0].parent / f"out{len(list(sources[0].parent.glob('out*')))}"
    report = import_corpus(sources, out, recipe, **options)
    corpus = pipeline.read(out)
    corpus.check()
    assert report.read == report.kept + sum(count for count, _ in report.dropped.values())
    assert (report.kept, report.points) == (len(corpus), len(corpus.event))
    assert report.splits == {split: last - first for split, (first, last) in corpus.splits.items()}
    return corpus, report


def splits_by_number(corpus: Corpus) -> dict[int, list[str]]:
    """Return the splits of the drawings with each number, which is their first offset."""
    splits: dict[int, list[str]] = {}
    for split in SPLITS:
        for i in range(*corpus.splits[split]):
            splits.setdefault(int(corpus[i].motion[0, 0]), []).append(split)
    return splits


def classes_by_number(corpus: Corpus) -> dict[int, str]:
    """Return the class of the drawing with each number, which is its first offset."""
    label = corpus.label
    assert label is not None
    return {int(corpus[i].motion[0, 0]): corpus.metadata.classes[int(label[i])] for i in range(len(corpus))}


def folder_contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
