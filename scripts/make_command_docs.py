"""Writes docs/commands.md from the application itself: python scripts/make_command_docs.py [--check]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "commands.md"

HEAD = """# Commands

`quickserveml [--home FOLDER] [--json] [--verbose] COMMAND …`; `qsml` is the same program. Without a command the
workbench opens. This page is generated from the application by `scripts/make_command_docs.py`.

A model is a path, or a reference `name[@version|@label|@alias]`. A text is a path if it holds a separator, ends in
`.onnx` or starts with `~`. `--home`, `--json` and `--verbose` are taken before and after the command.

With `--verbose` an error is followed by all that was said about it, such as the runtime's own words; in JSON they are
the error's `detail`. [errors.md](errors.md) lists the codes of errors with what to do.

## `--json`

Prints exactly one JSON document on stdout, also for a failure:
`{"error": {"code": "model.unreadable", "message": "…", "hint": "…"}}`. The documents follow
[contract/cli.schema.json](contract/cli.schema.json), one definition a command; further keys may be added, these stay.
Progress goes to stderr. Outputs of `predict` hold NaN and infinities as the strings `NaN`, `Infinity` and `-Infinity`;
elsewhere a figure that is not finite is null. `list`, `inspect --layers` and `benchmark` also print CSV, JSON and
Markdown tables with `--format`; text in CSV never begins like a formula.

## Exit codes

| code | meaning |
|--:|---|
| 0 | done |
| 1 | a gate or check failed |
| 2 | usage: an option, a name or a setting is wrong |
| 3 | bad model or data, or something that does not exist |
| 4 | a store or server is unavailable |
| 5 | not permitted |
| 6 | the runtime crashed on the model |
| 130 | interrupted or cancelled; what was finished is kept |

The original's names are kept: `registry-add`, `registry-list`, `registry-get` (`show`), `registry-update`,
`benchmark-registry`, `serve-registry` and `deploy` (`serve`).
"""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _option(parameter: Any) -> str:
    """An option as one writes it; made from its parts, because Typer's own form varies between versions."""
    names = ", ".join(sorted(parameter.opts, key=len))
    names += " / " + ", ".join(parameter.secondary_opts) if parameter.secondary_opts else ""
    return f"{names} {parameter.metavar or ''}".strip()


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if not parameter.show_default or parameter.default in (None, ""):
        return ""
    if isinstance(parameter.default, bool) and parameter.secondary_opts:
        return (parameter.opts if parameter.default else parameter.secondary_opts)[0]
    return str(parameter.default)


def _parameters(command: Any) -> tuple[str, list[str]]:
    """The usage of a command's arguments, and a table row for every argument and option."""
    usage, rows = [], []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            usage.append(parameter.metavar)
            rows.append(f"| `{usage[-1]}` | {_cell(parameter.help or '')} | |")
        elif parameter.name not in ("home", "as_json", "verbose"):
            default = _default(parameter)
            cell = f"`{default}`" if default else ""
            rows.append(f"| `{_cell(_option(parameter))}` | {_cell(parameter.help or '')} | {cell} |")
    return " ".join(usage), rows


def _section(command: Any, name: str, level: str) -> list[str]:
    usage, rows = _parameters(command)
    lines = [f"{level} `{' '.join(filter(None, (name, usage)))}`", "", " ".join((command.help or "").split()), ""]
    if rows:
        lines += ["| argument or option | | default |", "|---|---|---|", *rows, ""]
    return lines


def render() -> str:
    """The whole page."""
    from quickserveml_tui.cli.app import load_command
    from quickserveml_tui.cli.commands import COMMANDS, SECTIONS

    lines = [HEAD]
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            command = load_command(COMMANDS[name])
            nested = getattr(command, "commands", None)
            if not nested:
                lines += _section(command, name, "###")
                continue
            lines += [f"### `{name}`", "", " ".join((command.help or "").split()), ""]
            for child_name, child in nested.items():
                lines += _section(child, f"{name} {child_name}", "####")
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    sys.path.insert(0, str(ROOT))
    page = render()
    if "--check" in sys.argv[1:]:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        if current != page:
            print(f"{TARGET.relative_to(ROOT)} is stale: run python scripts/make_command_docs.py", file=sys.stderr)
        return int(current != page)
    TARGET.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
