"""`protocol.blocks.bundle`: files in, the same files out, and no path that leads elsewhere."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.symmetric import ChunkNonce
from protocol.blocks.bundle import (
    FORMAT,
    MAX_FILES,
    MAX_SIZE,
    BundledFile,
    BundleDifference,
    BundleError,
    NamedBundle,
    difference,
    difference_from,
    read_bundle,
    read_named_bundle,
    write_bundle,
)
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, ReadBlocks, encode_cbor, raw_block
from protocol.blocks.content import PLAIN, ContentError, ContentForm, ContentKey, parse_content_manifest, write_manifest

names = st.text("abcXYZ012_-é", min_size=1, max_size=8)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


class Blocks(dict[CID, bytes]):
    def get(self, cid: CID) -> bytes:  # type: ignore[override]
        return self[cid]


def held(blocks: list[Block]) -> Blocks:
    return Blocks({block.cid: block.data for block in blocks})


@given(st.dictionaries(names.map(lambda name: f"pkg/{name.lower()}.py"), st.binary(max_size=20), max_size=6))
@settings(max_examples=100)
def test_files_come_out_as_they_went_in(files: dict[str, bytes]) -> None:
    root, blocks = write_bundle(list(files.items()))
    source = held(blocks)

    assert {file.path: file.read(source) for file in read_bundle(root, source)} == files


def test_a_large_file_lies_in_several_chunks() -> None:
    data = bytes(2 * CHUNK_SIZE) + b"end"
    root, blocks = write_bundle([("data.bin", data), ("empty.py", b"")])
    source = held(blocks)

    large, empty = read_bundle(root, source)

    assert (large.size, len(large.chunks), large.read(source)) == (len(data), 3, data)
    assert (empty.size, empty.chunks, empty.read(source)) == (0, (), b"")


def test_the_order_of_the_files_does_not_matter() -> None:
    files = [("b.py", b"b"), ("a/z.py", b"z"), ("a.py", b"a")]

    assert write_bundle(files)[0] == write_bundle(files[::-1])[0]


BAD_PATHS = ["", "/etc/passwd", "../up.py", "a/../b.py", "a//b.py", "./a.py", "a/", ".hidden", "a/.git/config", "C:\\a"]
BAD_PATHS += ["a\\b", "a\0b", "a\nb", "trailing.", "trailing ", " leading", "con:1", "a\u202eb", "a/.g\u200cit/config"]
BAD_PATHS += ["con.py", "a/AUX", "nul.tar.gz", "nul .py", "Com1", "lpt\u00b2.txt", "CONIN$", "prn/a.py"]  # devices
BAD_PATHS += ["model_~1.py", "git~1/config"]  # short names
BAD_PATHS += ["x" * 256, "/".join(["x" * 200] * 2), "\u00e9" * 128]  # too long
BAD_PATHS += ["mode\u0301l.py", "\u212b.py"]  # not in NFC
BAD_PATHS += ["a.pyc", "a/__pycache__/b.py", "__PyCache__/b.py", "a.cpython-311-x86_64-linux-gnu.so", "a.PYD"]


@pytest.mark.parametrize("path", [*BAD_PATHS, "\ud800"])
def test_a_path_that_may_lead_elsewhere_is_not_written(path: str) -> None:
    with pytest.raises(BundleError):
        write_bundle([(path, b"")])


def bundle(body: object, chunks: list[Block] | None = None) -> tuple[CID, Blocks]:
    chunks = chunks or []
    root, blocks = write_manifest(encode_cbor(body), [chunk.cid for chunk in chunks])
    return root, held([*blocks, *chunks])


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_may_lead_elsewhere_is_not_read(path: str) -> None:
    with pytest.raises(BundleError):
        read_bundle(*bundle([FORMAT, [[path, 0]]]))


ALIKE = [
    ("a.py", "A.py"),
    ("a", "A/b"),
    ("A/x.py", "a/y.py"),
    ("stra\u00dfe.py", "STRASSE.py"),
    ("\u00e9.py", "\u00c9.py"),
    ("\ufb01.py", "fi.py"),
    ("\u017fet.py", "set.py"),
]


@pytest.mark.parametrize("pair", ALIKE)
def test_names_that_some_system_takes_for_one_are_neither_written_nor_read(pair: tuple[str, str]) -> None:
    with pytest.raises(BundleError, match="are one name on some systems"):
        write_bundle([(path, b"") for path in pair])
    with pytest.raises(BundleError, match="are one name on some systems"):
        read_bundle(*bundle([FORMAT, [[path, 0] for path in sorted(pair, key=str.encode)]]))


def test_two_unicode_forms_of_one_name_are_refused() -> None:
    """One would be shown, and the other run."""
    forms = [(unicodedata.normalize(form, "mod\u00e9l.py"), form.encode()) for form in ("NFC", "NFD")]
    with pytest.raises(BundleError):
        write_bundle(forms)


@given(st.text(max_size=6), st.text(max_size=6))
@settings(max_examples=300)
def test_any_two_names_are_taken_or_refused_with_a_reason(one: str, other: str) -> None:
    try:
        root, blocks = write_bundle([(one, b"1"), (other, b"2")])
    except BundleError:
        return
    source = held(blocks)
    assert {file.path: file.read(source) for file in read_bundle(root, source)} == {one: b"1", other: b"2"}


def listed(form: ContentForm = PLAIN, **files: bytes) -> list[BundledFile]:
    root, blocks = write_bundle([(f"{name}.py", data) for name, data in files.items()], form)
    return read_bundle(root, held(blocks), KEY if form.epoch else None)


@pytest.mark.parametrize("form", [PLAIN, ContentForm(ContentKey(1, bytes(range(32)), ChunkNonce.GMAC))])
def test_the_files_in_which_two_apps_differ_are_named(form: ContentForm) -> None:
    ours = listed(form, same=b"1", edited=b"1", longer=b"1", mine=b"1")
    other = listed(form, same=b"1", edited=b"2", longer=b"12", theirs=b"1")
    assert difference(ours, other) == BundleDifference(("edited.py", "longer.py"), ("theirs.py",), ("mine.py",))


# -- encrypted -----------------------------------------------------------------------------------------------------

KEY = ContentKey(1, bytes(range(32)), ChunkNonce.GMAC)
LARGE = bytes(range(256)) * (CHUNK_SIZE // 256 * 2) + b"end"
FILES = [("a.py", b"secret = 1"), ("data.bin", LARGE), ("empty.py", b"")]


@pytest.fixture(scope="module")
def encrypted() -> tuple[NamedBundle, Blocks]:
    """A bundle under `KEY`, as a run names it."""
    content, blocks = write_bundle(FILES, ContentForm(KEY))
    return NamedBundle(write_bundle(FILES)[0], content, KEY), held(blocks)


def test_an_encrypted_bundle_is_of_the_app_that_its_plain_one_names(encrypted: tuple[NamedBundle, Blocks]) -> None:
    named, source = encrypted
    assert named.content != named.app
    assert [(file.path, file.read(source)) for file in read_named_bundle(named, source)] == FILES


def test_nothing_of_an_encrypted_bundle_shows(encrypted: tuple[NamedBundle, Blocks]) -> None:
    shown = b"".join(encrypted[1].values())
    assert [secret for secret in (b"secret", b"data.bin", LARGE[:64], bytes(encrypted[0].app)) if secret in shown] == []


def test_its_links_show_so_that_it_is_pinned_and_fetched_without_a_key(encrypted: tuple[NamedBundle, Blocks]) -> None:
    named, source = encrypted
    links = parse_content_manifest(source.get(named.content)).links
    assert set(links.items(source)) == source.keys() - {named.content}


@pytest.mark.parametrize(
    "key", [None, ContentKey(1, bytes(32), ChunkNonce.GMAC), ContentKey(2, KEY.key, ChunkNonce.GMAC)]
)
def test_a_reader_with_another_key_reads_nothing(encrypted: tuple[NamedBundle, Blocks], key: ContentKey | None) -> None:
    with pytest.raises(ContentError):
        read_bundle(encrypted[0].content, encrypted[1], key)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_difference_is_found_by_the_list_of_files_alone(key: ContentKey | None) -> None:
    content, blocks = write_bundle(FILES, ContentForm(key))
    named = NamedBundle(write_bundle(FILES)[0], content, key)
    read = ReadBlocks(held(blocks))
    ours = [("a.py", b"secret = 2"), FILES[1], ("new.py", b"")]
    found = difference_from(named, read, ours)
    assert found.in_words() == "other bytes in a.py; lacking here: empty.py; here alone: new.py"
    assert content in read.read
    assert sum(map(len, read.read.values())) < 10_000


def test_a_long_difference_is_cut_short() -> None:
    found = BundleDifference(tuple(f"{number}.py" for number in range(9)), (), ("x.py",))
    assert found.in_words(with_surplus=False) == (
        "other bytes in 0.py, 1.py, 2.py, 3.py, 4.py and 4 more; 1 here alone"
    )


def test_a_plain_bundle_in_place_of_an_encrypted_one_is_refused() -> None:
    app, blocks = write_bundle(FILES)
    with pytest.raises(ContentError, match="is plain"):
        read_named_bundle(NamedBundle(app, app, KEY), held(blocks))


@pytest.mark.parametrize("form", [PLAIN, ContentForm(KEY)])
def test_no_app_is_shown_under_the_name_of_another(form: ContentForm) -> None:
    """Else an owner might read the one and approve the other."""
    approved, _ = write_bundle(FILES)
    content, blocks = write_bundle([*FILES[:2], ("empty.py", b"not")], form)
    key = KEY if form.epoch else None
    with pytest.raises(BundleError, match="holds the app"):
        read_named_bundle(NamedBundle(approved, content, key), held(blocks))


def test_an_app_of_more_than_the_limit_is_refused_before_its_files_are_read(
    encrypted: tuple[NamedBundle, Blocks],
) -> None:
    named, source = encrypted
    manifest_alone = Blocks({named.content: source[named.content]})
    with pytest.raises(BundleError, match="more than the 100 that are allowed"):
        read_named_bundle(named, manifest_alone, limit=100)


ONE = raw_block(b"1")


@pytest.mark.parametrize(
    ("body", "chunks"),
    [
        ([FORMAT + 1, []], []),
        ([True, []], []),
        ({}, []),
        ([FORMAT, [["a"]]], []),
        ([FORMAT, [[b"a", 0]]], []),
        ([FORMAT, [["a", True]]], []),
        ([FORMAT, [["a", -1]]], []),
        ([FORMAT, [["a", 1]]], []),
        ([FORMAT, [["a", 0]]], [ONE]),
        ([FORMAT, [["a", 1]]], [ONE, ONE]),
        ([FORMAT, [["b", 0], ["a", 0]]], []),
        ([FORMAT, [["a", 0], ["a", 0]]], []),
        ([FORMAT, [["A", 0], ["a", 0]]], []),
        ([FORMAT, [["a", 0], ["a/b", 0]]], []),
        ([FORMAT, [["A", 0], ["a/b", 0]]], []),
        ([FORMAT, [["a", MAX_SIZE], ["b", 1]]], []),
        ([FORMAT, [[f"{number:05}", 0] for number in range(MAX_FILES + 1)]], []),
    ],
)
def test_what_is_no_bundle_is_refused(body: object, chunks: list[Block]) -> None:
    with pytest.raises(ContentError):
        read_bundle(*bundle(body, chunks))


def test_a_chunk_of_another_size_is_refused_when_it_is_read() -> None:
    root, source = bundle([FORMAT, [["a", 2]]], [ONE])
    (file,) = read_bundle(root, source)

    with pytest.raises(ContentError):
        file.read(source)


@given(st.binary(max_size=60))
def test_random_bodies_are_refused(body: bytes) -> None:
    root, blocks = write_manifest(body, [])

    with pytest.raises(ContentError):
        read_bundle(root, held(blocks))
