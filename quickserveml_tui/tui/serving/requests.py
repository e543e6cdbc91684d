"""Requests to a server: paths, curl lines, and answers as rows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.tui.widgets.ink import say

MAX_PARSED = 8_000_000
"""Signs of an answer that are read as JSON; a longer one is shown as it came."""
MAX_ROWS = 400
MAX_INLINE, MIN_INLINE = 96, 24
MAX_CURL = 2_000
MAX_KEPT = 60_000


@dataclass(frozen=True, slots=True)
class Target:
    """A model, or one version of it, that a request goes to."""

    model: str
    version: str = ""
    """Empty leaves the choice to the server."""

    @property
    def path(self) -> str:
        """Path of its inference."""
        version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"/v2/models/{quote(self.model, safe='')}{version}/infer"

    @property
    def name(self) -> str:
        """`resnet` or `resnet@3`."""
        return f"{self.model}@{self.version}" if self.version else self.model


def targets_of(models: Sequence[Mapping[str, Any]]) -> list[Target]:
    """What can be asked, by the metadata of the served models: each model, and each of its versions where there are
    several."""
    targets = []
    for model in models:
        name = model.get("name")
        if not isinstance(name, str) or not name:
            continue
        targets.append(Target(name))
        versions = model.get("versions")
        if isinstance(versions, (list, tuple)) and len(versions) > 1:
            targets += [Target(name, str(version)) for version in versions]
    return targets


def certificate_of(command: str) -> str:
    """The file with the server's own certificate, by the command that started it; empty without one."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    for at, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == "--tls-cert":
            return value or next(iter(words[at + 1 :]), "")
    return ""


def curl_line(url: str, target: Target, body: str, *, with_key: bool = False, certificate: str = "") -> str:
    """The command that sends the same request; a key is named, never written, and so is the certificate to trust."""
    try:
        compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        compact = body
    data = shlex.quote(compact) if len(compact) <= MAX_CURL else "@request.json"
    key = ' -H "Authorization: Bearer $QSML_API_KEY"' if with_key else ""
    if url[:8].lower() == "https://" and certificate:
        key = f" --cacert {shlex.quote(certificate)}{key}"
    return f"curl -s {shlex.quote(url.rstrip('/') + target.path)}{key} -H 'Content-Type: application/json' -d {data}"


def check_body(text: str) -> str:
    """What is wrong with a body as JSON, in one sentence; empty when nothing is."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"Line {error.lineno}, column {error.colno}: {error.msg}."
    except (ValueError, RecursionError) as error:
        return f"This is no JSON that can be read: {safe_text(error, 120)}."
    return ""


def answer_rows(text: str, width: int = MAX_INLINE) -> tuple[Row, ...]:
    """An answer as rows: JSON with short lists on one line, anything else line by line; at most `MAX_ROWS`.

    Lists of many values are wrapped at `width` cells.
    """
    try:
        if len(text) > MAX_PARSED:
            raise ValueError
        lines = json_lines(json.loads(text), 0, "", width=max(width, MIN_INLINE))
    except (ValueError, RecursionError):
        lines = ((say(line[:MAX_KEPT]),) for line in text[:MAX_KEPT].splitlines())
    rows: list[Row] = []
    try:
        for row in lines:
            if len(rows) == MAX_ROWS:
                rows.append((Span(f"… the answer goes on; {len(text):,} signs in all", Role.MUTED),))
                break
            rows.append(row)
    except RecursionError:
        rows.append((Span("… nested too deeply to be shown", Role.MUTED),))
    return tuple(rows)


def json_lines(value: Any, depth: int, lead: str, tail: str = "", *, width: int) -> Iterator[Row]:
    """A JSON value as rows of at most `width` cells where it can be; `lead` is the name it stands behind."""
    indent = "  " * depth
    name = [say(f"{indent}{lead}", Role.MUTED)] if lead else [Span(indent)]
    short = _inline(value, width - len(indent) - len(lead) - len(tail))
    if short is not None:
        yield (*name, say(short + tail, Role.STRONG if isinstance(value, (int, float, str, bool)) else Role.BODY))
        return
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    yield (*name, Span(opening, Role.MUTED))
    if isinstance(value, dict):
        last = len(value) - 1
        for number, (key, one) in enumerate(value.items()):
            yield from json_lines(
                one, depth + 1, f"{json.dumps(key, ensure_ascii=False)}: ", "," if number < last else "", width=width
            )
    elif all(not isinstance(one, (dict, list)) for one in value):
        yield from _wrapped(value, depth + 1, width)
    else:
        for number, one in enumerate(value):
            yield from json_lines(one, depth + 1, "", "," if number < len(value) - 1 else "", width=width)
    yield (Span(indent), Span(closing + tail, Role.MUTED))


def _inline(value: Any, room: int) -> str | None:
    """A value on one line, where it is short enough."""
    if isinstance(value, (dict, list)) and (len(value) > MAX_INLINE or (isinstance(value, dict) and len(value) > 1)):
        return None
    if isinstance(value, (dict, list)) and _holds_objects(value):
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= room or not isinstance(value, (dict, list)) else None


def _holds_objects(value: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Whether there are objects in it, at any depth."""
    items = value.values() if isinstance(value, Mapping) else value
    return any(isinstance(item, dict) or (isinstance(item, list) and _holds_objects(item)) for item in items)


def _wrapped(values: Sequence[Any], depth: int, width: int) -> Iterator[Row]:
    indent, line = "  " * depth, ""
    for number, value in enumerate(values):
        word = json.dumps(value, ensure_ascii=False) + ("," if number < len(values) - 1 else "")
        if line and len(indent) + len(line) + 1 + len(word) > width:
            yield (Span(indent), say(line))
            line = ""
        line = f"{line} {word}".strip()
    if line:
        yield (Span(indent), say(line))
