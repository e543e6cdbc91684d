"""The code that fuzzed bytes are given to. A target returns, or raises what it documents; anything else is a finding."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_oracles import check_header, check_skim
from fuzz_seeds import WEIGHTS_BYTES, WEIGHTS_NAME

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph import reading, sniff
from quickserveml_tui.graph.external import external_files
from quickserveml_tui.graph.facts import read_facts
from quickserveml_tui.graph.header import read_header
from quickserveml_tui.graph.layers import read_layers
from quickserveml_tui.runtime.value_files import load_values, save_values

Target = Callable[[bytes], None]


class UnclearRefusalError(Exception):
    """A refusal that is not one clean sentence with something to do."""


def _refused(call: Callable[[], Any]) -> bool:
    """Whether the call refuses; the refusal must be fit to be shown."""
    try:
        call()
    except QuickServeError as error:
        text = error.message
        if not error.hint or not text.endswith(".") or len(text) > 600 or safe_text(text, 700) != text:
            raise UnclearRefusalError(f"{error.code}: {text!r}, hint {error.hint!r}") from error
        return True
    return False


class Models:
    """Files that may be models, in a folder with a data file beside them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "model.onnx"
        (folder / WEIGHTS_NAME).write_bytes(bytes(WEIGHTS_BYTES))

    def index(self, data: bytes) -> None:
        """Sniffing and reading in both ways, large and small, without the onnx package's own checks."""
        self._path.write_bytes(data)
        sniff.recognise(data[: sniff.HEAD_BYTES])
        refused = _refused(lambda: sniff.check_bytes(memoryview(data), "model.onnx"))
        if data and refused != _refused(lambda: sniff.check_file(self._path)):
            raise AssertionError("the file is judged otherwise than its bytes")
        reading.MIN_FILE_BYTES = 0 if zlib.crc32(data) & 2 else 2**40
        if refused or (len(data) > 2048 and zlib.crc32(data) % 4):  # parsing it all again takes longer than the rest
            _refused(lambda: read_header(self._path))
        else:
            check_skim(data)
            check_header(self._path, data)
        _refused(lambda: external_files(self._path))

    def facts(self, data: bytes) -> None:
        """Everything that is read of a model when it is added or shown."""
        self.index(data)
        reading.MIN_FILE_BYTES = 0 if zlib.crc32(data) & 1 else 2**40
        if not _refused(lambda: read_facts(self._path)):
            _refused(lambda: read_layers(self._path))

    def values(self, data: bytes) -> None:
        """Recorded outputs and inputs; what is read can be written, and read again."""
        path = self._path.with_name("values.npz")
        path.write_bytes(data)
        found: dict[str, Any] = {}
        if not _refused(lambda: found.update(load_values(path, limit_bytes=2**20))):
            again = save_values(found)
            path.write_bytes(again)
            if save_values(load_values(path)) != again:
                raise AssertionError("values change when they are saved and loaded")

    def all(self, data: bytes) -> None:
        """The index for every input, facts for each fourth: they take longer."""
        self.index(data)
        if zlib.crc32(data) % 4 == 0:
            self.facts(data)


def watched(name: str) -> list[Path]:
    """Files whose lines guide the choice of inputs for a target."""
    package = Path(sniff.__file__).parents[1]
    if name == "values":
        return [package / "runtime" / file for file in ("npy.py", "value_files.py", "value_trees.py")]
    unread = {
        "carriers.py",
        "convert.py",
        "ir_versions.py",
        "reference.py",
        "translate.py",
    }  # they make or change models
    return sorted(path for path in (package / "graph").glob("*.py") if path.name not in unread)


def load(name: str, folder: Path) -> Target:
    """A target by its name, or `module:function` of a module on the path."""
    if ":" in name:
        from importlib import import_module

        module, _, function = name.partition(":")
        target: Target = getattr(import_module(module), function)
        return target
    models = Models(folder)
    targets: dict[str, Target] = {
        "index": models.index,
        "facts": models.facts,
        "values": models.values,
        "all": models.all,
    }
    return targets[name]
