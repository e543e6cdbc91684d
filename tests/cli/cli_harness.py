"""Command lines in this process and in processes of their own, and the schema of what they print."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from jsonschema import Draft202012Validator
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.cli import diagnostics
from quickserveml_tui.cli.front import invocation

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "docs" / "contract" / "cli.schema.json"


@dataclass(frozen=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything before or after it is an error."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error of the document."""
        check(self.document, "error")
        return self.document["error"]


@cache
def _schema() -> dict[str, Any]:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def check(document: Any, name: str) -> None:
    """Fail unless the document is valid against the definition `name` of the contract."""
    schema = _schema()
    Draft202012Validator({**schema, "$ref": f"#/$defs/{name}"}).validate(document)


class Cli:
    """Runs command lines on one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str) -> Result:
        """Run a command line in this process: a fresh invocation, stdout and stderr of its own, no terminal."""
        vars(invocation).clear()
        invocation.__init__()  # type: ignore[misc]
        out, err = io.StringIO(), io.StringIO()
        out.fileno = err.fileno = _no_descriptor  # type: ignore[method-assign]
        with contextlib.redirect_stdout(_Utf8(out)), contextlib.redirect_stderr(_Utf8(err)):
            code = diagnostics.run(["--home", str(self.home), *arguments])
        return Result(code, out.getvalue(), err.getvalue())

    def json(self, name: str, *arguments: str, code: int = 0) -> Any:
        """The document of a command line with `--json`, valid against the contract's definition `name`."""
        result = self(*arguments, "--json")
        assert result.code == code, result
        check(result.document, name)
        return result.document

    def process(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Result:
        """Run a command line in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "quickserveml_tui", "--home", str(self.home), *arguments],
            env=environment(env), capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, **options,
        )  # fmt: skip
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


class _Utf8:
    """A text stream that says it takes UTF-8."""

    encoding = "utf-8"

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _no_descriptor() -> int:
    raise io.UnsupportedOperation("fileno")


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a child process: this checkout, UTF-8, and nothing of the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QSML_", "NO_COLOR"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **(extra or {})}


def save_model(path: Path, *, scale: float = 1.0, rows: str | int = "batch") -> Path:
    """A linear model: `x` float32[batch, 4] to `y` float32[batch, 3]; the scale makes different files."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) * np.float32(scale)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    return _save(graph, path)


def save_unrunnable(path: Path) -> Path:
    """A readable model with an operator that no runtime has."""
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    return _save(helper.make_graph([node], "odd", value[:1], value[1:]), path)


def save_nonfinite(path: Path) -> Path:
    """A model whose output is 1, NaN, +Inf, -Inf, whatever its input."""
    odd = numpy_helper.from_array(np.array([1, np.nan, np.inf, -np.inf], np.float32), "odd")
    node = helper.make_node("Add", ["x", "odd"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    return _save(helper.make_graph([node], "odd", [x], [y], [odd]), path)


def _save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
