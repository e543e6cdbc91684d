"""Recognise what a zip archive holds, by the names in its first header and its directory."""

from __future__ import annotations

from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.mistaken import DECRYPT, EXPORT, EXPORT_TF, EXPORT_TORCH, UNPACK, USE_AS_DATA, Mistaken

MAX_NAMES = 1000
_ENTRY = b"PK\x01\x02"
_ENTRY_BYTES = 46
_LOCAL_BYTES = 30


def _local_name(head: bytes) -> bytes:
    """Name of the first member, from the header before its data."""
    if len(head) < _LOCAL_BYTES or head[:4] != b"PK\x03\x04":
        return b""
    length = int.from_bytes(head[26:28], "little")
    return head[_LOCAL_BYTES : _LOCAL_BYTES + length]


def member_names(head: bytes, tail: bytes) -> list[bytes]:
    """Names of members: the first one, and those whose entries of the directory lie in `tail`; 1,000 at most."""
    names = [_local_name(head)]
    at = tail.find(_ENTRY)
    while at != -1 and len(names) < MAX_NAMES and at + _ENTRY_BYTES <= len(tail):
        length = int.from_bytes(tail[at + 28 : at + 30], "little")
        names.append(tail[at + _ENTRY_BYTES : at + _ENTRY_BYTES + length])
        at = tail.find(_ENTRY, at + _ENTRY_BYTES + length)
    return [name for name in names if name]


def zip_kind(head: bytes, tail: bytes) -> Mistaken:
    """What a zip archive is."""
    names = member_names(head, tail)
    if head[:4] == b"PK\x03\x04" and head[6:7] and head[6] & 1:
        return Mistaken("an encrypted zip archive", DECRYPT)

    def has(*parts: bytes) -> bool:
        return any(part in name for name in names for part in parts)

    if has(b"/code/", b"constants.pkl"):
        return Mistaken("a TorchScript model (a zip)", EXPORT_TORCH)
    if has(b"data.pkl", b"archive/"):
        return Mistaken("a PyTorch checkpoint (a zip)", EXPORT_TORCH)
    if has(b"model.weights.h5") or (has(b"config.json") and has(b"metadata.json")):
        return Mistaken("a Keras model (a zip)", EXPORT)
    if any(name.endswith(b".npy") for name in names):
        return Mistaken("an NPZ archive of arrays", USE_AS_DATA)
    if has(b"saved_model.pb"):
        return Mistaken("a TensorFlow SavedModel (a zip)", f"Unpack it. {EXPORT_TF}")
    if has(b"[Content_Types].xml"):
        return Mistaken("an Office document", "Choose the .onnx file.")
    model = next((name for name in names if name.lower().endswith(b".onnx")), b"")
    if model:
        shown = safe_text(model.decode("utf-8", "replace"), 60)
        return Mistaken(f"a zip archive that holds “{shown}”", UNPACK)
    return Mistaken("a zip archive", UNPACK)
