"""Tests of the catalog: entries, names, `get`, `fetch` and `open_corpus`."""

import dataclasses
import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mdnrnn.data.catalog import CATALOG, Entry, fetch, find, get, is_catalog_name, open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import make_folder
from tests.helpers import random_corpus

BODY = b"the corpus has one point per byte"


class FakeImporter:
    """An importer that makes a corpus of one sequence with one step per byte of the file, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, source: Path, out: Path, entry: Entry) -> None:
        self.calls += 1
        corpus = random_corpus([len(source.read_bytes())])
        metadata = dataclasses.replace(corpus.metadata, name=entry.name, license=entry.license, source=entry.source)
        native.write(dataclasses.replace(corpus, metadata=metadata), out)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty cache folder and change to its parent."""
    monkeypatch.setenv("MDNRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """Serve a folder on the loopback interface; yield the folder and its address."""

    class SilentHandler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def add_entry(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Entry]:
    """Return a function that serves BODY as a file and adds an entry for it to the catalog."""
    folder, address = served

    def add(name: str, file: str, **fields: str) -> Entry:
        (folder / file).write_bytes(BODY)
        settings = {
            "description": "a test",
            "license": "CC0",
            "source": "a server",
            "url": f"{address}/{file}",
            **fields,
        }
        entry = Entry(name=name, **settings)  # type: ignore[arg-type]
        monkeypatch.setitem(CATALOG, name, entry)
        return entry

    return add


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
def test_entry_has_exactly_one_origin(entry: Entry) -> None:
    assert sum(map(bool, (entry.bundled_file, entry.url, entry.instructions, entry.generate))) == 1
    assert entry.license
    assert entry.source
    if entry.url:
        assert urlsplit(entry.url).scheme == "https"
        assert Path(urlsplit(entry.url).path).suffix in (".npz", ".ndjson", ".bin")
    assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32


@pytest.mark.shared
@pytest.mark.parametrize("name", ["aaron_sheep", "short_kanji", "omniglot"])
def test_checksums_are_those_of_the_real_files(shared_data: Path, name: str) -> None:
    path = shared_data / "sketchrnn" / f"{name}.npz"
    entry = CATALOG[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert path.stat().st_size == entry.size


def test_size_of_the_bundled_corpus_is_that_of_its_file() -> None:
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
def test_category_determines_url_and_path(cache: Path, name: str, url: str) -> None:
    entry = find(name)
    assert entry is not None
    assert entry.url == f"https://storage.googleapis.com/quickdraw_dataset/{url}"
    assert (entry.name, entry.path) == (name, cache / "corpora" / name)
    assert is_catalog_name(name)


@pytest.mark.parametrize(
    "data",
    [
        "", ".", "..", "quickdraw", "quickdraw/", "quickdraw/..", "quickdraw/../cat", "quickdraw/a/b", "quickdraw//cat",
        "quickdraw/%2e%2e", "quickdraw/cat.npz", "quickdraw/cat ", "quickdraw/ cat", "quickdraw/cat\n", "quickdraw/-a",
        "quickdraw/a\\b", "quickdraw/a?b", "quickdraw/a#b", "quickdraw/Zürich", "quickdraw/\0", "other/cat",
        "/quickdraw/cat", "quickdraw/" + "a" * 41, "Doodles", "doodles/",
    ],
)  # fmt: skip
def test_other_strings_are_not_catalog_names(data: str) -> None:
    assert not is_catalog_name(data)
    with pytest.raises(
        InputError, match=r"unknown data set .*expected one of doodles, pen-text, rollouts, aaron_sheep"
    ) as caught:
        get(data, FakeImporter())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aaron_sheep", "aaron_sheep is not on this machine; get it with: mdnrnn data get aaron_sheep$"),
        ("quickdraw/The Eiffel Tower", "get it with: mdnrnn data get 'quickdraw/The Eiffel Tower'$"),
        ("iam-ondb", "register at https://.* then: mdnrnn data import "),
        ("kanjivg", "download a .* then: mdnrnn data import "),
    ],
)
def test_missing_corpus_raises_with_instructions(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_corpus(name)


def test_existing_path_takes_precedence_until_the_corpus_is_available(cache: Path) -> None:
    Path("kanji").mkdir()
    Path("kanji/one.svg").write_text('<svg><path d="M0 0 L3 4"/></svg>')
    assert not is_catalog_name("kanji")
    assert open_corpus("kanji").metadata.source == "kanji"
    native.write(random_corpus([3]), make_folder(cache / "corpora") / "kanji")
    assert is_catalog_name("kanji")
    assert open_corpus("kanji").metadata.name == "random"


def test_generated_corpus_is_written_once(cache: Path) -> None:
    folder = get("rollouts", FakeImporter())
    assert folder == cache / "corpora" / "rollouts"
    written = (folder / "motion.npy").stat().st_mtime_ns
    assert get("rollouts", FakeImporter()) == folder
    assert (folder / "motion.npy").stat().st_mtime_ns == written
    corpus = open_corpus("rollouts")
    corpus.check()
    assert dict(corpus.splits) == {"train": (0, 800), "valid": (800, 900), "test": (900, 1000)}
    assert 90_000 < corpus.rows("train").stop < 110_000


def test_bundled_corpus_needs_no_download(cache: Path) -> None:
    Path("doodles").mkdir()
    assert get("doodles", FakeImporter()) == CATALOG["doodles"].path
    with pytest.raises(InputError, match="doodles cannot be downloaded; it is bundled"):
        fetch(CATALOG["doodles"])
    assert not cache.exists()


@pytest.mark.parametrize("name", ["iam-ondb", "kanjivg"])
def test_getting_a_manual_download_raises_with_instructions(cache: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} cannot be downloaded; .*https://.*mdnrnn data import"):
        get(name, FakeImporter())
    assert not cache.exists()


@pytest.mark.parametrize(
    ("entry_name", "file", "name", "download_path"),
    [
        ("one", "one.rdp25.npz", "one", "one.npz"),
        ("things/CATEGORY", "The Eiffel Tower.ndjson", "things/The Eiffel Tower", "things/The Eiffel Tower.ndjson"),
        ("things/CATEGORY", "t-shirt.bin", "things/t-shirt", "things/t-shirt.bin"),
    ],
)
def test_corpus_is_downloaded_once_and_opens_by_name(
    add_entry: Callable[..., Entry],
    served: tuple[Path, str],
    cache: Path,
    entry_name: str,
    file: str,
    name: str,
    download_path: str,
) -> None:
    suffix = Path(file).suffix
    add_entry(entry_name, file, **({"url": f"{served[1]}/CATEGORY{suffix}"} if "/" in entry_name else {}))
    importer = FakeImporter()
    folder = get(name, importer)
    assert folder == cache / "corpora" / name
    assert (cache / "downloads" / download_path).read_bytes() == BODY
    corpus = open_corpus(name)
    assert len(corpus.event) == 3 * len(BODY)
    assert (corpus.metadata.name, corpus.metadata.license, corpus.metadata.source) == (name, "CC0", "a server")
    assert get(name, importer) == folder
    assert importer.calls == 1
    assert not list(cache.rglob("*.tmp"))


def test_changed_file_is_imported_again(add_entry: Callable[..., Entry], served: tuple[Path, str]) -> None:
    entry, importer = add_entry("one", "one.npz"), FakeImporter()
    get("one", importer)
    old = open_corpus("one")
    (served[0] / "one.npz").write_bytes(b"new")
    for path in fetch(entry).parent.iterdir():
        path.unlink()
    get("one", importer)
    assert (importer.calls, len(open_corpus("one").event), len(old.event)) == (2, 9, 3 * len(BODY))


def test_missing_category_raises(add_entry: Callable[..., Entry], served: tuple[Path, str], cache: Path) -> None:
    add_entry("things/CATEGORY", "cat.npz", url=f"{served[1]}/CATEGORY.npz", not_found_hint="no such category")
    with pytest.raises(InputError, match=r"ct\.npz: the server answers 404 .*; no such category$"):
        get("things/ct", FakeImporter())
    assert list_files(cache) == []


@pytest.mark.parametrize("failure", [InputError("not an .npz file"), OSError(28, "No space left on device")])
def test_failed_import_leaves_no_corpus(add_entry: Callable[..., Entry], cache: Path, failure: Exception) -> None:
    def fail(source: Path, out: Path, entry: Entry) -> None:
        out.mkdir()
        (out / "half.npy").write_bytes(source.read_bytes())
        raise failure

    add_entry("unknown", "unknown.npz")
    add_entry("verified", "verified.npz", sha256=hashlib.sha256(BODY).hexdigest())
    for name in ("unknown", "verified"):
        with pytest.raises(InputError, match=r"not an \.npz file|No space left on device; free some space"):
            get(name, fail)
    # A file without a known checksum may be another one, such as a log-in page, so it is downloaded again.
    assert list_files(cache) == [str(Path("downloads/verified.npz"))]
    get("unknown", FakeImporter())
    get("verified", FakeImporter())


def test_failed_second_import_keeps_the_old_corpus(add_entry: Callable[..., Entry], served: tuple[Path, str]) -> None:
    def fail(source: Path, out: Path, entry: Entry) -> None:
        raise InputError("not an .npz file")

    entry = add_entry("one", "one.npz")
    get("one", FakeImporter())
    (served[0] / "one.npz").write_bytes(b"new")
    for path in fetch(entry).parent.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"not an \.npz file"):
        get("one", fail)
    assert len(open_corpus("one").event) == 3 * len(BODY)


def test_file_in_place_of_the_cache_folder_raises(add_entry: Callable[..., Entry], cache: Path) -> None:
    add_entry("one", "one.npz")
    cache.mkdir()
    (cache / "corpora").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*one: .*; free some space, or set MDNRNN_CACHE"):
        get("one", FakeImporter())


def test_corpus_is_generated_once_per_version(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def generate() -> Corpus:
        calls.append(len(calls))
        return random_corpus([3 + len(calls), 4])

    def set_version(version: str) -> None:
        entry = Entry(
            name="generated", description="a test", license="CC0", source="here", generate=generate, version=version
        )
        monkeypatch.setitem(CATALOG, "generated", entry)

    def refuse(*_: object) -> None:
        raise AssertionError("a generated corpus is not imported")

    set_version("1")
    with pytest.raises(InputError, match="generated is not on this machine; get it with: mdnrnn data get generated"):
        open_corpus("generated")
    folder = get("generated", refuse)
    assert folder == cache / "corpora" / "generated"
    assert open_corpus("generated").lengths.tolist() == [4, 4] * 3  # the same sequences in every split
    assert get("generated", refuse) == folder
    assert calls == [0]
    set_version("2")
    get("generated", refuse)
    assert open_corpus("generated").lengths.tolist() == [5, 4] * 3


TORCH_FREE = (
    "catalog", "corpus", "download", "drawings", "memmap", "metadata", "normalizer", "strokes", "text_lines",
    "synthetic.corpora",
)  # fmt: skip


def test_reading_data_does_not_import_torch() -> None:
    """In a fresh interpreter, since this one has imported torch."""
    imports = "; ".join(f"import mdnrnn.data.{module}" for module in TORCH_FREE)
    command = [sys.executable, "-c", f"import sys; {imports}; assert 'torch' not in sys.modules"]
    subprocess.run(command, check=True, timeout=600)
