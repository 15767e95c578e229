"""The names of corpora, and what `get` and `open_corpus` make of them."""

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mdnrnn.data.catalog import CATALOG, Entry, fetch, find, get, is_name, open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError
from mdnrnn.files import make_folder
from tests.helpers import random_corpus

BODY = b"as many points as there are bytes"


class Imports:
    """An importer: a corpus of one sequence, as long as the file."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, source: Path, out: Path, entry: Entry) -> None:
        self.calls += 1
        corpus = random_corpus([len(source.read_bytes())])
        metadata = dataclasses.replace(corpus.metadata, name=entry.name, license=entry.license, source=entry.source)
        native.write(dataclasses.replace(corpus, metadata=metadata), out)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("MDNRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder that a server on loopback serves, and its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def add(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Entry]:
    """Serves BODY as a file, and puts an entry for it into the catalog."""
    folder, address = served

    def put(name: str, file: str, **fields: str) -> Entry:
        (folder / file).write_bytes(BODY)
        settings = {"what": "a test", "license": "CC0", "source": "a server", "url": f"{address}/{file}", **fields}
        entry = Entry(name=name, **settings)  # type: ignore[arg-type]
        monkeypatch.setitem(CATALOG, name, entry)
        return entry

    return put


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
def test_an_entry_is_bundled_or_downloaded_or_got_by_hand(entry: Entry) -> None:
    assert sum(map(bool, (entry.file, entry.url, entry.by_hand, entry.make))) == 1
    assert entry.license
    assert entry.source
    if entry.url:
        assert urlsplit(entry.url).scheme == "https"
        assert Path(urlsplit(entry.url).path).suffix in (".npz", ".ndjson", ".bin")
    assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32


@pytest.mark.shared
@pytest.mark.parametrize("name", ["aaron_sheep", "short_kanji", "omniglot"])
def test_the_checksums_are_those_of_the_real_files(shared_data: Path, name: str) -> None:
    path = shared_data / "sketchrnn" / f"{name}.npz"
    entry = CATALOG[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert path.stat().st_size == entry.size


def test_the_size_of_the_bundled_corpus_is_that_of_its_file() -> None:
    assert CATALOG["doodles"].size == CATALOG["doodles"].path.stat().st_size


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("quickdraw/cat", "sketchrnn/cat.npz"),
        ("quickdraw/t-shirt", "sketchrnn/t-shirt.npz"),
        ("quickdraw-simplified/The Eiffel Tower", "full/simplified/The%20Eiffel%20Tower.ndjson"),
        ("quickdraw-raw/The Great Wall of China", "full/raw/The%20Great%20Wall%20of%20China.ndjson"),
        ("quickdraw-binary/ice cream", "full/binary/ice%20cream.bin"),
    ],
)
def test_a_category_has_an_address_and_a_place(cache: Path, name: str, url: str) -> None:
    entry = find(name)
    assert entry is not None
    assert entry.url == f"https://storage.googleapis.com/quickdraw_dataset/{url}"
    assert (entry.name, entry.path) == (name, cache / "corpora" / name)
    assert is_name(name)


@pytest.mark.parametrize(
    "data",
    [
        "", ".", "..", "quickdraw", "quickdraw/", "quickdraw/..", "quickdraw/../cat", "quickdraw/a/b", "quickdraw//cat",
        "quickdraw/%2e%2e", "quickdraw/cat.npz", "quickdraw/cat ", "quickdraw/ cat", "quickdraw/cat\n", "quickdraw/-a",
        "quickdraw/a\\b", "quickdraw/a?b", "quickdraw/a#b", "quickdraw/Zürich", "quickdraw/\0", "other/cat",
        "/quickdraw/cat", "quickdraw/" + "a" * 41, "Doodles", "doodles/",
    ],
)  # fmt: skip
def test_anything_else_is_no_name(data: str) -> None:
    assert not is_name(data)
    with pytest.raises(
        InputError, match=r"unknown corpus .*expected one of doodles, pen-text, rollouts, aaron_sheep"
    ) as caught:
        get(data, Imports())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aaron_sheep", "aaron_sheep is not on this machine; get it with: mdnrnn data get aaron_sheep$"),
        ("quickdraw/The Eiffel Tower", "get it with: mdnrnn data get 'quickdraw/The Eiffel Tower'$"),
        ("iam-ondb", "register at https://.* then: mdnrnn data import "),
        ("kanjivg", "load a .* then: mdnrnn data import "),
    ],
)
def test_a_corpus_not_on_this_machine_is_told_with_the_way_to_get_it(name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        open_corpus(name)


def test_a_path_called_as_a_corpus_counts_until_that_is_there(cache: Path) -> None:
    Path("kanji").mkdir()
    Path("kanji/one.svg").write_text('<svg><path d="M0 0 L3 4"/></svg>')
    assert not is_name("kanji")
    assert open_corpus("kanji").metadata.source == "kanji"
    native.write(random_corpus([3]), make_folder(cache / "corpora") / "kanji")
    assert is_name("kanji")
    assert open_corpus("kanji").metadata.name == "random"


def test_a_corpus_is_made_once(cache: Path) -> None:
    folder = get("rollouts", Imports())
    assert folder == cache / "corpora" / "rollouts"
    made = (folder / "motion.npy").stat().st_mtime_ns
    assert get("rollouts", Imports()) == folder
    assert (folder / "motion.npy").stat().st_mtime_ns == made
    corpus = open_corpus("rollouts")
    corpus.check()
    assert dict(corpus.splits) == {"train": (0, 800), "valid": (800, 900), "test": (900, 1000)}
    assert 90_000 < corpus.rows("train").stop < 110_000


def test_a_bundled_corpus_needs_no_download(cache: Path) -> None:
    Path("doodles").mkdir()
    assert get("doodles", Imports()) == CATALOG["doodles"].path
    with pytest.raises(InputError, match="it is bundled"):
        fetch(CATALOG["doodles"])
    assert not cache.exists()


@pytest.mark.parametrize("name", ["iam-ondb", "kanjivg"])
def test_what_is_got_by_hand_is_explained(cache: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is not downloaded; .*https://.*mdnrnn data import"):
        get(name, Imports())
    assert not cache.exists()


@pytest.mark.parametrize(
    ("family", "file", "name", "place"),
    [
        ("one", "one.rdp25.npz", "one", "one.npz"),
        ("things/CATEGORY", "The Eiffel Tower.ndjson", "things/The Eiffel Tower", "things/The Eiffel Tower.ndjson"),
        ("things/CATEGORY", "t-shirt.bin", "things/t-shirt", "things/t-shirt.bin"),
    ],
)
def test_a_corpus_is_got_once_and_opened_by_its_name(
    add: Callable[..., Entry],
    served: tuple[Path, str],
    cache: Path,
    family: str,
    file: str,
    name: str,
    place: str,
) -> None:
    suffix = Path(file).suffix
    add(family, file, **({"url": f"{served[1]}/CATEGORY{suffix}"} if "/" in family else {}))
    importer = Imports()
    folder = get(name, importer)
    assert folder == cache / "corpora" / name
    assert (cache / "downloads" / place).read_bytes() == BODY
    corpus = open_corpus(name)
    assert len(corpus.event) == 3 * len(BODY)
    assert (corpus.metadata.name, corpus.metadata.license, corpus.metadata.source) == (name, "CC0", "a server")
    assert get(name, importer) == folder
    assert importer.calls == 1
    assert not list(cache.rglob("*.tmp"))


def test_a_changed_file_is_imported_anew(add: Callable[..., Entry], served: tuple[Path, str]) -> None:
    entry, importer = add("one", "one.npz"), Imports()
    get("one", importer)
    old = open_corpus("one")
    (served[0] / "one.npz").write_bytes(b"new")
    for path in fetch(entry).parent.iterdir():
        path.unlink()
    get("one", importer)
    assert (importer.calls, len(open_corpus("one").event), len(old.event)) == (2, 9, 3 * len(BODY))


def test_a_missing_category_is_told(add: Callable[..., Entry], served: tuple[Path, str], cache: Path) -> None:
    add("things/CATEGORY", "cat.npz", url=f"{served[1]}/CATEGORY.npz", absent="no such category")
    with pytest.raises(InputError, match=r"ct\.npz: the server answers 404 .*; no such category$"):
        get("things/ct", Imports())
    assert files(cache) == []


@pytest.mark.parametrize("failure", [InputError("not an .npz file"), OSError(28, "No space left on device")])
def test_an_import_that_fails_leaves_no_corpus(add: Callable[..., Entry], cache: Path, failure: Exception) -> None:
    def fail(source: Path, out: Path, entry: Entry) -> None:
        out.mkdir()
        (out / "half.npy").write_bytes(source.read_bytes())
        raise failure

    add("page", "page.npz")
    add("vouched", "vouched.npz", sha256=hashlib.sha256(BODY).hexdigest())
    for name in ("page", "vouched"):
        with pytest.raises(InputError, match=r"not an \.npz file|No space left on device; free some space"):
            get(name, fail)
    assert files(cache) == ["downloads/vouched.npz"]  # the page is not held for the corpus ever after
    get("page", Imports())
    get("vouched", Imports())


def test_an_import_anew_that_fails_leaves_the_corpus_as_it_was(
    add: Callable[..., Entry], served: tuple[Path, str]
) -> None:
    def fail(source: Path, out: Path, entry: Entry) -> None:
        raise InputError("not an .npz file")

    entry = add("one", "one.npz")
    get("one", Imports())
    (served[0] / "one.npz").write_bytes(b"new")
    for path in fetch(entry).parent.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"not an \.npz file"):
        get("one", fail)
    assert len(open_corpus("one").event) == 3 * len(BODY)


def test_a_file_where_the_corpora_should_be_is_told(add: Callable[..., Entry], cache: Path) -> None:
    add("one", "one.npz")
    cache.mkdir()
    (cache / "corpora").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot keep .*corpora/one: File exists"):
        get("one", Imports())


def test_a_corpus_that_is_made_is_made_once_until_it_is_made_otherwise(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def make() -> Corpus:
        made.append(len(made))
        return random_corpus([3 + len(made), 4])

    def put(version: str) -> None:
        entry = Entry(name="made", what="a test", license="CC0", source="here", make=make, made=version)
        monkeypatch.setitem(CATALOG, "made", entry)

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is imported")

    put("1")
    with pytest.raises(InputError, match="made is not on this machine; get it with: mdnrnn data get made"):
        open_corpus("made")
    folder = get("made", refuse)
    assert folder == cache / "corpora" / "made"
    assert open_corpus("made").lengths.tolist() == [4, 4] * 3  # of each split
    assert get("made", refuse) == folder
    assert made == [0]
    put("2")
    get("made", refuse)
    assert open_corpus("made").lengths.tolist() == [5, 4] * 3
