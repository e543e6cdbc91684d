"""Expected outputs that a user gives in a file, in the form of what the model answers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes

if TYPE_CHECKING:
    import numpy as np

    from quickserveml_tui.core.values import Value

MAX_DEPTH = 64
_NAMED = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def load_expected(path: Path, like: Mapping[str, Value], limit_bytes: int) -> dict[str, Value]:
    """Outputs by name from an NPZ file, or from JSON: nested lists by name, or what `predict --json` printed.

    `like` are the model's own outputs: JSON does not say dtypes, and theirs are taken. Raises `DataError`: for a file
    that cannot be read, `golden.outputs` for names that are not exactly the model's outputs.
    """
    if path.suffix.lower() == ".json":
        given = _from_json(path, limit_bytes)
        _check_names(given, like)
        return {name: _alike(name, value, like[name]) for name, value in given.items()}
    from quickserveml_tui.runtime.value_files import read_values

    with _opened(path, limit_bytes) as file:
        found = read_values(file, limit_bytes)
    _check_names(found, like)
    return {name: _cast(name, value, like[name]) for name, value in found.items()}


def _check_names(given: Mapping[str, object], like: Mapping[str, object]) -> None:
    strange, missing = sorted(given.keys() - like.keys()), sorted(like.keys() - given.keys())
    if strange or missing:
        verb, name = ("has no output", strange[0]) if strange else ("also gives", missing[0])
        raise DataError(
            f"The expected outputs do not fit: the model {verb} “{safe_text(name, 80)}”.",
            hint=f"Its outputs: {', '.join(safe_text(name, 80) for name in sorted(like)[:20])}.",
            code="golden.outputs",
        )


def _from_json(path: Path, limit_bytes: int) -> dict[str, Any]:
    import msgspec

    name = safe_text(path.name, 80)
    with _opened(path, limit_bytes) as file:
        data = file.read()
    try:
        document = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataError(
            f"“{name}” is not valid JSON: {safe_text(error, 200)}.", hint="Save it again.", code="data.unreadable"
        ) from error
    if isinstance(document, dict) and _is_prediction(document.get("outputs")):
        return {key: entry["data"] for key, entry in document["outputs"].items()}
    if not isinstance(document, dict):
        raise DataError(
            f"“{name}” holds no outputs by name.", hint='Write it like {"y": [[0.1, 0.9]]}.', code="golden.outputs"
        )
    return document


@contextmanager
def _opened(path: Path, limit_bytes: int) -> Iterator[IO[bytes]]:
    """A regular file of a bounded size, opened; links are followed, a FIFO does not block."""
    from quickserveml_tui.storage.fs import open_regular

    try:
        with os.fdopen(open_regular(path.resolve()), "rb") as file:
            if os.fstat(file.fileno()).st_size > limit_bytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            yield file
    except (OSError, RuntimeError) as error:
        reason = safe_text(getattr(error, "strerror", None) or "it cannot be reached", 80)
        raise DataError(
            f"“{safe_text(path.name, 80)}” cannot be read: {reason}.",
            hint=f"Name a regular file of at most {format_bytes(limit_bytes)}.",
            code="data.unreadable",
        ) from error


def _is_prediction(outputs: object) -> bool:
    return isinstance(outputs, dict) and all(isinstance(item, dict) and "data" in item for item in outputs.values())


def _alike(name: str, value: Any, like: Value, depth: int = 0) -> Value:
    """`value` as what the model answers: arrays where it gives arrays, keys and elements of its types."""
    import numpy as np

    if depth > MAX_DEPTH:
        raise _misfit(name, "it is nested too deeply")
    if isinstance(like, np.ndarray):
        if value is None:
            raise _misfit(name, "it is null")
        return _array(name, value, like)
    if isinstance(like, list):
        if not isinstance(value, list) or len(value) != len(like):
            raise _misfit(name, f"the model gives a sequence of {len(like):,}")
        return [_alike(name, item, twin, depth + 1) for item, twin in zip(value, like, strict=True)]
    if isinstance(like, dict):
        if not isinstance(value, dict) or set(value) != {str(key) for key in like}:
            raise _misfit(name, "the model gives a map with other keys")
        return {key: _alike(name, value[str(key)], twin, depth + 1) for key, twin in like.items()}
    if like is None:
        if value not in (None, []):
            raise _misfit(name, "the model gives no value")
        return None
    if isinstance(like, str | int | float):
        return _NAMED.get(value, value) if isinstance(like, float) and isinstance(value, str) else value
    raise _misfit(name, "the model gives what JSON cannot hold; give an NPZ file")


def _cast(name: str, value: Value, like: Value) -> Value:
    """Numbers in the model's own dtype where nothing is lost: NumPy writes float64 and int64 unasked."""
    import numpy as np

    both = isinstance(value, np.ndarray) and isinstance(like, np.ndarray)
    if both and value.dtype != like.dtype and {value.dtype.kind, like.dtype.kind} <= set("iuf"):
        return _array(name, value, like)
    return value


def _array(name: str, value: Any, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    is_text = like.dtype.kind in "OUS"
    try:
        made = np.array(value if is_text else _numbers(value), dtype=object if is_text else None)
        array = made.astype(like.dtype)
        is_exact = like.dtype.kind not in "iu" or bool(np.array_equal(array, made))
    except (ValueError, TypeError, OverflowError) as error:
        raise _misfit(name, f"the model gives a tensor of {like.dtype}: {safe_text(error, 120)}") from error
    if array.shape != like.shape and array.size == like.size == 0:
        return array.reshape(like.shape)
    if not is_exact:
        raise _misfit(name, f"the model gives whole numbers ({like.dtype})")
    return array


def _numbers(value: Any) -> Any:
    """The names that stand for what JSON has no number for, as numbers."""
    if isinstance(value, str):
        return _NAMED.get(value, value)
    return [_numbers(item) for item in value] if isinstance(value, Sequence) else value


def _misfit(name: str, why: str) -> DataError:
    return DataError(
        f"The expected output “{safe_text(name, 80)}” does not fit: {why}.",
        hint="Save the outputs with `quickserveml predict --output FILE.npz`, or correct the file.",
        code="golden.outputs",
    )
