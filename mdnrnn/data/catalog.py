"""Names of corpora, and opening anything that a user may mean by DATA: a name, a file, a folder."""

from dataclasses import dataclass
from pathlib import Path

from mdnrnn.data import formats
from mdnrnn.data.corpus import Corpus


@dataclass(frozen=True)
class Entry:
    """A corpus that can be asked for by its name."""

    name: str
    what: str
    licence: str
    file: str

    @property
    def path(self) -> Path:
        """Where the bundled file lies: in the installed package, or beside it in a checkout."""
        package = Path(__file__).parents[1]
        installed = package / "datasets" / self.file
        return installed if installed.exists() else package.parent / "datasets" / self.file


CATALOG = {
    entry.name: entry
    for entry in (Entry("doodles", "12 classes of drawings, 500 each, made by this project", "MIT", "doodles.npz"),)
}


def open_corpus(data: str) -> Corpus:
    """The corpus that `data` names: a catalog name, or else the path of a file or folder of any known format."""
    return formats.read(CATALOG[data].path if data in CATALOG else Path(data))
