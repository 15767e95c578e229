"""Names of corpora, bundled or downloaded, and opening anything that a user may mean by DATA: a name, a file, a
folder."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.download import SECONDS, STALL, cache_folder, download, forget, remembered
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import InputError
from mdnrnn.files import atomic_path, write_json

_ORIGIN = "download.json"
_CACHE_ADVICE = "free some space, or set MDNRNN_CACHE to another folder"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A corpus that can be asked for by its name: bundled (`file`), downloaded (`url`), made (`make`), or got
    `by_hand`."""

    name: str
    what: str
    license: str
    source: str
    """Who made it, or where it is explained."""
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    """None: unknown; that of the first download is remembered."""
    size: int | None = None
    """Bytes of the file, where they are known."""
    largest: int = 1 << 26
    """The most bytes that its download may have."""
    absent: str = "it has moved; update mdnrnn"
    """What to tell the user where the server does not have it."""
    by_hand: str = ""
    """How to come by a corpus that is not downloaded."""
    make: Callable[[], Corpus] | None = None
    """Makes the corpus, the same every time."""
    made: str = ""
    """What says that one in the cache was made like this."""

    @property
    def path(self) -> Path:
        """Where its corpus lies: bundled, in the installed package or beside it in a checkout; else in the cache."""
        if self.file is None:
            return cache_folder() / "corpora" / self.name
        package = Path(__file__).parents[1]
        installed = package / "datasets" / self.file
        return installed if installed.exists() else package.parent / "datasets" / self.file


Importer = Callable[[Path, Path, Entry], object]
"""Turns a downloaded file into a corpus folder that carries the entry's name, license and source."""

_SKETCH_RNN = "https://github.com/hardmaru/sketch-rnn-datasets/raw/master"
_QUICKDRAW = "https://storage.googleapis.com/quickdraw_dataset"
_QUICKDRAW_FILES = {  # name: what one file of it is, where, the most bytes
    "quickdraw": ("sketch-rnn .npz, 70,000 / 2,500 / 2,500", "sketchrnn/CATEGORY.npz", 1 << 30),
    "quickdraw-simplified": ("simplified .ndjson", "full/simplified/CATEGORY.ndjson", 1 << 30),
    "quickdraw-raw": ("raw .ndjson with times", "full/raw/CATEGORY.ndjson", 1 << 32),
    "quickdraw-binary": ("simplified, binary", "full/binary/CATEGORY.bin", 1 << 30),
}
_CATEGORY = re.compile(r"(?=.{1,40}$)[A-Za-z0-9]+(?:[ -][A-Za-z0-9]+)*")


def _pen_text() -> Corpus:
    from mdnrnn.data.synthetic.corpora import make_pen_text  # the fonts are read when they are needed

    return make_pen_text()


def _rollouts() -> Corpus:
    from mdnrnn.data.synthetic.corpora import make_rollouts

    return make_rollouts()


_ENTRIES = (
    Entry(
        name="doodles",
        what="12 classes of drawings, 500 each, made by this project",
        license="MIT",
        source="mdnrnn.data.synthetic",
        file="doodles.npz",
        size=1_395_832,
    ),
    Entry(
        name="pen-text",
        what="lines of text in simulated hands, printed and joined, 12,000 / 600 / 600; made in two minutes",
        license="MIT",
        source="mdnrnn.data.synthetic; the letters are the Hershey fonts",
        make=_pen_text,
        made="1",
    ),
    Entry(
        name="rollouts",
        what="a small controlled system whose likelihood is known, for world models, 800 / 100 / 100; made in a second",
        license="MIT",
        source="mdnrnn.data.synthetic",
        make=_rollouts,
        made="1",
    ),
    Entry(
        name="aaron_sheep",
        what="drawings of sheep, 7400 / 300 / 300",
        license="CC BY-NC 4.0",
        source="Aaron Koblin, The Sheep Market; github.com/hardmaru/sketch-rnn-datasets",
        url=f"{_SKETCH_RNN}/aaron_sheep/aaron_sheep.npz",
        size=2_287_653,
        sha256="65f8e51e43587661798ac137a204c9e049e0d11dcd50cba372ae3ca32de8b54c",
    ),
    Entry(
        name="short_kanji",
        what="kanji, 10000 / 600 / 500",
        license="CC BY-SA 3.0",
        source="Ulrich Apel, KanjiVG; github.com/hardmaru/sketch-rnn-datasets",
        url=f"{_SKETCH_RNN}/kanji/short_kanji.npz",
        size=1_439_856,
        sha256="f6855ba03d58f44830499dd98e7cb99f46c970651f4f16f2d886398f34709914",
    ),
    Entry(
        name="kanji",
        what="kanji, the larger set",
        license="CC BY-SA 3.0",
        source="Ulrich Apel, KanjiVG; github.com/hardmaru/sketch-rnn-datasets",
        url=f"{_SKETCH_RNN}/kanji/kanji.rdp25.npz",
    ),
    Entry(
        name="omniglot",
        what="symbols of 50 alphabets, 30000 / 1000 / 1000",
        license="MIT",
        source="Brenden Lake, Omniglot; github.com/hardmaru/sketch-rnn-datasets",
        url=f"{_SKETCH_RNN}/omniglot/omniglot.npz",
        size=2_280_239,
        sha256="bd5277621a8c577919491dfa729a59a8b5c216cff9e4fda9cef532db29f120c7",
    ),
    Entry(
        name="tiny-performances",
        what="touch-screen performances of 5 seconds, made with MicroJam",
        license="MIT",
        source="Charles P. Martin; github.com/cpmpercussion/creative-prediction",
        url="https://github.com/cpmpercussion/creative-prediction/raw/master/datasets/tiny_performance_datasets.npz",
        sha256="e7d9ca619066eac8535c61cb01ec5bfb7822e088e9ee1129b03c7caeb80e0c44",
    ),
    Entry(
        name="kanjivg",
        what="kanji as Bézier strokes, one SVG a character; got by hand",
        license="CC BY-SA 3.0",
        source="Ulrich Apel, KanjiVG; github.com/KanjiVG/kanjivg",
        by_hand="load a kanjivg-...-main.zip from https://github.com/KanjiVG/kanjivg/releases, unpack it, "
        "then: mdnrnn data import ./kanji --out FOLDER",
    ),
    Entry(
        name="iam-ondb",
        what="English handwriting on a whiteboard with its text; asks for registration, got by hand",
        license="non-commercial research only, after registration",
        source="IAM On-Line Handwriting Database",
        by_hand="register at https://fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database (research only), "
        "unpack lineStrokes-all.tar.gz and ascii-all.tar.gz in one folder, "
        "then: mdnrnn data import THAT_FOLDER --out FOLDER",
    ),
    *(
        Entry(
            name=f"{name}/CATEGORY",
            what=f"Quick, Draw!, any of its 345 categories (cat, The Eiffel Tower): {what}",
            license="CC BY 4.0",
            source="Google, Quick, Draw!; github.com/googlecreativelab/quickdraw-dataset",
            url=f"{_QUICKDRAW}/{file}",
            largest=largest,
            absent="no such category; expected one of the 345 in "
            "https://github.com/googlecreativelab/quickdraw-dataset/blob/master/categories.txt",
        )
        for name, (what, file, largest) in _QUICKDRAW_FILES.items()
    ),
)
CATALOG = {entry.name: entry for entry in _ENTRIES}
"""Where a name ends in /CATEGORY, any category may stand there: `find` fills it in."""


def find(name: str) -> Entry | None:
    """The entry called `name`, if there is one."""
    kind, _, category = name.partition("/")
    family = CATALOG.get(f"{kind}/CATEGORY")
    if name in CATALOG or family is None or family.url is None or not _CATEGORY.fullmatch(category):
        return CATALOG.get(name)
    return dataclasses.replace(family, name=name, url=family.url.replace("CATEGORY", quote(category)))


def is_catalog_name(data: str) -> bool:
    """Whether `data` names a corpus of the catalog; a path of that name counts where the corpus is not at hand."""
    entry = find(data)
    return entry is not None and (entry.path.exists() or not Path(data).exists())


def resolve(data: str) -> Path:
    """Where the corpus that `data` names lies, or else `data` as a path."""
    entry = find(data)
    if entry is None or not is_catalog_name(data):
        return Path(data)
    if not entry.path.exists():
        how = entry.by_hand or f"get it with: mdnrnn data get {shlex.quote(data)}"
        raise InputError(f"{data} is not on this machine; {how}")
    return entry.path


def open_corpus(data: str, recipe: Recipe | None = None) -> Corpus:
    """The corpus that `data` names: a catalog name, or else the path of a file or folder of any known format.

    Args:
        recipe: what is done to the drawings of another format as they are read.
    """
    return pipeline.read(resolve(data), recipe)


def fetch(entry: Entry, *, seconds: float = SECONDS, stall: float = STALL) -> Path:
    """The file of an entry in the cache: downloaded, within so many `seconds`, if it is not there or damaged."""
    if entry.url is None:
        raise InputError(
            f"{entry.name} is not downloaded; {entry.by_hand or 'it is bundled or made: mdnrnn data get has it'}"
        )
    path = cache_folder() / "downloads" / f"{entry.name}{Path(urlsplit(entry.url).path).suffix}"
    download(
        entry.url,
        path,
        sha256=entry.sha256,
        largest=entry.largest,
        absent=entry.absent,
        seconds=seconds,
        stall=stall,
    )
    return path


def get(name: str, importer: Importer) -> Path:
    """Where the corpus called `name` lies on this machine: downloaded and imported, if it or its file is not there."""
    entry = find(name)
    if entry is None:
        raise InputError(
            f"unknown corpus {name!r}; expected one of {', '.join(CATALOG)} (a CATEGORY is up to 40 letters, digits, "
            "spaces and hyphens)"
        )
    if entry.file is not None:
        return entry.path
    if entry.make is not None:
        if _origin(entry.path) != {"made": entry.made}:
            corpus = entry.make()
            _keep(entry, {"made": entry.made}, lambda fresh: native.write(corpus, fresh))
        return entry.path
    source = fetch(entry)
    origin = {"url": entry.url, "sha256": entry.sha256 or remembered(entry.url, source)}
    if _origin(entry.path) != origin:
        try:
            _keep(entry, origin, lambda fresh: importer(source, fresh, entry))
        except InputError:
            if entry.sha256 is None and not entry.path.exists():
                forget(source)  # nobody vouches for it: what came first may have been a log-in page
            raise
    return entry.path


def _origin(folder: Path) -> object:
    try:
        return json.loads((folder / _ORIGIN).read_bytes())
    except (OSError, ValueError):
        return None


def _keep(entry: Entry, origin: object, put: Callable[[Path], object]) -> None:
    """`put` the corpus beside its final place, then rename it: a corpus in the cache is always whole."""
    try:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(entry.path, replace=True, advice=_CACHE_ADVICE) as folder:
            put(folder)
            write_json(folder / _ORIGIN, origin)
    except OSError as error:
        raise InputError(f"cannot keep {entry.path}: {error.strerror or error}; {_CACHE_ADVICE}") from error
