"""Files that are not models are told apart by their bytes, in one sentence, without blocking."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from graph_builders import relu_model, save

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.sniff import check_file


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
MODEL = relu_model().SerializeToString()

FOREIGN = {
    "zip": (zipped(model=MODEL), "zip archive"),
    "pytorch": (zipped(archive__data=b"x"), "PyTorch"),
    "npz": (npz(), "NPZ"),
    "gzip": (gzip.compress(MODEL), "gzip"),
    "html": (b"\n <!DOCTYPE html><html>404</html>", "HTML page"),
    "text": ("Größe: unbekannt\n".encode() * 400, "plain text"),
    "json": (b'{"a": 1}', "JSON"),
    "pickle": (pickle.dumps({"a": 1}), "pickle"),
    "safetensors": ((40).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}', "safetensors"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 32, "TensorFlow Lite"),
    "gguf": (b"GGUF\x03\0\0\0", "GGUF"),
    "keras": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    "tensor": (relu_model().graph.input[0].SerializeToString(), "not an ONNX model"),
    "graph": (relu_model().graph.SerializeToString(), "not an ONNX model"),
    "random": (bytes(range(255, 0, -1)) * 8, "not an ONNX model"),
}


def refusal(path):
    with pytest.raises(ModelError) as caught:
        check_file(path)
    error = caught.value
    assert error.hint
    assert "\n" not in error.message
    return error


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named_for_what_it_is(kind, tmp_path):
    content, words = FOREIGN[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = refusal(path)
    assert error.code == "model.not_onnx"
    assert words in error.message


def test_a_git_lfs_pointer_has_its_own_code_and_remedy(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(LFS)
    error = refusal(path)
    assert error.code == "model.lfs_pointer"
    assert "git lfs pull" in error.hint


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "model.onnx").touch()
    assert refusal(tmp_path / "model.onnx").code == "model.empty"


def test_a_model_passes_also_through_a_link(tmp_path):
    path = save(relu_model(), tmp_path)
    (tmp_path / "link.onnx").symlink_to(path)
    check_file(path)
    check_file(tmp_path / "link.onnx")


def test_a_model_cut_inside_a_field_is_said_to_be_cut_off(tmp_path):
    path = tmp_path / "model.onnx"
    for size in range(MODEL.index(b"main"), len(MODEL) - len(relu_model().opset_import[0].SerializeToString()) - 2):
        path.write_bytes(MODEL[:size])
        assert refusal(path).code == "model.truncated", size


def test_no_prefix_of_a_model_raises_anything_but_a_model_error(tmp_path):
    path = tmp_path / "model.onnx"
    for size in range(len(MODEL)):
        path.write_bytes(MODEL[:size])
        with contextlib.suppress(ModelError):  # a cut between two fields leaves a sound outline
            check_file(path)


def test_a_folder_a_pipe_a_socket_and_a_device_are_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    short = os.path.relpath(tmp_path)  # socket paths hold 107 bytes at most
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(short) / "s.onnx"))
        for path in (tmp_path, tmp_path / "pipe.onnx", tmp_path / "s.onnx"):
            assert refusal(path).code == "model.not_a_file"
    assert refusal(Path("/dev/null")).code == "model.not_a_file"


def test_missing_files_and_loops_of_links_are_named_missing(tmp_path):
    (tmp_path / "a.onnx").symlink_to(tmp_path / "b.onnx")
    (tmp_path / "b.onnx").symlink_to(tmp_path / "a.onnx")
    for name in ("a.onnx", "absent.onnx", "nul\0.onnx", "x" * 5000):
        assert refusal(tmp_path / name).code == "model.missing"


def test_control_characters_of_a_file_name_stay_out_of_the_message(tmp_path):
    path = tmp_path / "evil\x1b[31m\n.onnx"
    path.touch()
    assert "\x1b" not in refusal(path).message


def test_sniffing_imports_neither_onnx_nor_numpy():
    code = (
        "import sys; import quickserveml_tui.graph.sniff; "
        "sys.exit(any(name in sys.modules for name in ('onnx', 'numpy', 'google.protobuf')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
