"""What the installed runtime takes, asked once per runtime, and how a model compares with it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from quickserveml_tui.core.compatibility import Compatibility, Mismatch, RuntimeLimits
from quickserveml_tui.core.refs import PathRef, parse_ref
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs

STANDARD = "ai.onnx"
FILE = "runtime-limits.json"
MAX_BYTES = 64 * 1024
MAX_NUMBER = 2**31

_SAYS_VERSION = (("onnxruntime", "__init__.py"), ("onnx", "version.py"))
"""Packages, and the file in each that names its version."""
_found: dict[str, RuntimeLimits] = {}
"""By runtime, for this process."""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file in the home's cache."""

    key: str
    limits: RuntimeLimits


def installed_runtime() -> str:
    """A digest that changes when another onnxruntime or onnx is installed, or told to take other opsets.

    Imports neither. Empty where one is missing, or where it cannot be told.
    """
    parts = [os.fsencode(os.environ.get("ALLOW_RELEASED_ONNX_OPSET_ONLY", ""))]
    try:
        for package, file in _SAYS_VERSION:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                return ""
            origin = Path(spec.origin).with_name(file)
            parts += [os.fsencode(origin), origin.read_bytes()]
    except (ImportError, ValueError, OSError):
        return ""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


class LimitsService:
    """What the installed runtime takes; found in a runner once, then kept in memory and in the home's cache."""

    def __init__(self, home: Path, runners: RunnerPool, *, read_only: bool = False) -> None:
        self._home = home
        self._path = home / "cache" / FILE
        self._runners = runners
        self._read_only = read_only
        self._lock = threading.Lock()

    def limits(self) -> RuntimeLimits:
        """The newest formats that the runtime takes. Raises `RunnerError` when no runner can be had."""
        key = installed_runtime()
        with self._lock:
            known = _found.get(key) or self._read(key)
            if known is None:
                with self._runners.borrow() as runner:
                    known = runner.limits()
                self._write(key, known)
            if key:
                _found[key] = known
            return known

    def _read(self, key: str) -> RuntimeLimits | None:
        """What was kept for this runtime; None for whatever else the file holds."""
        try:
            descriptor = fs.open_regular(self._path)
            try:
                kept = msgspec.json.decode(fs.read_all(descriptor, MAX_BYTES), type=_Kept)
            finally:
                os.close(descriptor)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            return None
        numbers = (kept.limits.ir_version, kept.limits.convertible_opset, *kept.limits.opsets.values())
        is_sound = kept.limits.runtime.isprintable() and all(0 <= number <= MAX_NUMBER for number in numbers)
        return kept.limits if key and kept.key == key and is_sound else None

    def _write(self, key: str, limits: RuntimeLimits) -> None:
        if not key or self._read_only or not self._home.is_dir():  # looking at a model must not create a home
            return
        try:
            fs.make_private_dir(self._path.parent)
            fs.write_atomic(self._path, msgspec.json.encode(_Kept(key, limits)))
        except OSError:  # a full disk, a home that cannot be written: found again by the next process
            return


def compare(ir_version: int, opsets: Mapping[str, int], limits: RuntimeLimits, ref: str) -> Compatibility:
    """A model's formats beside the limits, each mismatch with what to do.

    A domain that the runtime does not know, such as that of the model's own functions, is no mismatch.
    """
    too_new = {name: (number, limits.opsets[name]) for name, number in opsets.items() if _beyond(name, number, limits)}
    mismatches = []
    option = f"--ir {limits.ir_version}"
    can_convert = opsets.get(STANDARD, 1) <= (limits.convertible_opset or MAX_NUMBER)
    for name, (has, takes) in sorted(too_new.items(), key=lambda item: item[0] != STANDARD):
        if name == STANDARD and can_convert:
            option = f"--opset {takes}"  # lowers the IR version too
            remedy = _command(ref, option)
        else:
            remedy = f"Export the model with opset {takes} of {safe_text(name, 80)}, or upgrade onnx and onnxruntime."
        mismatches.append(Mismatch(f"opset of {safe_text(name, 80)}", has, takes, remedy))
    if ir_version > limits.ir_version:
        by_hand = f"Export the model with IR version {limits.ir_version}, or upgrade onnx and onnxruntime."
        remedy = _command(ref, option) if can_convert else by_hand
        mismatches.append(Mismatch("IR version", ir_version, limits.ir_version, remedy))
    return Compatibility(limits, tuple(mismatches))


def _beyond(domain: str, number: int, limits: RuntimeLimits) -> bool:
    return domain in limits.opsets and number > limits.opsets[domain]


def _command(ref: str, option: str) -> str:
    if isinstance(parse_ref(ref), PathRef):
        stem = Path(ref).stem
        ref, option = shlex.quote(ref), f"--output {shlex.quote(f'{stem}-converted.onnx')} {option}"
    return f"Convert it: `quickserveml convert {safe_text(ref, 300)} {safe_text(option, 200)}`."


def takes_line(limits: RuntimeLimits) -> str:
    """The limits as one line: `onnxruntime 1.32.0 takes opset ≤ 28, ai.onnx.ml ≤ 5, IR ≤ 14`."""
    opset = limits.opsets.get(STANDARD)
    parts = [f"opset ≤ {opset}" if opset else "any opset"]
    parts += [f"{name} ≤ {limits.opsets[name]}" for name in ("ai.onnx.ml",) if name in limits.opsets]
    return f"{safe_text(limits.runtime, 80)} takes {', '.join(parts)}, IR ≤ {limits.ir_version}"
