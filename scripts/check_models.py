"""Holds the commands against raw onnxruntime for a folder of models, and prints a table.

`python scripts/check_models.py FOLDER [--only WORD] [--timeout SECONDS] [--memory GB]`

For each .onnx file below FOLDER: `quickserveml add`, `inspect` and `predict` with `--json`, each a command line of its
own on a temporary home, and the same model and inputs in raw onnxruntime in a child process with limits on memory and
time. The table says what the program made of the file, in its own words, whether raw onnxruntime agrees, and whether
the outputs are the same.

Inputs are made with a fixed seed. Where the folder has `io/NAME.npz` for `NAME.onnx`, they come from there, and its
outputs are compared as well. Its arrays are `in__X` for input X and `out__Y` for output Y, with `/`, `:` and `%` in
names percent-encoded; a sequence is `out__Y__seq0`, `out__Y__seq1` and so on, a sequence of maps `out__Y__mapkeys` with
one row of `out__Y__mapvals` a map. Outputs from another machine may differ from what raw onnxruntime says on this one:
`raw too` stands for those. Where the folder has `manifest.json`, a list of objects, those whose `file` or `path` is
missing in the folder are named at the end.

Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RTOL, ATOL = 1e-4, 1e-5
MAX_REASON = 100


@dataclass
class Row:
    """A line of the table."""

    name: str
    verdict: str
    raw: str
    same: str = ""
    expected: str = ""
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the program and raw onnxruntime say the same, and the outputs are the same."""
        return (self.verdict == "ready") == (self.raw == "ok") and "no" not in (self.same, self.expected)


# ---- raw onnxruntime, in a child -------------------------------------------------------------------------------------


def raw_main(model: str, inputs: str, outputs: str, memory_gb: float) -> None:
    """Run the model and print one JSON document with verdict and reason; makes inputs where there are none."""
    import resource

    limit = int(memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    answer: dict[str, Any] = {"verdict": "load"}
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        answer["verdict"] = "run"
        if not Path(inputs).exists():
            np.savez(inputs, **_made_up(session))
        with np.load(inputs, allow_pickle=False) as file:
            feeds = {_decoded(key): _taken(file[key]) for key in file.files}
        values = session.run(None, feeds)
        answer = {"verdict": "ok"}
        Path(outputs).write_text(
            json.dumps({item.name: leaves(value) for item, value in zip(session.get_outputs(), values, strict=True)})
        )
    except Exception as error:  # noqa: BLE001 - whatever it says is the answer
        answer["reason"] = f"{type(error).__name__}: {error}"
    print(json.dumps(answer))


def _taken(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(object) if array.dtype.kind in "US" else array


def _made_up(session: Any) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    types = {"float": np.float32, "double": np.float64}
    made = {}
    for item in session.get_inputs():
        match = re.fullmatch(r"tensor\((\w+)\)", item.type)
        if not match:
            raise TypeError(f"no inputs of type {item.type} are made up here")
        shape = [dim if isinstance(dim, int) and dim >= 0 else 1 for dim in item.shape]
        if match[1] == "string":
            made[_encoded(item.name)] = np.full(shape, "a")
        else:
            dtype = np.dtype(types.get(match[1], match[1]))
            kept = random.random(shape) if dtype.kind == "f" else np.ones(shape)
            made[_encoded(item.name)] = kept.astype(dtype)
    return made


def _encoded(name: str) -> str:
    return urllib.parse.quote(name, safe=" !#$&'()*+,;=?@[]~.-_|<>{}^`\"")


def _decoded(name: str) -> str:
    return urllib.parse.unquote(name)


# ---- values as leaves ------------------------------------------------------------------------------------------------


def leaves(value: Any) -> list[Any]:
    """All numbers and texts of a value in order, in whatever it is nested."""
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        return [leaf for item in value.ravel().tolist() for leaf in leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, bytes):
        return [value.decode("utf-8", "replace")]
    if isinstance(value, float) and not np.isfinite(value):
        return ["NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"]
    return [value]


def equal(first: list[Any], second: list[Any]) -> bool:
    """Whether two lists of leaves are the same, numbers within a tolerance."""
    if len(first) != len(second):
        return False
    texts = [(a, b) for a, b in zip(first, second, strict=True) if isinstance(a, str) or isinstance(b, str)]
    numbers = [(a, b) for a, b in zip(first, second, strict=True) if not (isinstance(a, str) or isinstance(b, str))]
    if any(a != b for a, b in texts):
        return False
    return not numbers or np.allclose(*np.array(numbers, np.float64).T, rtol=RTOL, atol=ATOL)


def known_outputs(file: Path) -> dict[str, list[Any]]:
    """Leaves of the expected outputs by name, of an `io/NAME.npz`."""
    parts: dict[str, list[tuple[str, np.ndarray[Any, Any]]]] = {}
    with np.load(file, allow_pickle=False) as stored:
        for key in (key for key in stored.files if key.startswith("out__")):
            name, _, part = key.removeprefix("out__").partition("__")
            parts.setdefault(_decoded(name), []).append((part, stored[key]))
    known = {}
    for name, found in parts.items():
        found.sort(key=lambda item: int(item[0].removeprefix("seq")) if item[0].startswith("seq") else 0)
        known[name] = [leaf for part, array in found if part != "mapkeys" for leaf in leaves(array)]
    return known


# ---- the program -----------------------------------------------------------------------------------------------------


class Checker:
    """Runs both sides on one folder of models."""

    def __init__(self, work: Path, timeout_s: float, memory_gb: float) -> None:
        self._work = work
        self._timeout_s = timeout_s
        self._memory_gb = memory_gb
        self._number = 0

    def check(self, path: Path, folder: Path) -> Row:
        """The line for one file."""
        self._number += 1
        inputs = self._work / f"in{self._number}.npz"
        stored = folder / "io" / f"{path.stem}.npz"
        if stored.exists():
            with np.load(stored, allow_pickle=False) as file:
                arrays = {key.removeprefix("in__"): file[key] for key in file.files if key.startswith("in__")}
            np.savez(inputs, **arrays)
        raw, raw_outputs = self._raw(path, inputs)
        verdict, reason, ref = self._added(path)
        row = Row(str(path.relative_to(folder)), verdict, raw, reason=reason)
        if verdict == "ready":
            ours = self._predicted(ref, inputs, row)
            if ours is not None and raw_outputs is not None:
                row.same = "yes" if _same(ours, raw_outputs) else "no"
            if ours is not None and stored.exists():
                known = known_outputs(stored)
                elsewhere = raw_outputs is not None and not _same(raw_outputs, known)
                row.expected = "yes" if _same(ours, known) else "raw too" if elsewhere else "no"
        return row

    def _raw(self, path: Path, inputs: Path) -> tuple[str, dict[str, list[Any]] | None]:
        outputs = self._work / f"out{self._number}.json"
        command = [sys.executable, __file__, "--raw", str(path), str(inputs), str(outputs), str(self._memory_gb)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=self._timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return "timeout", None
        if done.returncode or not done.stdout.strip():
            return f"signal {-done.returncode}" if done.returncode < 0 else "died", None
        answer = json.loads(done.stdout.decode().splitlines()[-1])
        return answer["verdict"], json.loads(outputs.read_text()) if answer["verdict"] == "ok" else None

    def _command(self, *arguments: str) -> Any:
        """The document that a command line prints, or an error document when it takes too long or prints none."""
        command = [sys.executable, "-m", "quickserveml_tui", "--home", str(self._work / "home"), *arguments, "--json"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QSML_")}
        environment = {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=max(120.0, self._timeout_s), check=False, env=environment
            )
            return json.loads(done.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            return {"error": {"code": "none", "message": f"No document: {type(error).__name__}.", "hint": ""}}

    def _added(self, path: Path) -> tuple[str, str, str]:
        document = self._command("add", str(path), "--name", f"model-{self._number}")
        if "error" in document:
            return "rejected", _reason(document["error"]), ""
        ref = f"{document['name']}@{document['version']}"
        shown = self._command("inspect", ref)
        if shown.get("runnable") != document["runnable"]:
            return "unclear", f"add and inspect differ: {shown.get('error', shown.get('reason'))}", ref
        trial = document["trial"]
        code = trial.get("code") or "unrunnable"
        return ("ready", "", ref) if document["runnable"] else ("unrunnable", f"{code}: {trial['reason']}", ref)

    def _predicted(self, ref: str, inputs: Path, row: Row) -> dict[str, list[Any]] | None:
        document = self._command("predict", ref, *(["--inputs", str(self._plain(inputs))] if inputs.exists() else []))
        if "error" in document:
            row.reason, row.same = f"predict: {_reason(document['error'])}", "no"
            return None
        return {name: leaves(value["data"]) for name, value in document["outputs"].items()}

    def _plain(self, inputs: Path) -> Path:
        """The inputs under their own names, as the program reads them."""
        target = self._work / f"plain{self._number}.npz"
        with np.load(inputs, allow_pickle=False) as file:
            values = {_decoded(key): file[key] for key in file.files}
        if all(name.isprintable() and "/" not in name for name in values):
            np.savez(target, **values)
            return target
        target = target.with_suffix(".json")  # a member of an archive cannot bear every name
        target.write_text(json.dumps({name: array.tolist() for name, array in values.items()}))
        return target


def _same(first: dict[str, list[Any]], second: dict[str, list[Any]]) -> bool:
    return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)


def _reason(error: dict[str, str]) -> str:
    return f"{error['code']}: {error['message']}"


def _print(rows: list[Row]) -> None:
    width = max((len(row.name) for row in rows), default=4)
    print(f"{'file'.ljust(width)}  {'verdict':<10}  {'raw':<10}  {'same':<4}  {'expected':<8}  reason")
    for row in rows:
        mark = " " if row.agrees else "!"
        cut = row.reason if len(row.reason) <= MAX_REASON else f"{row.reason[: MAX_REASON - 1]}…"
        cells = f"{row.verdict:<10}  {row.raw:<10}  {row.same:<4}  {row.expected:<8}"
        print(f"{row.name.ljust(width)}{mark} {cells}  {cut}".rstrip())


def main() -> int:
    """Check a folder; the exit code."""
    if sys.argv[1:2] == ["--raw"]:
        raw_main(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="check the files whose name holds this")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for raw onnxruntime on one file")
    parser.add_argument("--memory", type=float, default=4.0, help="GB for raw onnxruntime on one file")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    files = [path for path in sorted(folder.rglob("*.onnx")) if chosen.only in path.name]
    with tempfile.TemporaryDirectory() as work:
        checker = Checker(Path(work), chosen.timeout, chosen.memory)
        rows = [checker.check(path, folder) for path in files]
    _print(rows)
    differing = sum(not row.agrees for row in rows)
    missing = _missing(folder)
    print(f"\n{len(rows)} files, {differing} differ." + (f" Missing: {', '.join(missing)}." if missing else ""))
    return 1 if differing or missing else 0


def _missing(folder: Path) -> list[str]:
    manifest = folder / "manifest.json"
    entries = json.loads(manifest.read_text()) if manifest.exists() else []
    named = [entry.get("file") or entry.get("path") for entry in entries if isinstance(entry, dict)]
    return [name for name in named if isinstance(name, str) and not (folder / name).exists()]


if __name__ == "__main__":
    sys.exit(main())
