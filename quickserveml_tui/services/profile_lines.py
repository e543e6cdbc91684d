"""The line of a key in a TOML, YAML or JSON file, for messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*(\[{1,2})\s*([^\]\[]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def line_of(suffix: str, text: str, place: Sequence[str | int]) -> int:
    """The line, from 1, of a key or of what it is nearest in; 0 where it cannot be told.

    `place` is the way to it: names of keys, and numbers of items from 0.
    """
    return _in_toml(text, tuple(place)) if suffix == ".toml" else _in_yaml(text, place)


def _in_toml(text: str, place: tuple[str | int, ...]) -> int:
    """Tables and keys on lines of their own; what lies within an inline value has the line where that begins."""
    best, line = 0, 0
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, content in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(content):
            table = _resolved(_names(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            here = table
        elif key := _KEY.match(content):
            here = (*table, *_names(key[1]))
        else:
            continue
        if len(here) > best and here == place[: len(here)]:
            best, line = len(here), number
    return line


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))


def _resolved(names: Sequence[str], counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """The way to a table: below an array of tables it is the last one of them."""
    found: tuple[str | int, ...] = ()
    for index, name in enumerate(names):
        found = (*found, name)
        if found in counts and index < len(names) - 1:
            found = (*found, counts[found])
    return found


def _in_yaml(text: str, place: Sequence[str | int]) -> int:
    """Also for JSON, which is YAML but for oddities."""
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return 0
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return 0
    line = 0
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
