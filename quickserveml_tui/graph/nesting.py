"""How deep the graphs of a file are nested: not every protobuf library says why it refused one."""

from __future__ import annotations

from quickserveml_tui.graph.protobuf import BYTES, WireError, read_tag, read_varint, skip_value

PARSER_DEPTH = 100
"""Messages within messages that protobuf's parsers take."""
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _FUNCTION = range(5)
_INSIDE = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {6: _GRAPH, 11: _GRAPH},
    _FUNCTION: {7: _NODE},
}
"""Fields by kind of message that lead to graphs inside of graphs."""
_MAX_FIELDS = 1_000_000


def is_too_deep(data: bytes | memoryview) -> bool:
    """Whether a model has graphs nested deeper than a parser takes; False also where it is damaged before that."""
    view = memoryview(data)
    waiting = [(_MODEL, 0, len(view), 0)]
    fields = 0
    while waiting:
        kind, at, end, depth = waiting.pop()
        if depth > PARSER_DEPTH:
            return True
        try:
            while at < end and fields < _MAX_FIELDS:
                fields += 1
                number, wire, at = read_tag(view, at)
                inner = _INSIDE[kind].get(number)
                if wire == BYTES and inner is not None:
                    size, at = read_varint(view, at)
                    waiting.append((inner, at, min(at + size, end), depth + 1))
                    at += size
                else:
                    at = skip_value(view, at, wire)
        except WireError:
            continue
    return False
