"""Turns the runtime's error texts into one sentence without source locations and paths of this machine."""

from __future__ import annotations

import re
from pathlib import Path

from quickserveml_tui.core.text import safe_text

MAX_SENTENCE = 300

_PREFIX = re.compile(r"^\s*\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_LOAD = re.compile(r"Load model from .*? failed:", re.DOTALL)
_LOCATION = re.compile(r"\S*\w\.(?:cc|h|cpp|hpp|cu|cuh):\d+ ")
_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_LAMBDA = re.compile(r"::<lambda[^>]*>|\s+const\b")


def _skip_parentheses(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return index + 1
    return len(text)


def _skip_function(text: str, start: int) -> int:
    """Index after the function name, with signature if there is one, that follows a source location."""
    opening = text.find("(", start)
    if opening != -1 and "::" in text[start:opening] and "\n" not in text[start:opening]:
        end = _skip_parentheses(text, opening)
        trailer = _LAMBDA.match(text, end)
        while trailer:
            end = trailer.end()
            trailer = _LAMBDA.match(text, end)
        return end
    word = re.compile(r"\w+ ").match(text, start)
    return word.end() if word else start


def strip_locations(text: str) -> str:
    """`text` without `file.cc:12 Function(...)` of the runtime's sources."""
    match = _LOCATION.search(text)
    while match:
        end = _skip_function(text, match.end())
        text = text[: match.start()] + text[end:].lstrip()
        match = _LOCATION.search(text, match.start())
    return text


def strip_paths(text: str, path: Path | None) -> str:
    """`text` in which the model's folder and the user's home no longer show.

    Other absolute paths stay: exporters name nodes like paths, and a reader needs those names.
    """
    folders = [Path.home()]
    if path is not None:
        folders = [path.absolute().parent, path.resolve().parent, path.parent, *folders]
    for folder in folders:
        prefix = str(folder).rstrip("/\\")
        if len(prefix) > 1:
            text = re.sub(re.escape(prefix) + r"(?:[/\\]|(?=[\"'\s]|$))", "", text)
    return text


def innermost(text: str) -> str:
    """The reason without the chain of nodes that passed it on."""
    return _NODE.split(text)[-1]


def failed_node(text: str) -> str:
    """`Pad “/stft/Pad”: ` for the node that failed, or nothing."""
    nodes = _NODE.findall(text)
    if not nodes:
        return ""
    op, name = nodes[-1]
    return f"{safe_text(op, 40)} “{safe_text(name, 80)}”: " if name else f"{safe_text(op, 40)}: "


def one_sentence(text: str, path: Path | None = None) -> str:
    """The runtime's words as one printable sentence of at most 300 characters."""
    text = _LOAD.sub("", _PREFIX.sub("", text))
    text = strip_paths(strip_locations(text), path)
    text = safe_text(re.sub(r"\s+", " ", text).strip(), MAX_SENTENCE).strip(" :.")
    text = text.removeprefix("This is an invalid model. ").removeprefix("Error: ")
    if not text:
        return "The runtime gave no reason."
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('…') else '.'}"
