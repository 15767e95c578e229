"""`mdnrnn data list|get|import|export|info|draw`: what there is to train on."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from mdnrnn import render
from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.data import catalog, formats
from mdnrnn.data.catalog import CATALOG, open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.report import Report
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.render import Color
from mdnrnn.render import save as saving

Data = tyro.conf.Positional[str]
Json = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The corpora that can be asked for by name."""

    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class GetOptions:
    """Download a corpus of the catalog, once, and import it; then its name can be used wherever DATA is asked for."""

    name: Data
    """As mdnrnn data list shows it; of Quick, Draw! any category, such as quickdraw/cat."""


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """What a corpus holds."""

    data: Data
    """A catalog name, a file or a folder."""
    json: Json = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """A grid of the drawings of a corpus."""

    data: Data
    """A catalog name, a file or a folder."""
    out: Path
    """The picture to write: .svg .png .pdf .gif."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 25
    """How many drawings."""
    split: str | None = None
    """train, valid or test; by default the first that has any."""
    first: int | None = None
    """Take them one after the other from here on; by default they are spread evenly over the split."""
    label: str | None = None
    """This class only."""
    color: Color | Literal["time"] = "ink"
    """Of the lines: one ink, by stroke, or by order; of touch performances also by time, each on its whole screen."""
    columns: int | None = None
    """Of the grid; by default about as many as rows."""
    animate: tyro.conf.FlagCreatePairsOff[bool] = False
    """An SVG that draws itself; with color time, in real time."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Read drawings of any known format once, and keep them as a corpus that opens at once."""

    sources: Annotated[list[str], tyro.conf.Positional]
    """Catalog names, files, folders, patterns such as 'cats/*.svg', or - for lines of JSON on stdin."""
    out: Path
    """The corpus to write: one file if it ends in .npz, else a folder."""
    name: str | None = None
    """What it is called; by default as `out` is."""
    license: str | None = None
    """What its drawings may be used for."""
    recipe: Annotated[Recipe, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=Recipe
    )
    workers: int = 1
    """Processes that parse; the corpus is the same for any number."""
    json: Json = False
    """Print the report as JSON."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write drawings in a format that other programs read; `data import` reads all of them again."""

    data: Data
    """A catalog name, a file or a folder."""
    out: Path
    """What to write: a file; of svg, and of several microjam performances, a folder with a file each."""
    format: Literal["corpus", "sketchrnn", "ndjson", "svg", "inkml", "microjam"]
    """corpus: our own, a folder or an .npz; sketchrnn: the .npz of the original tools; ndjson: Quick, Draw!'s
    simplified layout; svg; inkml; microjam: CSV of touch performances."""
    split: str | None = None
    """This split only: train, valid or test."""


def main(arguments: list[str]) -> int:
    """Run the subcommand."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(
            f"usage: mdnrnn data {{{','.join(_SUBCOMMANDS)}}} ...\n\nmdnrnn data SUBCOMMAND --help tells its options."
        )
        return 0 if arguments else 2
    if name not in _SUBCOMMANDS:
        raise InputError(f"unknown subcommand data {name!r}; expected one of {', '.join(_SUBCOMMANDS)}")
    if threading.current_thread() is threading.main_thread():  # no other may
        signal.signal(signal.SIGTERM, _stop)
    options, run = _SUBCOMMANDS[name]
    run(parse(options, f"data {name}", arguments[1:]))
    return 0


def _stop(number: int, _frame: object) -> None:
    """End as Ctrl-C does: nothing half-written is left behind."""
    sys.exit(128 + number)


def _list(options: ListOptions) -> None:
    if options.json:
        print_json([_listed(entry) for entry in CATALOG.values()])
        return
    for entry in CATALOG.values():
        size = f", {entry.size / 1e6:.1f} MB" if entry.size else ""
        print(f"{entry.name}{size}{', on this machine' if entry.path.exists() else ''}")
        print(f"    {entry.what}\n    {entry.license}; {entry.source}")


def _listed(entry: catalog.Entry) -> dict[str, Any]:
    metadata = {name: getattr(entry, name) for name in ("name", "what", "size", "license", "source")}
    return {**metadata, "here": entry.path.exists()}


def _get(options: GetOptions) -> None:
    folder = catalog.get(options.name, _import_download)
    entry = catalog.find(options.name)
    if entry is not None:
        print(f"{options.name}: {folder}\nlicense: {entry.license}; source: {entry.source}")


def _import_download(source: Path, out: Path, entry: catalog.Entry) -> None:
    import_corpus([source], out, name=entry.name, license=entry.license, source=entry.source)


def _info(options: InfoOptions) -> None:
    corpus = open_corpus(options.data)
    metadata = describe(corpus)
    if options.json:
        print_json(metadata)
        return
    for key, value in metadata.items():
        plain = not isinstance(value, str) or value.isprintable()
        print(f"{key:20}{value if plain else repr(value)}")


def describe(corpus: Corpus) -> dict[str, Any]:
    """The figures of a corpus; reads all of it."""
    corpus.check()
    lengths = corpus.lengths
    splits = {name: last - first for name, (first, last) in corpus.splits.items()}
    metadata = asdict(corpus.metadata)
    told: dict[str, Any] = {}
    if corpus.text is not None:
        told = {"characters_a_text": float(corpus.characters.mean()), "alphabet": corpus.alphabet}
    if corpus.writer is not None:
        told["writers"] = len(np.unique(corpus.writer))
    if corpus.inputs is not None:
        told["inputs"] = corpus.inputs.shape[1]
    return {
        **metadata,
        "classes": list(metadata["classes"]),
        "splits": splits,
        "skipped": dict(corpus.skipped),
        "points": len(corpus.event),
        "points_a_sequence": {f"{q}%": float(np.percentile(lengths, q)) for q in (0, 5, 50, 95, 100)},
        **_of_motion(corpus),
        **told,
        "fingerprint": corpus.fingerprint,
    }


def _of_motion(corpus: Corpus) -> dict[str, Any]:
    """Of drawings their strokes and the scale of their offsets; of what has values a step, ends and scales."""
    event = np.asarray(corpus.event)
    filled = [name for name, (first, last) in corpus.splits.items() if first < last]
    scale = Normalizer.of(corpus, "train" if "train" in filled else filled[0]).scale
    if corpus.metadata.is_drawing:
        return {"strokes_a_sequence": float((event > 0).sum() / len(corpus)), "offset_scale": scale[0]}
    return {"ended": int((event == END).sum()), "scales": dict(zip(corpus.metadata.features, scale, strict=True))}


def _draw(options: DrawOptions) -> None:
    saving.check_out(options.out, render.ENDINGS)
    corpus = open_corpus(options.data)
    corpus.check()
    filled = [name for name, (first, last) in corpus.splits.items() if first < last]
    indices: Items[int] = corpus.indices(options.split or next(iter(filled), "train"))
    if options.label is not None:
        wanted = corpus.metadata.label(options.label)
        label = np.asarray(corpus.label)[indices[0] : indices[-1] + 1]
        indices = (indices[0] + np.flatnonzero(label == wanted)).tolist()
    if options.n < 1 or (options.first or 0) < 0:
        raise InputError(f"-n {options.n} --first {options.first or 0}; expected 1 or more drawings, from 0 on")
    if options.first is None:
        count = min(options.n, len(indices))
        chosen = [indices[i * len(indices) // count] for i in range(count)]
    else:
        chosen = list(indices[options.first : options.first + options.n])
    if not chosen:
        raise InputError(f"no drawing from {options.first or 0} on, -n {options.n}; there are {len(indices)}")
    look: dict[str, Any] = {"columns": options.columns, "labels": True, "animate": options.animate}
    if options.color == "time":
        saving.draw_performances(corpus, chosen, options.out, **look)
    else:
        saving.draw(corpus, chosen, options.out, color=options.color, **look)
    print(f"{options.out}: {len(chosen)} drawings")


def _import(options: ImportOptions) -> None:
    sources = [str(catalog.place_of(each)) if catalog.is_name(each) else each for each in options.sources]
    report = import_corpus(
        sources,
        options.out,
        options.recipe,
        name=options.name,
        license=options.license,
        workers=options.workers,
        progress=sys.stderr.isatty(),
    )
    if options.json:
        print_json(asdict(report))
        return
    print(f"{options.out}: {report.kept} of {report.read} sequences kept, {report.points} points")
    print("  " + ", ".join(f"{count} {split}" for split, count in report.splits.items()) + _classes(report))
    print("  points a sequence: " + ", ".join(f"{value} ({q})" for q, value in report.lengths.items()))
    for what, counts in (("dropped", report.dropped), ("repaired", report.repaired), ("bad files", report.bad_files)):
        for reason, (count, first) in counts.items():
            print(f"  {what}: {count} {reason}; the first: {first}")
    count, first = report.unknown_files
    if count:
        print(f"  passed over: {count} files of no known format; the first: {first}")
    for split, kept in report.splits.items():
        if not kept:
            print(f"  no drawing fell into {split}, which a training needs; import more, or give --split 0.8,0.1,0.1")


def _export(options: ExportOptions) -> None:
    if not options.out.parent.is_dir():
        raise InputError(f"{options.out}: there is no folder {options.out.parent}; make it, or choose another place")
    if options.out.exists():
        raise InputError(f"{options.out} is there already; choose another name")
    corpus = open_corpus(options.data)
    corpus.check()
    corpus = corpus if options.split is None else corpus.part(options.split)
    formats.WRITERS[options.format](corpus, options.out)
    print(f"{options.out}: {len(corpus)} sequences")


def _classes(report: Report) -> str:
    return f"; {report.classes} classes" if report.classes else ""


_SUBCOMMANDS: dict[str, tuple[type[Any], Any]] = {
    "list": (ListOptions, _list),
    "get": (GetOptions, _get),
    "info": (InfoOptions, _info),
    "draw": (DrawOptions, _draw),
    "import": (ImportOptions, _import),
    "export": (ExportOptions, _export),
}
