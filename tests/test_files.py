"""Files are written whole or not at all."""

import os

import pytest

from unet_native.errors import UserError
from unet_native.files import write_atomically, write_text


def test_writes_and_makes_folders(tmp_path):
    path = write_text(tmp_path / "new" / "folder" / "note.txt", "σ = 5\n")
    assert path.read_text(encoding="utf-8") == "σ = 5\n"
    assert os.listdir(path.parent) == ["note.txt"]


def test_writer_sees_the_suffix_and_a_hidden_name(tmp_path):
    seen = []

    def writer(temporary):
        seen.append(temporary)
        temporary.write_bytes(b"x")

    write_atomically(tmp_path / "curve.png", writer)
    assert seen[0].suffix == ".png"
    assert seen[0].name.startswith(".")
    assert seen[0].parent == tmp_path


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file(tmp_path, error):
    path = write_text(tmp_path / "log.csv", "old")

    def writer(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(error):
        write_atomically(path, writer)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["log.csv"]


def test_impossible_place_is_named(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(UserError, match="file/below"):
        write_text(tmp_path / "file" / "below", "text")
