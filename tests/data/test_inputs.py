"""Promises of the names that predict is given."""

import io
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from catsdogs_jax.data import remote
from catsdogs_jax.data.inputs import list_inputs, read_names
from catsdogs_jax.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def listed(*words: str | Path, stdin: bytes = b"") -> list[str]:
    return list(list_inputs([str(word) for word in words], io.BytesIO(stdin)))


def test_words_keep_their_order_and_folders_are_sorted_as_paths(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "b/10.png", "b/1/x.png", "b/.hidden", "b/.git/y.png", "b/t.csv")
    touch(tmp_path, "a.png")
    found = listed(tmp_path / "b", tmp_path / "a.png")
    assert [Path(name).relative_to(tmp_path).as_posix() for name in found] == [
        *("b/1/x.png", "b/10.png", "b/2.png", "a.png")
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*/2.png", ["b/2.png"]),
        ("**/*.png", ["[x].png", "b/1/x.png", "b/2.png"]),
        ("b/**", ["b/1/x.png", "b/2.png"]),
        ("[x].png", ["[x].png"]),  # A file of that name comes before the pattern.
    ],
)
def test_quoted_patterns_name_files(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(tmp_path, "b/2.png", "b/1/x.png", "[x].png", "b/notes.txt")
    found = listed(tmp_path / pattern)
    assert [Path(name).relative_to(tmp_path).as_posix() for name in found] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a.png\nb c.png\n\nd.png", ["a.png", "b c.png", "d.png"]),
        (b"a.png\r\nb.png\r\n", ["a.png", "b.png"]),
        (b"a\nb.png\0c.png\0", ["a\nb.png", "c.png"]),
        (b"\xff.png\n", ["\udcff.png"]),
        (b"", []),
    ],
)
def test_a_list_is_separated_by_newlines_or_by_nul(text: bytes, expected: list[str]) -> None:
    assert listed("-", stdin=text) == expected


def test_a_long_list_is_whole_and_read_as_it_is_needed() -> None:
    names = [f"{k}.png" for k in range(50_000)]
    stream = io.BytesIO("\n".join(names).encode())
    found = read_names(stream)
    assert next(found) == "0.png"
    assert stream.tell() <= 2**16
    assert ["0.png", *found] == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.png"], "no file or folder 'missing.png'"),
        (["no*.png"], "no picture matches 'no\\*.png'"),
        (["-", "-"], "given twice"),
        (["nowhere://a.png"], "no file system 'nowhere'"),
    ],
)
def test_a_word_that_names_nothing_is_an_error_at_once(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_inputs(words, io.BytesIO())


def test_an_empty_folder_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures in folder"):
        list_inputs([str(tmp_path)], io.BytesIO())


@pytest.mark.parametrize(
    ("scheme", "mend"),
    [
        ("gs", "needs gcsfs: in the clone: `uv sync --inexact --extra gcs`"),
        ("s3", "needs s3fs: `uv pip install s3fs`"),
        ("nfs", "needs a package that is not there: 'nfs' wants more"),
    ],
)
def test_a_store_whose_package_is_missing_is_one_line(
    scheme: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"{name!r} wants more")

    monkeypatch.setattr(remote.fsspec, "filesystem", missing)
    with pytest.raises(UserError, match=mend):
        list_inputs([f"{scheme}://bucket/a.png"], io.BytesIO())


def test_urls_name_files_folders_and_patterns(paint: Callable[..., Path]) -> None:
    store = fsspec.filesystem("memory")
    for name in ("b.png", "a/2.png", "a/1.png", "a/readme.md"):
        store.pipe_file(f"/bucket/{name}", paint("one.png").read_bytes())
    try:
        assert listed("memory://bucket/b.png") == ["memory://bucket/b.png"]
        expected = ["memory:///bucket/a/1.png", "memory:///bucket/a/2.png"]
        for word in ("memory://bucket/a", "memory://bucket/a/*.png"):
            assert [n.replace("///", "//") for n in listed(word)] == [
                n.replace("///", "//") for n in expected
            ]
    finally:
        store.rm("/bucket", recursive=True)
