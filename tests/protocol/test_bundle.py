"""`protocol.bundle`: files in, the same files out, and no path that leads elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.blocks import CHUNK_SIZE, CID, Block, encode_cbor, raw_block
from protocol.bundle import FORMAT, MAX_FILES, MAX_SIZE, BundleError, read_bundle, write_bundle
from protocol.content import ContentError, write_manifest

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
BAD_PATHS += ["a\\b", "a\0b", "a\nb", "trailing.", "trailing ", " leading", "con:1", "x" * 500, "a\u202eb"]


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
