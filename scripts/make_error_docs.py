"""Writes docs/errors.md from the sources: python scripts/make_error_docs.py [--check].

Every error has a code, a sentence and a hint where it is raised; they are collected from there, so the page says what
the program says. `SAID` holds the few that are put together while it runs.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "quickserveml_tui"
TARGET = ROOT / "docs" / "errors.md"
sys.path.insert(0, str(ROOT))

CODE = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
AREAS = {
    "model": "Models", "data": "Data and inputs", "runtime": "The runtime and its processes",
    "golden": "Golden outputs", "convert": "Converting", "usage": "Command lines", "store": "Stores",
    "artifact": "Files of versions",
}  # fmt: skip
OTHER = "Everything else"

HEAD = """# Errors

Every error has a code that stays, one sentence that says what and why, and a hint that says what to do. `--json` prints
them as `{"error": {"code": …, "message": …, "hint": …}}`. With `--verbose` the whole text behind the sentence follows,
such as the runtime's own words: in JSON as `detail`, elsewhere below the hint. A version that cannot run keeps the
sentence, the code and the detail of its trial.

This page is generated from the sources by `scripts/make_error_docs.py`; `…` stands for what depends on the case. The
exit code of a command is that of the kind of error, as in [commands.md](commands.md).
"""

SAID = {
    "name.invalid": (
        "“…” is not a valid name.",
        "Letters, digits, dots, dashes and underscores; a name does not end in .onnx.",
    ),
    "category.invalid": ("“…” is not a valid category.", "Write a category like vision/ocr."),
    "alias.invalid": (
        "“…” is not a valid alias.",
        "An alias must not look like a version number or label, nor be 'latest'.",
    ),
    "label.invalid": ("“…” is not a valid label.", "Write a label like 1.2.0 or 1.2.0-rc1."),
    "version.invalid": ("“…” is not a valid version.", "A version is a whole number from 1 on, without leading zeros."),
    "reference.invalid": ("“…” is not a valid reference.", "Write a path, or name[@version|@label|@alias]."),
    "model.not_onnx": (
        "“…” is not an ONNX model, with what it looks like.",
        "Name an .onnx file; export or convert the model first.",
    ),
    "model.lfs_pointer": (
        "“…” is a git-LFS pointer that stands for the model.",
        "Run `git lfs pull` in its repository.",
    ),
    "model.bad_tensor": (
        "A stored tensor of the model is not valid: its data, shape and type do not go together.",
        "The file is damaged or was written wrongly; export or download it again.",
    ),
    "model.shapes": (
        "The shapes at … do not fit: ….",
        "Export the model again, or without fixed shapes.",
    ),
    "model.types": (
        "The types at a node do not fit: … does not take the type … that its input “…” has.",
        "Export the model with the types that the operator takes in its opset, such as float32.",
    ),
    "data.invalid": (
        "The values of input “…” are not what the model takes: ….",
        "Compare them with what `quickserveml schema` shows.",
    ),
    "data.range": (
        "Input “…” has values beyond the range of ….",
        "Give values that fit its type.",
    ),
    "data.unsupported": (
        "Input “…” refers to shared memory, which this server does not offer.",
        "Send the values with the request.",
    ),
    "data.unknown_input": (
        "The model has no input “…”.",
        "Give the inputs that `quickserveml schema` shows, and no others.",
    ),
    "bundle.compressed": (
        "The bundle cannot be read: its files are compressed, so another program packed it.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.duplicate": (
        "The bundle cannot be read: a file is in it twice.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.encrypted": (
        "The bundle cannot be read: its files are encrypted.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.link": (
        "The bundle cannot be read: it holds a link, a folder or a device.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.too_large": (
        "The bundle cannot be read: it lists too many files.",
        "Export fewer models at once.",
    ),
    "bundle.truncated": (
        "The bundle cannot be read: its end is missing.",
        "Copy the whole file again.",
    ),
    "bundle.damaged": (
        "The bundle cannot be read: what it holds is not what it says.",
        "Copy the whole file again.",
    ),
    "bundle.not_a_bundle": (
        "The bundle cannot be read: it is no zip archive.",
        "Bundles are files that `quickserveml export` wrote.",
    ),
    "bundle.unsafe_path": (
        "The bundle cannot be read: a file in it has a path that leads elsewhere.",
        "Do not use it; export it again where it came from.",
    ),
    "config.unknown_key": (
        "There is no setting “…”.",
        "`quickserveml config show` lists the settings.",
    ),
    "golden.differs": (
        "The given outputs are not what the model answers: ….",
        "Record without them, or look at the difference.",
    ),
    "golden.unverified": (
        "… has golden outputs that it does not give.",
        "`quickserveml verify …` shows the differences; --no-verify goes on.",
    ),
    "output.not_finite": (
        "An output holds NaN or infinities, which JSON cannot carry.",
        "Ask for binary outputs.",
    ),
    "registry.bad_name": (
        "A model has a name that names may not have.",
        "`quickserveml fsck --repair` gives it another.",
    ),
    "registry.dangling_alias": (
        "An alias points at a version that is not there.",
        "`quickserveml fsck --repair` takes it away.",
    ),
    "registry.duplicate_name": (
        "Two models have the same name.",
        "`quickserveml fsck --repair` renames one.",
    ),
    "registry.not_mended": (
        "A damage of the registry cannot be mended by itself.",
        "Restore a backup.",
    ),
    "registry.unrunnable_alias": (
        "A protected alias points at a version that does not run.",
        "Move the alias.",
    ),
    "registry.version_order": (
        "The versions of a model are not in order.",
        "`quickserveml fsck --repair` sorts them.",
    ),
    "request.invalid": (
        "The request is not what this path takes.",
        "The API's description is at /docs.",
    ),
    "request.length": (
        "The length of the request is not what it says.",
        "Check the client.",
    ),
    "usage.benchmark": (
        "An option of the benchmark is out of range.",
        "`quickserveml benchmark --help` lists the options.",
    ),
    "usage.jobs": (
        "An option of the jobs is out of range.",
        "`quickserveml job --help` lists the options.",
    ),
    "usage.serve": (
        "An option of the server is out of range.",
        "`quickserveml serve --help` lists the options.",
    ),
    "model.unrunnable": (
        "The model is readable, but its trial failed.",
        "Inspect it; add a corrected file as the next version.",
    ),
    "model.load_failed": (
        "The runtime's own words, where no other code fits.",
        "--verbose prints them in full; check the model where it was exported.",
    ),
    "model.unknown_operator": (
        "The operator … is unknown to onnxruntime … in opset ….",
        "Export the model with standard operators, or with an opset that has this one.",
    ),
    "model.invalid_node": (
        "… is not valid: …, or: onnxruntime … cannot prepare the model: ….",
        "Export the model again, and check it where it was exported.",
    ),
    "model.not_found": (
        "There is no model “…”.",
        "`quickserveml list` shows the models there are.",
    ),
    "version.not_found": (
        "… has no version “…”.",
        "`quickserveml show NAME` lists its versions, labels and aliases.",
    ),
    "data.run_failed": (
        "The model failed on these inputs: ….",
        "Check the shapes and values of the inputs.",
    ),
    "data.encoding": (
        "Input “…” has text that is not UTF-8.",
        "Compare the request with the model's metadata.",
    ),
    "data.duplicate_input": (
        "Input “…” is there twice.",
        "Compare the request with the model's metadata.",
    ),
    "runtime.crashed": (
        "The runtime crashed on this model (…).",
        "Only the process that ran the model was lost; nothing else is affected.",
    ),
    "runtime.timeout": (
        "The model did not finish within … s.",
        "It may loop without end, or need smaller inputs or more time.",
    ),
    "runtime.failed": (
        "The runtime failed on the model in a way that is not the data's fault.",
        "--verbose prints all that is known.",
    ),
    "runtime.protocol": (
        "A runner and the program do not understand each other.",
        "Install the program again.",
    ),
    "conflict": (
        "The write lost against another one, or the name is taken.",
        "Look at what is there now, and try again.",
    ),
    "gate.failed": (
        "A check that was to be passed was not.",
        "Look at the report of the check.",
    ),
    "internal": (
        "Something went wrong that should not have.",
        "A report was written; please pass it on.",
    ),
    "not_permitted": (
        "The caller may not do this.",
        "Ask whoever runs the server.",
    ),
    "reference.not_found": (
        "What the reference names does not exist.",
        "`quickserveml list` shows the models there are.",
    ),
    "store.unavailable": (
        "A store is locked, full or damaged.",
        "`quickserveml fsck` checks the stores.",
    ),
    "store.read_only": (
        "Nothing may be written: the program or the home is read-only.",
        "Open it without --read-only, QSML_READ_ONLY or the setting read_only.",
    ),
    "unavailable": (
        "A server, port or optional part that is needed is not there.",
        "`quickserveml doctor` says what is.",
    ),
    "usage": (
        "The command line is malformed.",
        "`quickserveml COMMAND --help` lists the options.",
    ),
    "usage.filter": (
        "A filter cannot be read.",
        "docs/filters.md describes filters.",
    ),
    "cancelled": (
        "Cancelled.",
        "What was finished before is kept.",
    ),
    "deadline": (
        "The inference took longer than its deadline.",
        "Send less at once, or raise the deadline.",
    ),
    "benchmark.unsaved": (
        "The benchmark ran, but its result could not be kept.",
        "See why the store takes nothing: `quickserveml doctor`.",
    ),
    "lineage.invalid": (
        "What a version was derived from is not written as that.",
        "Name a version, or the sha256 of an artifact.",
    ),
    "http.error": (
        "The request cannot be answered.",
        "The API's description is at /docs.",
    ),
    "http.not_found": (
        "There is nothing at this path.",
        "The API's description is at /docs.",
    ),
    "http.method": (
        "This path does not take this method.",
        "The API's description is at /docs.",
    ),
    "http.malformed": (
        "The request is not HTTP as it should be.",
        "Check the client.",
    ),
    "http.timeout": (
        "The request did not arrive in time.",
        "Send it again, faster or in parts.",
    ),
    "http.head_too_large": (
        "The head of the request is too large.",
        "Send fewer or shorter headers.",
    ),
    "http.too_large": (
        "The body of the request is too large.",
        "Send less at once.",
    ),
}
"""Sentence and hint of codes whose own are made elsewhere or differ from place to place."""


@dataclass(frozen=True)
class Entry:
    """A code as the sources raise it."""

    code: str
    message: str = ""
    hint: str = ""
    error: str = ""
    """Name of the class."""


# ---- reading the sources ---------------------------------------------------------------------------------------------


def entries() -> dict[str, Entry]:
    """The codes of the sources, each with the first sentence and hint that are spelled out."""
    trees = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(PACKAGE.rglob("*.py"))]
    positions, prefixes = _code_positions(trees), _prefixes(trees)
    found = {code: Entry(code, *SAID[code], error="UsageError") for code in _spelled_out(trees)}
    everywhere = {name: text for _path, tree in trees for name, text in _constants(tree).items()}
    for _path, tree in trees:
        for entry in _entries_of(tree, everywhere | _constants(tree), positions, prefixes):
            known = found.get(entry.code)
            if known is None or (not known.message and entry.message):
                found[entry.code] = entry
    for code, (message, hint) in SAID.items():
        if code in found:
            found[code] = Entry(code, message, hint, found[code].error)
    return found


def _code_positions(trees: list[tuple[Path, ast.Module]]) -> dict[str, int]:
    """Position of the parameter `code` by name of a function or of a class with fields."""
    positions: dict[str, int] = {}
    for _path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]
                if "code" in names and node.name != "__init__":
                    positions[node.name] = names.index("code")
            elif isinstance(node, ast.ClassDef):
                fields = [
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                ]
                if "code" in fields:
                    positions[node.name] = fields.index("code")
    return positions


def _spelled_out(trees: list[tuple[Path, ast.Module]]) -> set[str]:
    """The codes of `_invalid(what, …)`, which makes `what.invalid`."""
    calls = (node for _path, tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        f"{node.args[0].value}.invalid"
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id == "_invalid" and isinstance(node.args[0], ast.Constant)
    }


def _prefixes(trees: list[tuple[Path, ast.Module]]) -> dict[str, str]:
    """What a function puts before the code that it is given: `code=f"bundle.{code}"`."""
    found = {}
    for function in (node for _path, tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            joined = node.value if isinstance(node, ast.keyword) and node.arg == "code" else None
            if isinstance(joined, ast.JoinedStr) and isinstance(joined.values[0], ast.Constant):
                found[function.name] = str(joined.values[0].value)
    return found


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts by the name of the constant that holds them, or of the function that returns them."""
    functions = {
        node.name: text
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for last in [node.body[-1]]
        if isinstance(last, ast.Return) and (text := _text(last.value, {}))
    }
    return functions | {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _entries_of(
    tree: ast.Module, constants: dict[str, str], positions: dict[str, int], prefixes: dict[str, str]
) -> Iterator[Entry]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (Entry(code, error=node.name) for code in _default_code(node))
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            for entry in _entries_of_call(node, name, constants, positions.get(name)):
                yield replace(entry, code=prefixes.get(name, "") + entry.code)


def _default_code(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        value = getattr(item, "value", None)
        if isinstance(target, ast.Name) and target.id == "default_code" and isinstance(value, ast.Constant):
            yield str(value.value)


def _entries_of_call(node: ast.Call, name: str, constants: dict[str, str], position: int | None) -> Iterator[Entry]:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    given = keywords.get("code")
    if given is None and position is not None and len(node.args) > position:
        given = node.args[position]
    if given is None:
        return
    if name == "cause":
        message = node.args[2] if len(node.args) > 2 else None
        hint = node.args[3] if len(node.args) > 3 else None
        error = _text(keywords["error"], constants) if "error" in keywords else "ModelUnrunnableError"
    else:
        sentences = (argument for argument in node.args if " " in _text(argument, constants))
        message = next(sentences, None)
        hint, error = keywords.get("hint") or next(sentences, None), name
    for code in _codes(given, constants):
        yield Entry(code, _text(message, constants), _text(hint, constants), error)


def _codes(node: ast.expr, constants: dict[str, str]) -> list[str]:
    if isinstance(node, ast.IfExp):
        return [*_codes(node.body, constants), *_codes(node.orelse, constants)]
    value = constants.get(node.id, "") if isinstance(node, ast.Name) else getattr(node, "value", "")
    return [value] if isinstance(value, str) and value and CODE.fullmatch(value) else []


def _text(node: ast.expr | None, constants: dict[str, str]) -> str:
    """The text of an expression, `…` for what is put in; empty where it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(item.value if isinstance(item, ast.Constant) else "…" for item in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.IfExp):
        return _text(node.body, constants) or _text(node.orelse, constants)
    if isinstance(node, ast.Lambda):
        return _text(node.body, constants)
    if isinstance(node, ast.Name):
        return constants.get(node.id, node.id if node.id.endswith("Error") else "")
    return ""


# ---- the page --------------------------------------------------------------------------------------------------------


def page() -> str:
    """The whole page."""
    found = {code: entry for code, entry in entries().items() if entry.message or code in SAID}
    parts = [HEAD]
    for area, title in [*AREAS.items(), ("", OTHER)]:
        chosen = [entry for code, entry in sorted(found.items()) if _area(code) == area]
        rows = [
            f"| `{entry.code}` | {_cell(entry.message)} | {_cell(entry.hint)} | {_exit_code(entry)} |"
            for entry in chosen
        ]
        parts.append(
            "\n".join(
                [f"## {title}", "", "| code | what it says | what to do | exit |", "|---|---|---|--:|", *rows, ""]
            )
        )
    return "\n".join(parts)


def _area(code: str) -> str:
    area = code.partition(".")[0]
    return area if area in AREAS else ""


def _exit_code(entry: Entry) -> str:
    from quickserveml_tui.core import errors

    kind = getattr(errors, entry.error, None)
    return str(int(kind.exit_code)) if isinstance(kind, type) and hasattr(kind, "exit_code") else ""


def _cell(text: str) -> str:
    text = re.sub(r"…(?: ?…)+", "…", " ".join(text.split()))
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def main(arguments: list[str]) -> int:
    text = page()
    if "--check" in arguments:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
