"""Uploaded data: what is being received stays, what a dead process left goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.storage.uploads import STRAY_AFTER_S, Uploads

_RECEIVES = """
import pathlib, sys, time
from quickserveml_tui.storage.uploads import Uploads
upload = Uploads(pathlib.Path(sys.argv[1])).begin("data.csv", 1000)
upload.write(b"x\\n")
print(upload.path, flush=True)
sys.stdin.read()
"""


def _age(folder: Path, by_s: float = 2 * STRAY_AFTER_S) -> None:
    then = time.time() - by_s
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads")


def test_an_upload_that_takes_hours_is_not_swept_while_it_is_open(uploads: Uploads) -> None:
    upload = uploads.begin("data.csv", 1000)
    upload.write(b"a,b\n")
    _age(upload.path.parent)
    assert uploads.sweep(()) == 0
    upload.write(b"1,2\n")
    upload.keep()
    upload.close()
    assert upload.path.read_bytes() == b"a,b\n1,2\n"
    assert uploads.sweep(()) == 0  # what was just written to is young, whatever the folder says
    _age(upload.path.parent)
    assert uploads.sweep([str(upload.path)]) == 0
    assert uploads.sweep(()) == 1
    assert not upload.path.parent.exists()


def test_a_file_that_was_just_written_keeps_its_old_folder(uploads: Uploads) -> None:
    upload = uploads.begin("data.csv", 1000)
    upload.keep()
    upload.close()
    _age(upload.path.parent)
    os.utime(upload.path)
    assert uploads.sweep(()) == 0


def test_what_a_killed_process_was_receiving_is_swept(uploads: Uploads, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _RECEIVES, str(tmp_path / "uploads")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip()).parent
    _age(folder)
    assert uploads.sweep(()) == 0
    process.kill()
    process.communicate()
    assert uploads.sweep(()) == 1
    assert not folder.exists()


def test_an_upload_beyond_its_limit_leaves_nothing(uploads: Uploads) -> None:
    upload = uploads.begin("data.csv", 3)
    with pytest.raises(DataError) as error:
        upload.write(b"1234")
    assert error.value.code == "upload.too_large"
    upload.close()
    assert not upload.path.parent.exists()
