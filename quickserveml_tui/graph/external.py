"""Find the files that hold a model's external data, and refuse those that are not the model's to read."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.reading import Tensor, graph_tensors, read_file, shown
from quickserveml_tui.graph.reading import tensors as all_tensors
from quickserveml_tui.graph.tensors import byte_count, external_entries, inline_payload, is_external

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_REPAIR = "Save the model again with `onnx.save(model, path, save_as_external_data=True)`."


def _escape(tensor: Tensor, location: str) -> ModelError:
    return ModelError(
        f"Tensor “{shown(tensor.name)}” refers to “{shown(location)}”, outside the model's folder.",
        hint="Models may only read files beside or below themselves: copy the data there and save the model again.",
        code="model.external_escape",
    )


def _range_error(tensor: Tensor, problem: str) -> ModelError:
    return ModelError(
        f"The external data of tensor “{shown(tensor.name)}” {problem}.", hint=_REPAIR, code="model.external_range"
    )


def _safe_location(tensor: Tensor, location: str) -> str:
    """The location as a plain relative path with `/`; refuses every form that could lead elsewhere."""
    plain = PurePosixPath(location)
    windows = PureWindowsPath(location)
    if (
        not location
        or any(char in location for char in "\0\\")
        or location.startswith("*")  # the runtime's own marker for data at a memory address
        or plain.is_absolute()
        or windows.drive
        or windows.root
        or ".." in plain.parts
        or not plain.parts
    ):
        raise _escape(tensor, location)
    return plain.as_posix()


class _Folder:
    """The model's folder, and the sizes of the data files found in it."""

    def __init__(self, model_path: Path) -> None:
        self._folder = model_path.parent
        self._root = self._folder.resolve()
        self._model = model_path.resolve()
        self.sizes: dict[str, int] = {}

    def size(self, tensor: Tensor, location: str) -> int:
        """Bytes of a data file; raises unless it is a regular file in the folder, also after following links."""
        if location not in self.sizes:
            self.sizes[location] = self._measure(tensor, location)
        return self.sizes[location]

    def _measure(self, tensor: Tensor, location: str) -> int:
        try:
            found = (self._folder / location).resolve(strict=True)
            status = found.lstat()
        except (OSError, RuntimeError):
            raise ModelError(
                f"The file “{shown(location)}” with the data of tensor “{shown(tensor.name)}” is missing.",
                hint="Copy it beside the model under the same name.",
                code="model.external_missing",
            ) from None
        if not found.is_relative_to(self._root):
            raise _escape(tensor, location)
        if not stat.S_ISREG(status.st_mode) or found == self._model:
            raise ModelError(
                f"“{shown(location)}” with the data of tensor “{shown(tensor.name)}” is not a data file.",
                hint=_REPAIR,
                code="model.external_invalid",
            )
        return status.st_size


def _number(tensor: Tensor, entries: dict[str, str], key: str) -> int | None:
    value = entries.get(key)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise _range_error(tensor, f"has the {key} “{shown(value)}”, which is not a number")
    return int(value)


def _check_range(tensor: Tensor, entries: dict[str, str], file_size: int) -> None:
    wanted = byte_count(tensor)
    if wanted is None:
        raise _range_error(tensor, "has a type that cannot be kept in another file")
    offset = _number(tensor, entries, "offset") or 0
    length = _number(tensor, entries, "length")
    if length is not None and length != wanted:
        raise _range_error(tensor, f"is {length:,} bytes long, but its shape needs {wanted:,}")
    if offset + wanted > file_size:
        raise _range_error(tensor, f"ends at byte {offset + wanted:,} of a file of {file_size:,} bytes")


def external_sizes(tensors: Iterable[Tensor], path: Path) -> dict[str, int]:
    """Size in bytes by relative path of each file with external data, in the order of use; checks every reference."""
    folder = _Folder(path)
    for tensor in tensors:
        if not is_external(tensor) or inline_payload(tensor) is not None:
            continue
        entries = external_entries(tensor)
        location = _safe_location(tensor, entries.get("location", ""))
        _check_range(tensor, entries, folder.size(tensor, location))
    return folder.sizes


def present_bytes(path: Path, locations: Mapping[str, Tensor]) -> int:
    """Bytes of those data files, by location, that are there and are the model's to read."""
    folder = _Folder(path)
    for location, tensor in locations.items():
        with suppress(ModelError):
            folder.size(tensor, _safe_location(tensor, location))
    return sum(folder.sizes.values())


def external_files(path: Path) -> tuple[str, ...]:
    """Relative paths of the external data that the model at `path` refers to, in the order of first use.

    Raises `ModelError`: as `read_model` does, `model.external_escape` for a location outside the model's folder (by its
    text or through links), `model.external_missing`, `model.external_invalid` and `model.external_range`.
    """
    file = read_file(path)
    found = all_tensors(file.model) if file.mentions_files else graph_tensors(file.model.graph)
    return tuple(external_sizes(found, path))
