"""Recognise, by their first bytes, the files that people mistake for ONNX models."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 4096

_EXPORT = "Export the model to ONNX first, then add the .onnx file."
_UNPACK = "Unpack it, then add the .onnx file inside."
_DOWNLOAD = "Download the file again: most likely the link answered with a web page."


@dataclass(frozen=True, slots=True)
class Mistaken:
    """A kind of file that is not an ONNX model."""

    what: str
    """Completes “The file is …”."""
    hint: str
    code: str = "model.not_onnx"


_PREFIXES: tuple[tuple[bytes, Mistaken], ...] = (
    (
        b"version https://git-lfs",
        Mistaken(
            "a git-LFS pointer that stands for the model", "Run `git lfs pull` in its repository.", "model.lfs_pointer"
        ),
    ),
    (b"\x1f\x8b", Mistaken("a gzip archive", _UNPACK)),
    (b"BZh", Mistaken("a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\0", Mistaken("an xz archive", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Mistaken("a Zstandard archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Mistaken("a 7-Zip archive", _UNPACK)),
    (b"\x89HDF\r\n\x1a\n", Mistaken("an HDF5 file, such as a Keras model", _EXPORT)),
    (b"GGUF", Mistaken("a GGUF model", "GGUF models run in llama.cpp; this program takes ONNX.")),
    (b"\x93NUMPY", Mistaken("a NumPy array", "Use it as input data: `quickserveml predict MODEL --inputs FILE`.")),
    (b"PAR1", Mistaken("a Parquet table", "Use it as input data, not as a model.")),
    (b"%PDF", Mistaken("a PDF document", "Choose the .onnx file.")),
    (b"\x89PNG", Mistaken("a PNG image", "Choose the .onnx file.")),
    (b"\xff\xd8\xff", Mistaken("a JPEG image", "Choose the .onnx file.")),
    (b"\x7fELF", Mistaken("a program or library", "Choose the .onnx file.")),
    (b"\x80\x02\x8a\x0a", Mistaken("a PyTorch checkpoint", f"{_EXPORT} (`torch.onnx.export`)")),
    (b"SQLite format 3\0", Mistaken("an SQLite database", "Choose the .onnx file.")),
)


def _zip_kind(head: bytes) -> Mistaken:
    if b"data.pkl" in head or b"archive/" in head:
        return Mistaken("a PyTorch checkpoint (a zip)", f"{_EXPORT} (`torch.onnx.export`)")
    if b"model.weights.h5" in head or b"config.json" in head:
        return Mistaken("a Keras model (a zip)", _EXPORT)
    if b".npy" in head[:512]:
        return Mistaken("an NPZ archive of arrays", "Use it as input data: `quickserveml predict MODEL --inputs FILE`.")
    return Mistaken("a zip archive", _UNPACK)


def _text_kind(head: bytes) -> Mistaken | None:
    for cut in range(4):  # the head may end inside a character of up to four bytes
        try:
            text = head[: len(head) - cut].decode("utf-8-sig")
            break
        except UnicodeDecodeError:
            continue
    else:
        return None
    if any(ord(char) < 32 and char not in "\t\n\r\f" for char in text):
        return None
    start = text.lstrip()[:64].lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return Mistaken("an HTML page", _DOWNLOAD)
    if start.startswith("<?xml"):
        return Mistaken("an XML document", _DOWNLOAD)
    if start.startswith("{"):
        return Mistaken("JSON text", "Choose the binary .onnx file.")
    return Mistaken("plain text", "Choose the binary .onnx file.")


def recognise(head: bytes) -> Mistaken | None:
    """What the file is instead of a model, judged by its first `HEAD_BYTES` bytes; None if it may be a model."""
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip_kind(head)
    if head[4:8] == b"TFL3":
        return Mistaken("a TensorFlow Lite model", "Convert it to ONNX first, for example with tf2onnx.")
    if head[4:8] == b"ORTM":
        return Mistaken("a model in ONNX Runtime's own ORT format", "Add the .onnx file it was made from.")
    if head[257:262] == b"ustar":
        return Mistaken("a tar archive", _UNPACK)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**40:
        return Mistaken("a safetensors file: weights without a graph", _EXPORT)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Mistaken("a Python pickle", f"{_EXPORT} Pickles are never opened: they can run code.")
    return _text_kind(head)
