"""Change one value of a TOML settings file and leave everything else in it as it is."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from quickserveml_tui.config import keys
from quickserveml_tui.core.errors import UsageError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_HEADER = re.compile(r"\s*\[")


def _toml_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value))  # a JSON string without non-ASCII characters is a TOML basic string


def _section_bounds(lines: list[str], section: str) -> tuple[int, int] | None:
    """First line after a section's header and the line where the section ends; None where there is no such section."""
    headers = [index for index, line in enumerate(lines) if _HEADER.match(line)]
    if not section:
        return 0, headers[0] if headers else len(lines)
    for position, index in enumerate(headers):
        if re.fullmatch(rf"\s*\[\s*{re.escape(section)}\s*\]\s*(#.*)?", lines[index]):
            following = headers[position + 1 : position + 2]
            return index + 1, following[0] if following else len(lines)
    return None


def set_value(text: str, key: str, value: Any) -> str:
    """The text of a TOML file with `key` set to a text, number or truth value.

    Raises `UsageError` (`config.not_editable`) where the file is written in a way that this cannot change safely.
    """
    section, dot, name = key.partition(".")
    if not dot:
        section, name = "", key
    line = f"{_toml_key(name)} = {_toml_value(value)}"
    lines = text.splitlines()
    bounds = _section_bounds(lines, section)
    if bounds is None:
        lines += [*([""] if lines and lines[-1].strip() else []), f"[{section}]", line]
    else:
        _set_line(lines, bounds, name, line)
    changed = "\n".join(lines) + "\n"
    _check_only_change(text, changed, key, value)
    return changed


def _set_line(lines: list[str], bounds: tuple[int, int], name: str, line: str) -> None:
    start, end = bounds
    pattern = re.compile(rf"""\s*(?:{re.escape(name)}|"{re.escape(name)}"|'{re.escape(name)}')\s*=""")
    for index in range(start, end):
        if pattern.match(lines[index]):
            lines[index] = line
            return
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, line)
    if end + 1 < len(lines) and lines[end + 1].strip():
        lines.insert(end + 1, "")


def _check_only_change(before: str, after: str, key: str, value: Any) -> None:
    try:
        expected = keys.flatten_document(tomllib.loads(before), "file") | {key: value}
        right = keys.flatten_document(tomllib.loads(after), "file") == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise UsageError(
            f"The setting {key} cannot be changed in this file without touching others.",
            hint="Change it with an editor; `quickserveml config path` names the file.",
            code="config.not_editable",
        )
