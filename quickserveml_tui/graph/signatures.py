"""Recognise, by their first and last bytes, the files that people mistake for ONNX models."""

from __future__ import annotations

from quickserveml_tui.graph.archive_signatures import zip_kind
from quickserveml_tui.graph.mistaken import (
    CHOOSE,
    DECRYPT,
    EXPORT,
    EXPORT_TORCH,
    PICKLE,
    SOURCE,
    UNPACK,
    USE_AS_DATA,
    Mistaken,
)
from quickserveml_tui.graph.text_signatures import text_kind

HEAD_BYTES = 4096
TAIL_BYTES = 65_536
"""As far back as the directory of a zip archive may begin, comments apart."""

_ENGINE = Mistaken("a TensorRT engine, made for one GPU", SOURCE)
_GGML = Mistaken("a GGML model", "GGML models run in llama.cpp; this program takes ONNX.")
_IMAGE = "Use images as input data, not as a model."
_SOUND = "Use sound as input data, not as a model."
_TABLE = "Use it as input data, not as a model."

_PREFIXES: tuple[tuple[bytes, Mistaken], ...] = (
    (
        b"version https://git-lfs",
        Mistaken(
            "a git-LFS pointer that stands for the model", "Run `git lfs pull` in its repository.", "model.lfs_pointer"
        ),
    ),
    (b"\x1f\x8b", Mistaken("a gzip archive", UNPACK)),
    (b"BZh", Mistaken("a bzip2 archive", UNPACK)),
    (b"\xfd7zXZ\0", Mistaken("an xz archive", UNPACK)),
    (b"\x5d\0\0\x80\0", Mistaken("an LZMA archive", UNPACK)),
    (b"\x28\xb5\x2f\xfd", Mistaken("a Zstandard archive", UNPACK)),
    (b"\x04\x22\x4d\x18", Mistaken("an LZ4 archive", UNPACK)),
    (b"\xff\x06\0\0sNaPpY", Mistaken("a Snappy archive", UNPACK)),
    (b"\x1f\x9d", Mistaken("a compressed file", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Mistaken("a 7-Zip archive", UNPACK)),
    (b"Rar!\x1a\x07", Mistaken("a RAR archive", UNPACK)),
    (b"!<arch>\n", Mistaken("a library or package archive", CHOOSE)),
    (b"age-encryption.org/v1", Mistaken("encrypted with age", DECRYPT)),
    (b"Salted__", Mistaken("encrypted with OpenSSL", DECRYPT)),
    (b"-----BEGIN PGP MESSAGE", Mistaken("encrypted with PGP", DECRYPT)),
    (b"\x89HDF\r\n\x1a\n", Mistaken("an HDF5 file, such as a Keras model", EXPORT)),
    (b"CDF\x01", Mistaken("a NetCDF file", _TABLE)),
    (b"MATLAB 5.0", Mistaken("a MATLAB file", _TABLE)),
    (b"GGUF", Mistaken("a GGUF model", "GGUF models run in llama.cpp; this program takes ONNX.")),
    (b"lmgg", _GGML),
    (b"tjgg", _GGML),
    (b"fmgg", _GGML),
    (b"ptrt", _ENGINE),
    (b"ftrt", _ENGINE),
    (b"RKNN", Mistaken("a Rockchip RKNN model", SOURCE)),
    (b"\x12\x01\0\0\0\0\0\0", Mistaken("an MXNet parameter file", EXPORT)),
    (b"CBM1", Mistaken("a CatBoost model", EXPORT)),
    (b"binf", Mistaken("an XGBoost model", EXPORT)),
    (b"{L\0\0\0\0\0\0", Mistaken("an XGBoost model", EXPORT)),
    (b"\x93NUMPY", Mistaken("a NumPy array", USE_AS_DATA)),
    (b"PAR1", Mistaken("a Parquet table", _TABLE)),
    (b"ARROW1", Mistaken("an Arrow table", _TABLE)),
    (b"FEA1", Mistaken("a Feather table", _TABLE)),
    (b"ORC", Mistaken("an ORC table", _TABLE)),
    (b"Obj\x01", Mistaken("an Avro table", _TABLE)),
    (b"%PDF", Mistaken("a PDF document", CHOOSE)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Mistaken("an Office document", CHOOSE)),
    (b"\x89PNG", Mistaken("a PNG image", _IMAGE)),
    (b"\xff\xd8\xff", Mistaken("a JPEG image", _IMAGE)),
    (b"GIF8", Mistaken("a GIF image", _IMAGE)),
    (b"II*\0", Mistaken("a TIFF image", _IMAGE)),
    (b"MM\0*", Mistaken("a TIFF image", _IMAGE)),
    (b"OggS", Mistaken("an Ogg recording", _SOUND)),
    (b"fLaC", Mistaken("a FLAC recording", _SOUND)),
    (b"ID3", Mistaken("an MP3 recording", _SOUND)),
    (b"\x7fELF", Mistaken("a program or library", CHOOSE)),
    (b"\xcf\xfa\xed\xfe", Mistaken("a program or library", CHOOSE)),
    (b"\xca\xfe\xba\xbe", Mistaken("a program or library", CHOOSE)),
    (b"\0asm", Mistaken("a WebAssembly program", CHOOSE)),
    (b"\x80\x02\x8a\x0a", Mistaken("a PyTorch checkpoint", EXPORT_TORCH)),
    (b"SQLite format 3\0", Mistaken("an SQLite database", CHOOSE)),
)

_AT_4: dict[bytes, Mistaken] = {
    b"TFL3": Mistaken("a TensorFlow Lite model", "Convert it to ONNX first, for example with tf2onnx."),
    b"ORTM": Mistaken("a model in ONNX Runtime's own ORT format", SOURCE),
    b"ET12": Mistaken("an ExecuTorch program", EXPORT_TORCH),
    b"ftyp": Mistaken("a video", "Use it as input data, not as a model."),
}
_AT_8: dict[bytes, Mistaken] = {
    b"WAVE": Mistaken("a WAV recording", _SOUND),
    b"WEBP": Mistaken("a WebP image", _IMAGE),
    b"AVI ": Mistaken("a video", "Use it as input data, not as a model."),
}


def _is_program(head: bytes) -> bool:
    """A Windows program: `MZ`, and a pointer to its second header."""
    return head[:2] == b"MZ" and b"PE\0\0" in head[:1024]


def _is_zlib(head: bytes) -> bool:
    return head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda")


def recognise(head: bytes, tail: bytes = b"") -> Mistaken | None:
    """What the file is instead of a model; None if it may be one.

    Judged by its first `HEAD_BYTES` bytes and, for what an archive holds, its last `TAIL_BYTES`.
    """
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return zip_kind(head, tail)
    if kind_at_4 := _AT_4.get(head[4:8]):
        return kind_at_4
    if head[:4] == b"RIFF" and (kind_at_8 := _AT_8.get(head[8:12])):
        return kind_at_8
    if head[257:262] == b"ustar":
        return Mistaken("a tar archive", UNPACK)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40 and b'"' in head[9:24]:
        return Mistaken("a safetensors file: weights without a graph", EXPORT)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        what = "a scikit-learn model in a Python pickle" if b"sklearn" in head else "a Python pickle"
        return Mistaken(what, PICKLE)
    if _is_zlib(head):
        return Mistaken("compressed data, such as a joblib file", PICKLE)
    if _is_program(head):
        return Mistaken("a program or library", CHOOSE)
    return text_kind(head)
