"""Writes docs/errors.md from the sources: python scripts/make_error_docs.py [--check].

Every error has a code, a sentence and a hint where it is raised; they are collected from there, so the page says what
the program says. `error_sentences.SAID` holds the few that are put together while it runs.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "quickserveml_tui"
TARGET = ROOT / "docs" / "errors.md"
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from error_sentences import SAID  # noqa: E402 - found by the line above

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


@dataclass(frozen=True)
class Entry:
    """A code as the sources raise it."""

    code: str
    message: str = ""
    hint: str = ""
    error: str = ""
    """Name of the class."""


# ---- reading the sources ---------------------------------------------------------------------------------------------


@cache
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
